/** Writes safetensors files, as bytes or as a stream. */
import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import { requireChoice } from "../runtime/names.ts";
import "../autograd/backward.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import "../core/eager.ts";
import { type HalfType, halfTypes, toHalves } from "../core/half.ts";
import { Tensor } from "../core/tensor.ts";
import { bytesPerElement } from "../ops/definition/value.ts";
import { CHECKSUM_PLACEHOLDER, isReserved, seal } from "./checksum.ts";
import { FormatError, quote } from "./errors.ts";
import { hasLoneSurrogate, LENGTH_BYTES, MAX_HEADER_BYTES } from "./header.ts";
import { storedAs, storedHalf } from "./stored.ts";

/** Options for writing safetensors. */
export interface WriteOptions {
  /**
   * Whether to add a checksum of the whole file to the metadata. nabla verifies it when it reads the file; other
   * readers ignore it. Default false; saveState always adds one.
   */
  readonly checksum?: boolean;
  /**
   * Write float32 tensors as 16-bit numbers, rounded to the nearest one, which can be 0. The scales of quantized weights stay in float32.
   * Default: as float32.
   */
  readonly dtype?: HalfType;
}

type Tensors = Readonly<Record<string, Tensor>>;
type Metadata = Readonly<Record<string, string>>;

/** The bytes of some elements, by default all: a view of linear memory. */
export function bytesIn(tensor: Tensor, begin = 0, end: number = tensor.size): Uint8Array {
  const { buffer, byteOffset, byteLength } = tensor.peek("writeSafetensors").subarray(begin, end);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Whether a tensor holds the scales of a quantized weight, which are next to its numbers in a state dict. */
const isScale = (tensors: Tensors, name: string): boolean =>
  /(^|\.)scale$/.test(name) &&
  ["int8", "int4", "weight"].some((key) => tensors[name.replace(/scale$/, key)]?.dtype === "uint8");

/** @throws FormatError or TypeError unless the format can represent the tensors and the metadata */
function requireWritable(op: string, tensors: Tensors, metadata: Metadata): void {
  const requireUnicode = (what: string, text: string): void => {
    if (hasLoneSurrogate(text))
      throw new FormatError(
        `${op}: ${what} has a lone surrogate, which UTF-8 cannot encode. Use a well-formed string.`,
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
        `${op}: the second argument is the metadata. Pass ${op}(tensors, { key: "value" }), not { metadata: { … } }.`,
      );
    if (typeof value !== "string")
      throw new TypeError(
        `${op}: metadata ${quote(key)} must be a string, got ${describe(value)}. Use JSON.stringify(value).`,
      );
    if (isReserved(key))
      throw new FormatError(`${op}: metadata ${quote(key)} is reserved. Pass { checksum: true } instead.`);
    requireUnicode(`the metadata key ${quote(key)}`, key);
    requireUnicode(`metadata ${quote(key)}`, value);
  }
}

/** A JSON object, built from values that are already JSON. Keeps the order of all keys, even "1" and "__proto__". */
const objectOf = (entries: readonly (readonly [string, string])[]): string =>
  `{${entries.map(([key, json]) => `${JSON.stringify(key)}:${json}`).join()}}`;

/**
 * The file's length field and header, and its tensors in file order: larger elements first, then by name. Each has a function that
 * returns some of its bytes: a view of linear memory or, for a float32 tensor with a 16-bit type, the rounded numbers.
 * @throws FormatError, TypeError
 */
function planFile(op: string, tensors: Tensors, metadata: Metadata, { checksum = false, dtype: type }: WriteOptions) {
  requireWritable(op, tensors, metadata);
  if (type !== undefined) requireChoice(op, "dtype", type, halfTypes);
  const parts = Object.entries(tensors).map(([name, tensor]) => {
    if (!type || tensor.dtype !== "float32" || isScale(tensors, name))
      return {
        name,
        tensor,
        stored: storedAs[tensor.dtype],
        width: bytesPerElement[tensor.dtype],
        bytes: (begin?: number, end?: number) => bytesIn(tensor, begin, end),
      };
    const tooLarge = (x: number): FormatError =>
      new FormatError(
        `${op}: ${quote(name)} contains ${x}, which ${type} cannot hold. ${type === "float16" ? "Use bfloat16, or leave" : "Leave"} out dtype.`,
      );
    const bytes = (begin?: number, end?: number): Uint8Array =>
      toHalves(tensor.peek(op).subarray(begin, end) as Float32Array, type, tooLarge);
    return { name, tensor, stored: storedHalf[type], width: 2, bytes };
  });
  parts.sort((a, b) => b.width - a.width || (a.name < b.name ? -1 : Number(a.name > b.name)));
  let at = 0;
  const entries = parts.map(({ name, tensor: { shape, size }, stored, width }): [string, string] => {
    const begin = at;
    at += size * width;
    return [name, JSON.stringify({ dtype: stored, shape, data_offsets: [begin, at] })];
  });
  const all = [...(checksum ? [CHECKSUM_PLACEHOLDER] : []), ...Object.entries(metadata)];
  if (all.length) entries.unshift(["__metadata__", objectOf(all.map(([key, value]) => [key, JSON.stringify(value)]))]);
  const json = new TextEncoder().encode(objectOf(entries));
  // Pad with spaces to a multiple of eight, so that tensors are aligned.
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES)
    throw new FormatError(
      `${op}: names and metadata take ${length} bytes, but the limit is ${MAX_HEADER_BYTES}. Shorten them.`,
    );
  const head = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, LENGTH_BYTES);
  return { head, parts, bytes: head.length + at };
}

/**
 * Writes tensors of any type and shape, and metadata, as a safetensors file. `dtype` halves the size of float32 tensors.
 *
 * ```ts
 * writeFileSync("model.safetensors", writeSafetensors(model.stateDict()));
 * ```
 * @throws FormatError for names, metadata or numbers that the format cannot represent; TypeError for values that are not
 * tensors; DisposedError for disposed tensors
 */
export function writeSafetensors(
  tensors: Tensors,
  metadata: Metadata = {},
  options: WriteOptions = {},
): Uint8Array<ArrayBuffer> {
  check("writeSafetensors", arguments, "tensors:object metadata?:object {checksum:boolean dtype:string}");
  const { head, parts, bytes } = planFile("writeSafetensors", tensors, metadata, options);
  const file = new Uint8Array(bytes);
  file.set(head);
  let at = head.length;
  for (const { bytes: bytesOf } of parts) {
    const part = bytesOf();
    file.set(part, at);
    at += part.length;
  }
  if (options.checksum) seal(file.subarray(0, head.length), [file.subarray(head.length)]);
  return file;
}

/** The maximum number of bytes in a chunk of a stream. */
const CHUNK = 2 ** 16;

/**
 * Like writeSafetensors, but returns a stream, for files that are too large to hold in memory twice. Do not change or dispose the tensors
 * until the stream has ended. A checksum is computed before the stream starts.
 * @throws the errors of writeSafetensors
 */
export function streamSafetensors(
  tensors: Tensors,
  metadata: Metadata = {},
  options: WriteOptions = {},
): ReadableStream<Uint8Array> {
  check("streamSafetensors", arguments, "tensors:object metadata?:object {checksum:boolean dtype:string}");
  const { head, parts } = planFile("streamSafetensors", tensors, metadata, options);
  function* chunks(): Generator<Uint8Array> {
    for (const { tensor, bytes } of parts) {
      const count = CHUNK / bytesPerElement[tensor.dtype];
      for (let at = 0; at < tensor.size; at += count) yield bytes(at, at + count);
    }
  }
  if (options.checksum) seal(head, chunks());
  // Throw now, instead of during the stream, if a number is too large.
  else if (options.dtype) for (const _ of chunks());
  const source = (function* () {
    yield head;
    yield* chunks();
  })();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = source.next();
      if (done) controller.close();
      else controller.enqueue(value.slice());
    },
  });
}
