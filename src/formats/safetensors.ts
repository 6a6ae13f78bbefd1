/** Reads safetensors files, which contain named tensors and metadata, from bytes or from a stream. */
import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import "../autograd/backward.ts";
import "../core/eager.ts";
import type { TypedArray } from "../core/elements.ts";
import { fromElements, Tensor } from "../core/tensor.ts";
import { startVerification, type Verification } from "./checksum.ts";
import { FormatError, quote } from "./errors.ts";
import { type Header, headerLength, LENGTH_BYTES, parseHeader, type TensorInfo } from "./header.ts";
import { decode, type Overflow, requireStored, type Stored, stored } from "./stored.ts";
import { bytesIn } from "./write.ts";

/** The contents of a file. */
export interface Contents {
  /** The tensors, keyed by name. */
  readonly tensors: Record<string, Tensor>;
  /** The file's metadata. */
  readonly metadata: Record<string, string>;
}

/** A tensor in a file. */
export interface Entry {
  /** The type name in the file: F32, I64, BF16 …, or a type that nabla does not read, such as U64 or F8_E4M3. */
  readonly dtype: Stored | (string & {});
  /** The tensor's shape. */
  readonly shape: readonly number[];
  /** The size in the file, in bytes. */
  readonly bytes: number;
  /**
   * The elements as a tensor would store them (float32, int32, uint8, bool): a view of the file if they are aligned and
   * need no conversion, otherwise a copy.
   * @throws FormatError if a number does not fit, or nabla does not read the type
   */
  elements(options?: Pick<ReadOptions, "overflow">): TypedArray;
}

/** Options for verifying checksums. */
export interface VerifyOptions {
  /** Whether to verify the file's checksum, if it has one. Pass false to read a damaged file. Default true. */
  readonly verify?: boolean;
}

/** Options for reading safetensors. */
export interface ReadOptions extends VerifyOptions {
  /** The names of the tensors to read. Default: all. */
  readonly names?: readonly string[];
  /** Numbers outside the range of float32 or int32: "error" throws, "saturate" reads ±Infinity or the nearest int32. Default "error". */
  readonly overflow?: Overflow;
}

const READ = "names:strings overflow:string verify:boolean";

/** The file as a plain Uint8Array, because Node's Buffer is a subclass whose slice() shares memory. */
function bytesOf(file: Uint8Array | ArrayBuffer): Uint8Array {
  if (ArrayBuffer.isView(file)) return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  return new Uint8Array(file);
}

/** Parses and verifies a file. @throws FormatError */
function open(file: Uint8Array | ArrayBuffer, verify: boolean): { header: Header; data: Uint8Array } {
  const bytes = bytesOf(file);
  const length = headerLength(bytes);
  const start = LENGTH_BYTES + length;
  if (start > bytes.length)
    throw new FormatError(
      `safetensors: the header claims ${length} bytes, but the file has ${bytes.length}. Is the file complete?`,
    );
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, start), bytes.length - start);
  const data = bytes.subarray(start);
  const verification = startVerification(bytes.subarray(0, start), header.metadata, verify);
  verification?.update(data);
  verification?.end();
  return { header, data };
}

/** Creates an object without a prototype, in which any key is safe, even `__proto__`. */
const dictionary = <T>(entries: Iterable<readonly [string, T]>): Record<string, T> =>
  Object.assign(Object.create(null), Object.fromEntries(entries));

/**
 * Lists the tensors and the metadata of a file without creating tensors. The list includes tensors whose types nabla cannot read.
 * @throws FormatError if the file is malformed or damaged
 */
export function inspectSafetensors(file: Uint8Array | ArrayBuffer, options: VerifyOptions = {}): Inspected {
  check("inspectSafetensors", arguments, "file:bytes {verify:boolean}");
  return entriesOf("inspectSafetensors", file, options);
}

/** The result of inspectSafetensors. */
export interface Inspected {
  /** The tensors, keyed by name, in the order of their bytes. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** The file's metadata. */
  readonly metadata: Record<string, string>;
}

/** @param op the name of the function for errors about an entry's elements */
function entriesOf(op: string, file: Uint8Array | ArrayBuffer, { verify = true }: VerifyOptions): Inspected {
  const { header, data } = open(file, verify);
  const entryOf = (name: string, info: TensorInfo): Entry => ({
    dtype: info.dtype,
    shape: info.shape,
    bytes: info.end - info.begin,
    elements: ({ overflow } = {}) => decode(op, name, info, data.subarray(info.begin, info.end), overflow),
  });
  const entries = new Map(Array.from(header.tensors, ([name, info]) => [name, entryOf(name, info)]));
  return { entries, metadata: header.metadata };
}

/** Collects tensors as they are created, so that all of them can be disposed if creating a later one fails. */
class TensorCollector {
  private readonly collected: [string, Tensor][] = [];
  add(name: string, tensor: Tensor): Tensor {
    this.collected.push([name, tensor]);
    return tensor;
  }
  dispose(): void {
    for (const [, tensor] of this.collected) tensor.dispose();
  }
  contents(metadata: Record<string, string>): Contents {
    return { tensors: dictionary(this.collected), metadata };
  }
}

/**
 * The names of the tensors to read. @throws FormatError if the file lacks one of the tensors, or nabla does not read its
 * type
 */
function selectNames(op: string, entries: ReadonlyMap<string, { readonly dtype: string }>, names?: readonly string[]) {
  if (names !== undefined && !Array.isArray(names))
    throw new TypeError(`${op}: names must be an array of strings, got ${quote(String(names))}.`);
  const selected = new Set(names ?? entries.keys());
  for (const name of selected) {
    const entry = entries.get(name);
    if (!entry)
      throw new FormatError(`${op}: the file has no tensor ${quote(String(name))}. ${listNames([...entries.keys()])}`);
    requireStored(op, name, entry.dtype);
  }
  return selected;
}

/** 'It has "a", "b" and 3 more.' */
function listNames(names: readonly string[]): string {
  if (!names.length) return "It has none.";
  let text = quote(names[0]!);
  let shown = 1;
  while (shown < names.length && text.length < 100) text += `, ${quote(names[shown++]!)}`;
  return `It has ${text}${shown < names.length ? ` and ${names.length - shown} more` : ""}.`;
}

/**
 * Reads the tensors of a file: F32, F64, F16 and BF16 become float32 (rounded); I32, I64, U32, I16, U16 and I8 become int32; U8 becomes
 * uint8; BOOL becomes bool.
 *
 * ```ts
 * const { tensors } = readSafetensors(readFileSync("model.safetensors"), { names: ["embed.weight"] });
 * ```
 * @throws FormatError if the file is malformed or damaged, a requested tensor is missing, a number does not fit, or nabla does not read a
 * type; OutOfMemoryError if memory runs out. In each case, no tensor remains allocated
 */
export function readSafetensors(file: Uint8Array | ArrayBuffer, options: ReadOptions = {}): Contents {
  check("readSafetensors", arguments, `file:bytes {${READ}}`);
  const { entries, metadata } = entriesOf("readSafetensors", file, options);
  const selected = selectNames("readSafetensors", entries, options.names);
  const collector = new TensorCollector();
  try {
    for (const [name, { dtype, shape, elements }] of entries)
      if (selected.has(name))
        collector.add(name, fromElements(elements(options), shape, stored[dtype as Stored].dtype, "readSafetensors"));
  } catch (error) {
    collector.dispose();
    throw error;
  }
  return collector.contents(metadata);
}

/** Concatenates chunks. */
function join(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** Reads given numbers of bytes from a stream, regardless of how the stream divides them into chunks. */
class ByteReader {
  /** If set, it receives all bytes that are read or skipped. */
  verification: Verification | undefined;
  private chunk: Uint8Array = new Uint8Array(0);
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }
  /**
   * The next `count` bytes, in chunks, so that memory is allocated only for bytes that have arrived.
   * @throws FormatError if the stream ends early
   */
  async read(count: number): Promise<Uint8Array[]> {
    const chunks: Uint8Array[] = [];
    await this.skip(count, (bytes) => chunks.push(bytes));
    return chunks;
  }
  /**
   * Passes the next `count` bytes to `visit`, chunk by chunk, and skips them.
   * @throws FormatError if the stream ends early
   */
  async skip(count: number, visit: (bytes: Uint8Array) => void = () => {}): Promise<void> {
    for (let remaining = count; remaining > 0; ) {
      if (!this.chunk.length && !(await this.fill()))
        throw new FormatError(`safetensors: the file ends ${remaining} bytes too early. Is it complete?`);
      const bytes = this.chunk.subarray(0, remaining);
      this.chunk = this.chunk.subarray(bytes.length);
      this.verification?.update(bytes);
      visit(bytes);
      remaining -= bytes.length;
    }
  }
  /** @throws FormatError if bytes remain, or the checksum does not match */
  async end(): Promise<void> {
    if (this.chunk.length || (await this.fill()))
      throw new FormatError("safetensors: the file has trailing bytes after the last tensor.");
    this.verification?.end();
  }
  cancel(why: unknown): Promise<void> {
    return this.reader.cancel(why);
  }
  /** Gets the next chunk. @returns false at the end of the stream */
  private async fill(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return false;
      if (!(value instanceof Uint8Array))
        throw new TypeError(`readSafetensorsStream: the stream must yield Uint8Arrays, got ${describe(value)}.`);
      this.chunk = value;
      if (value.length) return true;
    }
  }
}

/** Options for reading safetensors from a stream. */
export interface StreamOptions extends ReadOptions {
  /** The maximum size of the file in bytes. Default 2³² (4 GiB), the size of linear memory. */
  readonly maxBytes?: number;
}

/**
 * Like readSafetensors, but reads a stream, a Blob (or File) or the Response of fetch. Each tensor is created when its
 * bytes have arrived, so the whole file is never in memory, and a file that claims to be large but ends early takes
 * only as much memory as the bytes it contains.
 *
 * ```ts
 * const { tensors } = await readSafetensorsStream(await fetch("/model.safetensors"));
 * ```
 * @throws the errors of readSafetensors; FormatError if the file is larger than `maxBytes` or the response is not ok; TypeError if the
 * source is of another kind or has already been read. In each case, the stream is cancelled
 */
export async function readSafetensorsStream(
  source: ReadableStream<Uint8Array> | Blob | Response,
  options: StreamOptions = {},
): Promise<Contents> {
  check("readSafetensorsStream", arguments, `source:any {maxBytes:number ${READ}}`);
  const { maxBytes = 2 ** 32, names, overflow = "error", verify = true } = options;
  const stream = source instanceof Blob ? source.stream() : source instanceof Response ? source.body : source;
  if (!stream) throw new FormatError("readSafetensorsStream: the response has no body. Fetch the file itself.");
  if (typeof stream.getReader !== "function")
    throw new TypeError(
      `readSafetensorsStream: the source must be a ReadableStream, a Blob or a Response, got ${describe(source)}. Pass bytes to readSafetensors.`,
    );
  if (stream.locked || (source instanceof Response && source.bodyUsed))
    throw new TypeError(
      `readSafetensorsStream: the ${source instanceof Response ? "response's body" : "stream"} is locked or has already been read. ` +
        "Pass response.clone() to read it twice.",
    );
  if (source instanceof Response && !source.ok) {
    await stream.cancel();
    throw new FormatError(
      `readSafetensorsStream: the response is ${`${source.status} ${source.statusText}`.trim()}, not a file. Check the URL.`,
    );
  }
  const reader = new ByteReader(stream as ReadableStream<Uint8Array>);
  const collector = new TensorCollector();
  try {
    const first = join(await reader.read(LENGTH_BYTES));
    const length = headerLength(first);
    const start = LENGTH_BYTES + length;
    const requireSize = (bytes: number): void => {
      if (bytes > maxBytes)
        throw new FormatError(
          `safetensors: the file has ${bytes} bytes, but maxBytes is ${maxBytes}. Pass a larger maxBytes.`,
        );
    };
    requireSize(start);
    const known = source instanceof Blob ? source.size - start : undefined;
    const json = join(await reader.read(length));
    const { tensors, metadata, bytes } = parseHeader(json, known);
    requireSize(start + bytes);
    const selected = selectNames("readSafetensorsStream", tensors, names);
    reader.verification = startVerification(join([first, json]), metadata, verify);
    for (const [name, info] of tensors) {
      const size = info.end - info.begin;
      if (selected.has(name)) collector.add(name, tensorOf(name, info, await reader.read(size), overflow));
      else await reader.skip(size);
    }
    await reader.end();
    return collector.contents(metadata);
  } catch (error) {
    collector.dispose();
    await reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** Creates a tensor from its bytes in the file. */
function tensorOf(name: string, info: TensorInfo, chunks: readonly Uint8Array[], overflow: Overflow): Tensor {
  const op = "readSafetensorsStream";
  const { shape } = info;
  const type = stored[info.dtype as Stored];
  if (type.convert) return fromElements(decode(op, name, info, join(chunks), overflow), shape, type.dtype, op);
  const tensor = Tensor.allocate({ shape, dtype: type.dtype }, op);
  const bytes = bytesIn(tensor);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return tensor;
}
