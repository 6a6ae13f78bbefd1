/** Reads safetensors files: tensors by name, with texts about them, from bytes or as they arrive. */
import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import "../autograd/backward.ts";
import "../core/eager.ts";
import type { TypedArray } from "../core/elements.ts";
import { fromElements, Tensor } from "../core/tensor.ts";
import { startVerification, type Verification } from "./checksum.ts";
import { FormatError, quote } from "./errors.ts";
import { type Header, headerLength, LENGTH_BYTES, type Place, parseHeader } from "./header.ts";
import { decode, type Overflow, requireStored, type Stored, stored } from "./stored.ts";
import { bytesIn } from "./write.ts";

/** Tensors by name, and the file's metadata. */
export interface Contents {
  /** The tensors by name. */
  readonly tensors: Record<string, Tensor>;
  /** The file's own texts by name. */
  readonly metadata: Record<string, string>;
}

/** A tensor in a file. */
export interface Entry {
  /** As the file names it: F32, I64, BF16 …, or a type that nabla does not read, such as U64 or F8_E4M3. */
  readonly dtype: Stored | (string & {});
  /** The tensor's shape. */
  readonly shape: readonly number[];
  /** The tensor's size in the file, in bytes. */
  readonly bytes: number;
  /**
   * Its elements as the tensor would hold them (float32, int32, uint8, bool): a view of the file if they lie aligned and need no
   * conversion, else a copy. @throws FormatError if a number does not fit, or nabla does not read the type
   */
  elements(options?: Pick<ReadOptions, "overflow">): TypedArray;
}

/** Whether checksums are verified. */
export interface VerifyOptions {
  /** Compares the file with its checksum, if it has one. Default true; false reads damaged files. */
  readonly verify?: boolean;
}

/** Options of reading safetensors. */
export interface ReadOptions extends VerifyOptions {
  /** Reads these tensors only. Default: all. */
  readonly names?: readonly string[];
  /** float64 beyond float32 and integers beyond int32: "error" (default) refuses them, "saturate" reads ±Infinity or the nearest int32. */
  readonly overflow?: Overflow;
}

const READ = "names:strings overflow:string verify:boolean";

/** Node's Buffers are Uint8Arrays whose slice() shares memory: this makes plain ones of them. */
function bytesOf(file: Uint8Array | ArrayBuffer): Uint8Array {
  if (ArrayBuffer.isView(file)) return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  return new Uint8Array(file);
}

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

/** A record that holds any name, even `__proto__`. */
const record = <T>(entries: Iterable<readonly [string, T]>): Record<string, T> =>
  Object.assign(Object.create(null), Object.fromEntries(entries));

/**
 * Lists what a file holds, without making tensors. Types that nabla does not read are listed too.
 * @throws FormatError if the file is malformed or damaged
 */
export function inspectSafetensors(file: Uint8Array | ArrayBuffer, options: VerifyOptions = {}): Inspected {
  check("inspectSafetensors", arguments, "file:bytes {verify:boolean}");
  return entriesOf("inspectSafetensors", file, options);
}

interface Inspected {
  /** What the header says of each tensor, by name. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** The header's texts by name. */
  readonly metadata: Record<string, string>;
}

/** inspectSafetensors under the name that errors of an entry's elements show. */
function entriesOf(op: string, file: Uint8Array | ArrayBuffer, { verify = true }: VerifyOptions): Inspected {
  const { header, data } = open(file, verify);
  const entryOf = (name: string, place: Place): Entry => ({
    dtype: place.dtype,
    shape: place.shape,
    bytes: place.end - place.begin,
    elements: ({ overflow } = {}) => decode(op, name, place, data.subarray(place.begin, place.end), overflow),
  });
  const entries = new Map(Array.from(header.places, ([name, place]) => [name, entryOf(name, place)]));
  return { entries, metadata: header.metadata };
}

/** Makes tensors one by one; if one cannot be made, none is kept. */
class Making {
  private readonly made: [string, Tensor][] = [];
  add(name: string, tensor: Tensor): Tensor {
    this.made.push([name, tensor]);
    return tensor;
  }
  abandon(): void {
    for (const [, tensor] of this.made) tensor.dispose();
  }
  contents(metadata: Record<string, string>): Contents {
    return { tensors: record(this.made), metadata };
  }
}

/** The names to read. @throws FormatError if the file lacks one, or nabla does not read its type */
function chosen(op: string, entries: ReadonlyMap<string, { readonly dtype: string }>, names?: readonly string[]) {
  if (names !== undefined && !Array.isArray(names))
    throw new TypeError(`${op}: names must be an array of strings, got ${quote(String(names))}.`);
  const wanted = new Set(names ?? entries.keys());
  for (const name of wanted) {
    const entry = entries.get(name);
    if (!entry)
      throw new FormatError(`${op}: the file has no tensor ${quote(String(name))}. ${listed([...entries.keys()])}`);
    requireStored(op, name, entry.dtype);
  }
  return wanted;
}

/** "It has "a", "b" and 3 more." */
function listed(names: readonly string[]): string {
  if (!names.length) return "It has none.";
  let text = quote(names[0]!);
  let shown = 1;
  while (shown < names.length && text.length < 100) text += `, ${quote(names[shown++]!)}`;
  return `It has ${text}${shown < names.length ? ` and ${names.length - shown} more` : ""}.`;
}

/**
 * The tensors of a file, or those that `names` lists: F32, F64, F16 and BF16 become float32 (rounded); I32, I64, U32, I16, U16 and I8
 * int32; U8 uint8; BOOL bool.
 *
 * ```ts
 * const { tensors } = readSafetensors(readFileSync("model.safetensors"), { names: ["embed.weight"] });
 * ```
 * @throws FormatError if the file is malformed, damaged, or lacks a name; if a number does not fit its type; or if nabla does not read a
 * tensor's type. OutOfMemoryError. Then nothing is held
 */
export function readSafetensors(file: Uint8Array | ArrayBuffer, options: ReadOptions = {}): Contents {
  check("readSafetensors", arguments, `file:bytes {${READ}}`);
  const { entries, metadata } = entriesOf("readSafetensors", file, options);
  const wanted = chosen("readSafetensors", entries, options.names);
  const making = new Making();
  try {
    for (const [name, { dtype, shape, elements }] of entries)
      if (wanted.has(name))
        making.add(name, fromElements(elements(options), shape, stored[dtype as Stored].dtype, "readSafetensors"));
  } catch (error) {
    making.abandon();
    throw error;
  }
  return making.contents(metadata);
}

/** One after the other, in one. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Bytes that arrive in pieces. */
class Arriving {
  /** Sees all bytes that are taken from now on. */
  verification: Verification | undefined;
  private piece: Uint8Array = new Uint8Array(0);
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }
  /** The next `count` bytes, in pieces, so memory grows only by what arrives. @throws FormatError if the stream ends before */
  async take(count: number): Promise<Uint8Array[]> {
    const pieces: Uint8Array[] = [];
    await this.pass(count, (bytes) => pieces.push(bytes));
    return pieces;
  }
  /** Shows the next `count` bytes to `see`, piece by piece. @throws FormatError if the stream ends before */
  async pass(count: number, see: (bytes: Uint8Array) => void = () => {}): Promise<void> {
    for (let left = count; left > 0; ) {
      if (!this.piece.length && !(await this.more()))
        throw new FormatError(`safetensors: the file ends ${left} bytes too early. Is it complete?`);
      const bytes = this.piece.subarray(0, left);
      this.piece = this.piece.subarray(bytes.length);
      this.verification?.update(bytes);
      see(bytes);
      left -= bytes.length;
    }
  }
  /** @throws FormatError if there is more, or the checksum does not match */
  async end(): Promise<void> {
    if (this.piece.length || (await this.more()))
      throw new FormatError("safetensors: the file has trailing bytes after the last tensor.");
    this.verification?.end();
  }
  cancel(why: unknown): Promise<void> {
    return this.reader.cancel(why);
  }
  private async more(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return false;
      if (!(value instanceof Uint8Array))
        throw new TypeError("readSafetensorsStream: the stream must yield Uint8Arrays.");
      this.piece = value;
      if (value.length) return true;
    }
  }
}

/** Options of reading safetensors from a stream. */
export interface StreamOptions extends ReadOptions {
  /** Bytes of the file at most. Default: what linear memory can hold, 4 GiB. */
  readonly maxBytes?: number;
}

/**
 * The tensors of a file that arrives piece by piece: a stream, a Blob (a File), or the Response of fetch. Each tensor is made once its
 * bytes have arrived, so the file is never held as a whole, and a file that claims to be large and ends early takes no memory.
 * Everything else is as in readSafetensors.
 * @throws FormatError as readSafetensors does, and if the file ends early or is larger than `maxBytes`; then nothing is held, and the
 * stream is cancelled
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
      `readSafetensorsStream: the ${source instanceof Response ? "response's body" : "stream"} is in use or was read already. ` +
        "Read it once, or pass response.clone() before it is read.",
    );
  if (source instanceof Response && !source.ok) {
    await stream.cancel();
    throw new FormatError(
      `readSafetensorsStream: the response is ${`${source.status} ${source.statusText}`.trim()}, not a file.`,
    );
  }
  const arriving = new Arriving(stream as ReadableStream<Uint8Array>);
  const making = new Making();
  try {
    const first = joined(await arriving.take(LENGTH_BYTES));
    const length = headerLength(first);
    const start = LENGTH_BYTES + length;
    const requireSize = (bytes: number): void => {
      if (bytes > maxBytes)
        throw new FormatError(`safetensors: the file has ${bytes} bytes, but maxBytes is ${maxBytes}.`);
    };
    requireSize(start);
    const known = source instanceof Blob ? source.size - start : undefined;
    const json = joined(await arriving.take(length));
    const { places, metadata, bytes } = parseHeader(json, known);
    requireSize(start + bytes);
    const wanted = chosen("readSafetensorsStream", places, names);
    arriving.verification = startVerification(joined([first, json]), metadata, verify);
    for (const [name, place] of places) {
      const size = place.end - place.begin;
      if (wanted.has(name)) making.add(name, tensorOf(name, place, await arriving.take(size), overflow));
      else await arriving.pass(size);
    }
    await arriving.end();
    return making.contents(metadata);
  } catch (error) {
    making.abandon();
    await arriving.cancel(error).catch(() => {});
    throw error;
  }
}

/** A tensor of bytes that are there. */
function tensorOf(name: string, place: Place, pieces: readonly Uint8Array[], overflow: Overflow): Tensor {
  const op = "readSafetensorsStream";
  const { shape } = place;
  const type = stored[place.dtype as Stored];
  if (type.convert) return fromElements(decode(op, name, place, joined(pieces), overflow), shape, type.dtype, op);
  const tensor = Tensor.allocate({ shape, dtype: type.dtype }, op);
  const bytes = bytesIn(tensor);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return tensor;
}
