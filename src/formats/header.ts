/**
 * The header of a safetensors file: eight bytes of length, that many bytes of JSON, then the tensors' bytes
 * (https://github.com/huggingface/safetensors#format). Everything in it is checked here, before anything is allocated.
 */
import { sizeOf } from "../ops/definition/value.ts";
import { FormatError, quote } from "./errors.ts";
import { exceeded } from "./nesting.ts";
import { bitsOf } from "./stored.ts";

/** Bytes of the length, which comes first. */
export const LENGTH_BYTES = 8;
/** The longest header that is read or written. The largest models need less than a tenth of it. */
export const MOST_HEADER_BYTES = 2 ** 24;
/** The most dimensions of a tensor. */
const MOST_DIMENSIONS = 32;
/** The header's object, an entry, a list of sizes: more levels mean nothing, and deep ones take JSON.parse much memory. */
const MOST_LEVELS = 16;

/** Where a tensor lies in the file, and its type and shape. */
export interface Place {
  /** As the file names it, whether or not nabla reads this type. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the end of the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of their bytes. */
  readonly places: ReadonlyMap<string, Place>;
  readonly metadata: Record<string, string>;
  /** All tensors' bytes. */
  readonly bytes: number;
}

const fail = (what: string): never => {
  throw new FormatError(`safetensors: ${what}`);
};
/** Whether a text has half of a surrogate pair, which UTF-8 cannot hold. */
export const hasLoneSurrogate = (text: string): boolean => /\p{Surrogate}/u.test(text);

/** The length of the header, from the first eight bytes. @throws FormatError */
export function headerLength(first: Uint8Array): number {
  if (first.length < LENGTH_BYTES) fail(`the file has ${first.length} bytes, too few for a header.`);
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MOST_HEADER_BYTES)
    fail(`the header claims ${length} bytes, but at most ${MOST_HEADER_BYTES} are read. Is it a safetensors file?`);
  return length;
}

/** JSON.parse drops the first of two equal names, so this looks at the text, which is valid JSON. */
function requireUniqueNames(text: string): void {
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") open.push(new Set());
    else if (c === "[") open.push(null);
    else if (c === "}" || c === "]") open.pop();
    else if (c === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
      const names = open.at(-1);
      let next = i + 1;
      while (/\s/.test(text[next] ?? "")) next++;
      if (!names || text[next] !== ":") continue;
      const name = JSON.parse(text.slice(start, i + 1)) as string;
      if (names.has(name)) fail(`the header has the name ${quote(name)} twice.`);
      if (hasLoneSurrogate(name)) fail(`the name ${quote(name)} has half of a surrogate pair, which is not Unicode.`);
      names.add(name);
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parsePlace(name: string, entry: unknown): Place {
  const what = `the entry of ${quote(name)}`;
  if (!isObject(entry)) return fail(`${what} is not an object.`);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) fail(`${what} has an unknown key ${quote(unknown)}.`);
  const bits = typeof dtype === "string" ? bitsOf(dtype) : undefined;
  if (typeof dtype !== "string" || bits === undefined)
    return fail(
      `${what} has dtype ${typeof dtype === "string" ? quote(dtype) : `of type ${typeof dtype}`}, which is not one.`,
    );
  if (!Array.isArray(shape) || shape.length > MOST_DIMENSIONS || !shape.every(isSize))
    return fail(`${what} has an invalid shape: it must be at most ${MOST_DIMENSIONS} whole numbers.`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail(`${what} has invalid data_offsets: they must be two whole numbers.`);
  const [begin, end] = offsets as [number, number];
  const bytes = (sizeOf(shape) * bits) / 8;
  if (end - begin !== bytes)
    fail(
      `${what} has data_offsets ${begin} to ${end}, but [${String(shape).slice(0, 80)}] of ${dtype} takes ${bytes} bytes.`,
    );
  return { dtype, shape, begin, end };
}

/** As the reference implementation reads it, null is none. */
function parseMetadata(metadata: unknown): Record<string, string> {
  if (metadata === null || metadata === undefined) return {};
  if (!isObject(metadata)) return fail("__metadata__ is not an object of strings.");
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") return fail("__metadata__ is not an object of strings.");
    if (hasLoneSurrogate(value)) fail(`metadata ${quote(key)} has half of a surrogate pair, which is not Unicode.`);
  }
  return metadata as Record<string, string>;
}

function parseJson(json: Uint8Array): Record<string, unknown> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    if (!text.startsWith("{")) fail("the header does not begin with {. Is it a safetensors file?");
    if (exceeded(json, { depth: MOST_LEVELS }))
      fail(`the header is nested more than ${MOST_LEVELS} levels deep. Is it a safetensors file?`);
    const parsed = JSON.parse(text) as Record<string, unknown>;
    requireUniqueNames(text);
    return parsed;
  } catch (error) {
    if (error instanceof FormatError) throw error;
    return fail(`the header is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : error}`);
  }
}

/**
 * @param json the header's bytes @param dataBytes how many bytes follow it; undefined if that is not known
 * @throws FormatError if entries are malformed, overlap, leave holes, or reach beyond the file
 */
export function parseHeader(json: Uint8Array, dataBytes: number | undefined): Header {
  const { __metadata__: metadata, ...entries } = parseJson(json);
  const places = Object.entries(entries)
    .map(([name, entry]) => [name, parsePlace(name, entry)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let bytes = 0;
  for (const [name, { begin, end }] of places) {
    if (begin < bytes) fail(`${quote(name)} begins at ${begin}, within the tensor before it, which ends at ${bytes}.`);
    if (begin > bytes) fail(`bytes ${bytes} to ${begin}, before ${quote(name)}, belong to no tensor.`);
    bytes = end;
  }
  if (dataBytes !== undefined && bytes !== dataBytes)
    fail(`the header lists ${bytes} bytes of tensors, but the file has ${dataBytes}. Is it complete?`);
  return { places: new Map(places), metadata: parseMetadata(metadata), bytes };
}
