/** Writes safetensors files, whole or in pieces. */
import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import "../autograd/backward.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import "../core/eager.ts";
import { Tensor } from "../core/tensor.ts";
import { bytesPerElement } from "../ops/definition/value.ts";
import { isReserved, ROOM, seal } from "./checksum.ts";
import { FormatError, quote } from "./errors.ts";
import { hasLoneSurrogate, LENGTH_BYTES, MOST_HEADER_BYTES } from "./header.ts";
import { storedAs } from "./stored.ts";

/** Options of writing safetensors. */
export interface WriteOptions {
  /**
   * Adds a checksum of the whole file to its metadata, which readers of nabla verify and others ignore. Default false; saveState always
   * adds one.
   */
  readonly checksum?: boolean;
}

type Tensors = Readonly<Record<string, Tensor>>;
type Metadata = Readonly<Record<string, string>>;

/** The bytes of a tensor, where they lie. */
export function bytesIn(tensor: Tensor): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.peek("live");
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The bytes of each: a view is valid until the next is made. */
function* bytesOf(tensors: readonly Tensor[]): Generator<Uint8Array> {
  for (const tensor of tensors) yield bytesIn(tensor);
}

/** @throws FormatError, TypeError */
function requireWritable(op: string, tensors: Tensors, metadata: Metadata): void {
  const requireUnicode = (what: string, text: string): void => {
    if (hasLoneSurrogate(text))
      throw new FormatError(
        `${op}: ${what} has half of a surrogate pair, which UTF-8 cannot hold. Use a well-formed string.`,
      );
  };
  for (const [name, tensor] of Object.entries(tensors)) {
    rejectOtherCopy(op, quote(name), tensor);
    if (!(tensor instanceof Tensor))
      throw new TypeError(`${op}: ${quote(name)} must be a tensor, got ${describe(tensor)}. Pass a state dict.`);
    requireUnicode(`the name ${quote(name)}`, name);
  }
  if (Object.hasOwn(tensors, "__metadata__"))
    throw new FormatError(`${op}: "__metadata__" cannot be a tensor's name. Use another name.`);
  for (const [key, value] of Object.entries(metadata)) {
    if (key === "metadata" && typeof value === "object")
      throw new TypeError(
        `${op}: metadata is the second argument itself. Pass ${op}(tensors, { key: "value" }), without { metadata: … }.`,
      );
    if (typeof value !== "string")
      throw new TypeError(`${op}: metadata ${quote(key)} is not a string. Use JSON.stringify(value).`);
    if (isReserved(key))
      throw new FormatError(`${op}: metadata ${quote(key)} is reserved. Pass { checksum: true } instead.`);
    requireUnicode(`the metadata key ${quote(key)}`, key);
    requireUnicode(`metadata ${quote(key)}`, value);
  }
}

/** JSON of an object with these keys in this order, even keys like "1" and "__proto__", and values that are JSON already. */
const objectOf = (entries: readonly (readonly [string, string])[]): string =>
  `{${entries.map(([key, json]) => `${JSON.stringify(key)}:${json}`).join()}}`;

/** The file's length and header, and its tensors in the order in which they are written: by size of elements, then by name. */
function layOut(op: string, tensors: Tensors, metadata: Metadata, { checksum = false }: WriteOptions) {
  requireWritable(op, tensors, metadata);
  const width = ({ dtype }: Tensor): number => bytesPerElement[dtype];
  const ordered = Object.entries(tensors).sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : Number(a > b)));
  let at = 0;
  const entries = ordered.map(([name, tensor]): [string, string] => {
    const begin = at;
    at += tensor.size * width(tensor);
    const place = { dtype: storedAs[tensor.dtype], shape: tensor.shape, data_offsets: [begin, at] };
    return [name, JSON.stringify(place)];
  });
  const about = [...(checksum ? [ROOM] : []), ...Object.entries(metadata)];
  if (about.length)
    entries.unshift(["__metadata__", objectOf(about.map(([key, value]) => [key, JSON.stringify(value)]))]);
  const json = new TextEncoder().encode(objectOf(entries));
  // Spaces up to a multiple of eight, so the tensors are aligned.
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MOST_HEADER_BYTES)
    throw new FormatError(
      `${op}: names and metadata take ${length} bytes, but at most ${MOST_HEADER_BYTES} can be read. Shorten them.`,
    );
  const head = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, LENGTH_BYTES);
  const parts = ordered.map(([, tensor]) => tensor);
  if (checksum) seal(head, bytesOf(parts));
  return { head, parts, bytes: head.length + at };
}

/**
 * A file of these tensors, with metadata about them.
 * @throws FormatError for names that UTF-8 or the format cannot hold, TypeError for what is not a tensor, DisposedError
 */
export function writeSafetensors(
  tensors: Tensors,
  metadata: Metadata = {},
  options: WriteOptions = {},
): Uint8Array<ArrayBuffer> {
  check("writeSafetensors", arguments, "tensors:object metadata?:object {checksum:boolean}");
  const { head, parts, bytes } = layOut("writeSafetensors", tensors, metadata, options);
  const file = new Uint8Array(bytes);
  file.set(head);
  let at = head.length;
  for (const tensor of parts) {
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
 * them until it has ended. A checksum is computed at once.
 */
export function streamSafetensors(
  tensors: Tensors,
  metadata: Metadata = {},
  options: WriteOptions = {},
): ReadableStream<Uint8Array> {
  check("streamSafetensors", arguments, "tensors:object metadata?:object {checksum:boolean}");
  const { head, parts } = layOut("streamSafetensors", tensors, metadata, options);
  function* pieces(): Generator<Uint8Array> {
    yield head;
    for (const tensor of parts)
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
