/** safetensors files: tensors by name, with texts about them. Read from bytes or as they arrive, written whole or in pieces. */
import "../autograd.ts";
import "../eager.ts";
import { bytesPerElement } from "../ops/value.ts";
import { fromElements, Tensor, type TypedArray } from "../tensor.ts";
import { FormatError } from "./errors.ts";
import { type Header, headerLength, LENGTH_BYTES, MOST_HEADER_BYTES, type Place, parseHeader } from "./header.ts";
import { decode, type Stored, stored, storedAs } from "./stored.ts";

/** Tensors by name, and what else the file says. */
export interface Contents {
  readonly tensors: Record<string, Tensor>;
  readonly metadata: Record<string, string>;
}

/** A tensor in a file. */
export interface Entry {
  /** As the file names it: F32, I64, BF16 … */
  readonly dtype: Stored;
  readonly shape: readonly number[];
  readonly bytes: number;
  /**
   * Its elements as the tensor would hold them (float32, int32, uint8, bool): a view of the file where they lie aligned and need no
   * conversion, else a copy. @throws FormatError where an integer does not fit into int32
   */
  elements(): TypedArray;
}

/** Node's Buffers are Uint8Arrays whose slice() copies nothing: here they are as all others. @throws TypeError */
function bytesOf(file: Uint8Array | ArrayBuffer): Uint8Array {
  if (ArrayBuffer.isView(file)) return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  if (/^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(file))) return new Uint8Array(file);
  throw new TypeError(
    "safetensors: give the file's bytes, a Uint8Array or an ArrayBuffer. Streams, Blobs and Responses are readSafetensorsStream's.",
  );
}

function open(file: Uint8Array | ArrayBuffer): { header: Header; data: Uint8Array } {
  const bytes = bytesOf(file);
  const length = headerLength(bytes);
  const start = LENGTH_BYTES + length;
  if (start > bytes.length)
    throw new FormatError(
      `safetensors: the header says it is ${length} bytes long, but the file has ${bytes.length}. Is the file whole?`,
    );
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, start), bytes.length - start);
  return { header, data: bytes.subarray(start) };
}

/** A record that holds any name, be it `__proto__`. */
const record = <T>(entries: Iterable<readonly [string, T]>): Record<string, T> =>
  Object.assign(Object.create(null), Object.fromEntries(entries));

/**
 * What a file holds, without making tensors of it.
 * @throws FormatError where the file is malformed: nothing of it is believed unchecked
 */
export function inspectSafetensors(file: Uint8Array | ArrayBuffer): {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly metadata: Record<string, string>;
} {
  const { header, data } = open(file);
  const entryOf = (name: string, { dtype, shape, begin, end }: Place): Entry => ({
    dtype,
    shape,
    bytes: end - begin,
    elements: () => decode(name, dtype, data.subarray(begin, end)),
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

/**
 * The tensors of a file: F32, F64, F16 and BF16 become float32; I32, I64, U32, I16, U16 and I8 int32; U8 uint8; BOOL bool.
 * @throws FormatError where the file is malformed or a number does not fit; then nothing is held. OutOfMemoryError likewise
 */
export function readSafetensors(file: Uint8Array | ArrayBuffer): Contents {
  const { entries, metadata } = inspectSafetensors(file);
  const making = new Making();
  try {
    for (const [name, { dtype, shape, elements }] of entries)
      making.add(name, fromElements(elements(), shape, stored[dtype].dtype, "readSafetensors"));
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
  private piece: Uint8Array = new Uint8Array(0);
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }
  /** The next `count` bytes, in pieces: no more memory is taken than has come. @throws FormatError if they end before */
  async take(count: number): Promise<Uint8Array[]> {
    const pieces: Uint8Array[] = [];
    for (let left = count; left > 0; ) {
      if (!this.piece.length && !(await this.more()))
        throw new FormatError(`safetensors: the file ends ${left} bytes too early. Is it whole?`);
      const bytes = this.piece.subarray(0, left);
      this.piece = this.piece.subarray(bytes.length);
      pieces.push(bytes);
      left -= bytes.length;
    }
    return pieces;
  }
  /** @throws FormatError if there is more */
  async end(): Promise<void> {
    if (this.piece.length || (await this.more()))
      throw new FormatError("safetensors: the file goes on behind what its header tells of.");
  }
  cancel(why: unknown): Promise<void> {
    return this.reader.cancel(why);
  }
  private async more(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return false;
      if (!(value instanceof Uint8Array))
        throw new TypeError("readSafetensorsStream: the stream gives something else than Uint8Arrays.");
      this.piece = value;
      if (value.length) return true;
    }
  }
}

export interface StreamOptions {
  /** Bytes of the file at most. Default: what linear memory can hold, 4 GiB. */
  readonly maxBytes?: number;
}

/**
 * The tensors of a file that arrives piece by piece: a stream, a Blob (a File), or the Response of fetch. Each tensor is made when its
 * bytes are there, so that the file is never held as a whole, and one that promises much and ends takes no memory. Types become what
 * readSafetensors says.
 * @throws FormatError where the file is malformed, ends early, or is larger than `maxBytes`; then nothing is held, and the stream is
 * cancelled
 */
export async function readSafetensorsStream(
  source: ReadableStream<Uint8Array> | Blob | Response,
  { maxBytes = 2 ** 32 }: StreamOptions = {},
): Promise<Contents> {
  const stream = source instanceof Blob ? source.stream() : source instanceof Response ? source.body : source;
  if (!stream) throw new FormatError("readSafetensorsStream: the response has no body.");
  if (typeof stream.getReader !== "function")
    throw new TypeError(
      "readSafetensorsStream: give a ReadableStream, a Blob or a Response. Bytes are readSafetensors's.",
    );
  if (source instanceof Response && !source.ok) {
    await stream.cancel();
    throw new FormatError(`readSafetensorsStream: the response is ${source.status} ${source.statusText}, not a file.`);
  }
  const arriving = new Arriving(stream as ReadableStream<Uint8Array>);
  const making = new Making();
  try {
    const length = headerLength(joined(await arriving.take(LENGTH_BYTES)));
    const start = LENGTH_BYTES + length;
    const requireSize = (bytes: number): void => {
      if (bytes > maxBytes)
        throw new FormatError(`safetensors: the file has ${bytes} bytes, but maxBytes is ${maxBytes}.`);
    };
    requireSize(start);
    const known = source instanceof Blob ? source.size - start : undefined;
    const { places, metadata, bytes } = parseHeader(joined(await arriving.take(length)), known);
    requireSize(start + bytes);
    for (const [name, place] of places)
      making.add(name, tensorOf(name, place, await arriving.take(place.end - place.begin)));
    await arriving.end();
    return making.contents(metadata);
  } catch (error) {
    making.abandon();
    await arriving.cancel(error).catch(() => {});
    throw error;
  }
}

/** A tensor of bytes that are there. */
function tensorOf(name: string, { dtype, shape }: Place, pieces: readonly Uint8Array[]): Tensor {
  const op = "readSafetensorsStream";
  const type = stored[dtype];
  if (type.convert) return fromElements(decode(name, dtype, joined(pieces)), shape, type.dtype, op);
  const tensor = Tensor.allocate({ shape, dtype: type.dtype }, op);
  const bytes = bytesIn(tensor);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return tensor;
}

/** The bytes of a tensor, where they lie. */
function bytesIn(tensor: Tensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.live();
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Tensors in the order in which they are written: those of four bytes first, so that all lie aligned; then by name. */
function layOut(tensors: Readonly<Record<string, Tensor>>, metadata: Readonly<Record<string, string>>) {
  for (const [name, tensor] of Object.entries(tensors))
    if (!(tensor instanceof Tensor)) throw new TypeError(`writeSafetensors: "${name}" is not a tensor.`);
  if (Object.hasOwn(tensors, "__metadata__"))
    throw new FormatError('writeSafetensors: no tensor can be called "__metadata__". Give it another name.');
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== "string")
      throw new TypeError(`writeSafetensors: metadata "${key}" is not a text. Write JSON.stringify(value).`);
  const width = ({ dtype }: Tensor): number => bytesPerElement[dtype];
  const ordered = Object.entries(tensors).sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : Number(a > b)));
  let at = 0;
  const header = ordered.map(([name, tensor]) => {
    const begin = at;
    at += tensor.size * width(tensor);
    return [name, { dtype: storedAs[tensor.dtype], shape: tensor.shape, data_offsets: [begin, at] }] as const;
  });
  const about = Object.keys(metadata).length ? [["__metadata__", metadata] as const] : [];
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries([...about, ...header])));
  // Spaces up to a multiple of eight: what follows is aligned.
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MOST_HEADER_BYTES)
    throw new FormatError(
      `writeSafetensors: names and metadata take ${length} bytes, but ${MOST_HEADER_BYTES} are the most that is read. Keep less in them.`,
    );
  const head = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, LENGTH_BYTES);
  return { head, ordered: ordered.map(([, tensor]) => tensor), bytes: head.length + at };
}

/**
 * A file of these tensors. @throws FormatError for a name that the format keeps to itself, DisposedError
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const { head, ordered, bytes } = layOut(tensors, metadata);
  const file = new Uint8Array(bytes);
  file.set(head);
  let at = head.length;
  for (const tensor of ordered) {
    const part = bytesIn(tensor);
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** Bytes of a piece of a stream, at most. */
const PIECE = 2 ** 16;

/**
 * The same file as a stream of pieces, for files too large to hold twice. Tensors are read as the stream is: do not change or dispose
 * them until it has ended.
 */
export function streamSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): ReadableStream<Uint8Array> {
  const { head, ordered } = layOut(tensors, metadata);
  function* pieces(): Generator<Uint8Array> {
    yield head;
    for (const tensor of ordered)
      for (let at = 0, { length } = bytesIn(tensor); at < length; at += PIECE)
        yield bytesIn(tensor).slice(at, at + PIECE);
  }
  const source = pieces();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}
