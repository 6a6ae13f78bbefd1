/**
 * Parses and validates the header of a safetensors file before any tensor is allocated. A file consists of the header's length (eight
 * bytes), the header (JSON) and the bytes of the tensors (https://github.com/huggingface/safetensors#format).
 */
import { sizeOf } from "../ops/definition/value.ts";
import { FormatError, quote } from "./errors.ts";
import { exceededLimit } from "./nesting.ts";
import { bitsOf } from "./stored.ts";

/** The size of the length field at the start of the file, in bytes. */
export const LENGTH_BYTES = 8;
/**
 * The maximum size of a header, for reading and writing. The headers of the largest models are less than a tenth of
 * this size.
 */
export const MAX_HEADER_BYTES = 2 ** 24;
/** The maximum number of dimensions of a tensor. */
const MAX_DIMENSIONS = 32;
/**
 * The maximum nesting depth of the JSON. Valid headers have three levels; for deeply nested ones, JSON.parse needs a lot of
 * memory.
 */
const MAX_LEVELS = 16;

/** The type, shape and location of a tensor in the file. */
export interface TensorInfo {
  /** The type name in the file, whether or not nabla can read that type. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The offset of the first byte, counted from the end of the header. */
  readonly begin: number;
  /** The offset just after the last byte. */
  readonly end: number;
}

/** A parsed header. */
export interface Header {
  /** The tensors, keyed by name, in the order of their bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Record<string, string>;
  /** The total size of all tensors in bytes. */
  readonly bytes: number;
}

const fail = (what: string): never => {
  throw new FormatError(`safetensors: ${what}`);
};
/** Whether a string contains a lone surrogate, which UTF-8 cannot encode. */
export const hasLoneSurrogate = (text: string): boolean => /\p{Surrogate}/u.test(text);

/** The length of the header, from the first eight bytes. @throws FormatError */
export function headerLength(first: Uint8Array): number {
  if (first.length < LENGTH_BYTES) fail(`the file has ${first.length} bytes, too few for a header.`);
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER_BYTES)
    fail(`the header claims ${length} bytes, but the limit is ${MAX_HEADER_BYTES}. Is it a safetensors file?`);
  return length;
}

/**
 * Scans valid JSON for duplicate keys, because JSON.parse silently drops the first of two equal keys.
 * @throws FormatError for a duplicate
 */
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
      if (names.has(name)) fail(`the header has a duplicate key ${quote(name)}.`);
      if (hasLoneSurrogate(name)) fail(`the name ${quote(name)} has a lone surrogate, which is not valid Unicode.`);
      names.add(name);
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseEntry(name: string, entry: unknown): TensorInfo {
  const what = `the entry of ${quote(name)}`;
  if (!isObject(entry)) return fail(`${what} must be an object.`);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) fail(`${what} has an unknown key ${quote(unknown)}.`);
  if (typeof dtype !== "string") return fail(`${what} must have a dtype that is a string, got ${typeof dtype}.`);
  const bits = bitsOf(dtype);
  if (bits === undefined) return fail(`${what} has an unknown dtype ${quote(dtype)}.`);
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isSize))
    return fail(`${what} must have a shape of at most ${MAX_DIMENSIONS} whole numbers.`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail(`${what} must have data_offsets of two whole numbers.`);
  const [begin, end] = offsets as [number, number];
  const bytes = (sizeOf(shape) * bits) / 8;
  if (end - begin !== bytes)
    fail(
      `${what} has data_offsets ${begin} to ${end}, but [${String(shape).slice(0, 80)}] of ${dtype} takes ${bytes} bytes.`,
    );
  return { dtype, shape, begin, end };
}

/** Parses __metadata__. As in the reference implementation, null means that there is no metadata. */
function parseMetadata(metadata: unknown): Record<string, string> {
  if (metadata === null || metadata === undefined) return {};
  if (!isObject(metadata)) return fail("__metadata__ must be an object of strings.");
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") return fail("__metadata__ must be an object of strings.");
    if (hasLoneSurrogate(value)) fail(`metadata ${quote(key)} has a lone surrogate, which is not valid Unicode.`);
  }
  return metadata as Record<string, string>;
}

function parseJson(json: Uint8Array): Record<string, unknown> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    if (!text.startsWith("{")) fail("the header does not begin with {. Is it a safetensors file?");
    if (exceededLimit(json, { depth: MAX_LEVELS }))
      fail(`the header is nested more than ${MAX_LEVELS} levels deep. Is it a safetensors file?`);
    const parsed = JSON.parse(text) as Record<string, unknown>;
    requireUniqueNames(text);
    return parsed;
  } catch (error) {
    if (error instanceof FormatError) throw error;
    return fail(`the header is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : error}`);
  }
}

/**
 * @param json the header's bytes
 * @param dataBytes the number of bytes after the header; undefined if unknown
 * @throws FormatError if entries are malformed, overlap, leave gaps, or reach beyond the file
 */
export function parseHeader(json: Uint8Array, dataBytes: number | undefined): Header {
  const { __metadata__: metadata, ...entries } = parseJson(json);
  const tensors = Object.entries(entries)
    .map(([name, entry]) => [name, parseEntry(name, entry)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let bytes = 0;
  for (const [name, { begin, end }] of tensors) {
    if (begin < bytes) fail(`${quote(name)} begins at ${begin}, within the previous tensor, which ends at ${bytes}.`);
    if (begin > bytes) fail(`bytes ${bytes} to ${begin}, before ${quote(name)}, belong to no tensor.`);
    bytes = end;
  }
  if (dataBytes !== undefined && bytes !== dataBytes)
    fail(`the header lists ${bytes} bytes of tensors, but the file has ${dataBytes}. Is the file complete?`);
  return { tensors: new Map(tensors), metadata: parseMetadata(metadata), bytes };
}
