/**
 * The header of a safetensors file: eight bytes of length, JSON of so many bytes, and the tensors' bytes behind it
 * (https://github.com/huggingface/safetensors#format). Everything it says is checked here, before anything is made of it.
 */
import { sizeOf } from "../ops/value.ts";
import { FormatError } from "./errors.ts";
import { type Stored, stored } from "./stored.ts";

/** Bytes of the length that stands first. */
export const LENGTH_BYTES = 8;
/** The longest header that is read, and written. The largest models' have less than a tenth of it. */
export const MOST_HEADER_BYTES = 2 ** 24;
/** The most dimensions of a tensor. */
const MOST_DIMENSIONS = 32;

/** Where a tensor lies in the file, and as what. */
export interface Place {
  readonly dtype: Stored;
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
const quote = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);

/** The length of the header, from the first eight bytes. @throws FormatError */
export function headerLength(first: Uint8Array): number {
  if (first.length < LENGTH_BYTES) fail(`the file has ${first.length} bytes, too few for a header.`);
  const view = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MOST_HEADER_BYTES)
    fail(
      `the header says it is ${length} bytes long, but ${MOST_HEADER_BYTES} are the most. Is it a safetensors file?`,
    );
  return length;
}

/** Names that stand twice in an object are lost on JSON.parse: this looks at the text, which is valid JSON. */
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
      if (names.has(name)) fail(`${quote(name)} stands twice in the header.`);
      names.add(name);
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parsePlace(name: string, entry: unknown): Place {
  const what = `the entry of ${quote(name)}`;
  if (!isObject(entry)) return fail(`${what} is no object.`);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) fail(`${what} has ${quote(unknown)}, which means nothing.`);
  if (typeof dtype !== "string" || !Object.hasOwn(stored, dtype))
    fail(
      `${what} has dtype ${typeof dtype === "string" ? quote(dtype) : "that is no text"}, which is not read here. Save it as F32, I32, U8, BOOL, F64, F16, BF16, I64, U32, I16, U16 or I8.`,
    );
  if (!Array.isArray(shape) || shape.length > MOST_DIMENSIONS || !shape.every(isSize))
    return fail(`${what} has a shape that is none: at most ${MOST_DIMENSIONS} whole numbers are one.`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail(`${what} has data_offsets that are not two whole numbers.`);
  const [begin, end] = offsets as [number, number];
  const bytes = sizeOf(shape) * stored[dtype as Stored].bytes;
  if (end - begin !== bytes)
    fail(`${what} has data_offsets ${begin} to ${end}, but [${shape}] of ${dtype} takes ${bytes} bytes.`);
  return { dtype: dtype as Stored, shape, begin, end };
}

function parseMetadata(metadata: unknown): Record<string, string> {
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string"))
    return fail("__metadata__ is not an object of texts.");
  return metadata as Record<string, string>;
}

function parseJson(json: Uint8Array): Record<string, unknown> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    if (!text.startsWith("{")) fail("the header does not begin with {. Is it a safetensors file?");
    const parsed = JSON.parse(text) as Record<string, unknown>;
    requireUniqueNames(text);
    return parsed;
  } catch (error) {
    if (error instanceof FormatError) throw error;
    return fail(`the header is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * @param json the header's bytes @param dataBytes how many bytes stand behind it; undefined where that is not known
 * @throws FormatError where entries are malformed, overlap, leave holes, or reach beyond the file
 */
export function parseHeader(json: Uint8Array, dataBytes: number | undefined): Header {
  const { __metadata__: metadata = {}, ...entries } = parseJson(json);
  const places = Object.entries(entries)
    .map(([name, entry]) => [name, parsePlace(name, entry)] as const)
    .sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let bytes = 0;
  for (const [name, { begin, end }] of places) {
    if (begin < bytes) fail(`${quote(name)} begins at ${begin}, within the tensor before it, which ends at ${bytes}.`);
    if (begin > bytes) fail(`bytes ${bytes} to ${begin}, before ${quote(name)}, are no tensor's.`);
    bytes = end;
  }
  if (dataBytes !== undefined && bytes !== dataBytes)
    fail(`the header tells of ${bytes} bytes of tensors, but ${dataBytes} stand behind it. Is the file whole?`);
  return { places: new Map(places), metadata: parseMetadata(metadata), bytes };
}
