/** Bodies: tensors as nested arrays in JSON or as safetensors, read into elements of a checked shape and type, and written. */
import type { DType, Tensor, TypedArray } from "nabla";
import { FormatError, inspectSafetensors, writeSafetensors } from "nabla/formats";
import { exceeded, type Nesting } from "../../formats/nesting.ts";
import { type Asked, Reply } from "./asked.ts";
import { Problem, quote } from "./problems.ts";
import type { FullSpec } from "./schema.ts";

const JSON_TYPE = "application/json";
const BINARY_TYPES = ["application/vnd.safetensors", "application/octet-stream"] as const;
const TYPES = [JSON_TYPE, ...BINARY_TYPES] as const;
export type BodyType = (typeof TYPES)[number];

/** Elements that were sent, in a shape that fits their spec. */
export interface Elements {
  readonly values: TypedArray;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** What a body holds: arrays or entries by name, and options. */
export interface Body {
  /** The elements of `name`. `single`: one sample, without the dimension of the batch, is taken too. @throws Problem 422, 413 */
  elements(name: string, spec: FullSpec, batch: number): Elements & { readonly single: boolean };
  readonly options: Readonly<Record<string, unknown>>;
}

/** How each element type is held, and what fits into it. */
const types: Record<
  DType,
  { Array: new (size: number) => TypedArray; fits(sent: number, held: number): boolean; what: string }
> = {
  float32: { Array: Float32Array, fits: (_, held) => Number.isFinite(held), what: "a number that float32 holds" },
  int32: { Array: Int32Array, fits: (sent, held) => sent === held, what: "a whole number that int32 holds" },
  uint8: { Array: Uint8Array, fits: (sent, held) => sent === held, what: "a whole number in 0 … 255" },
  bool: { Array: Uint8Array, fits: (sent, held) => sent === held && held < 2, what: "true or false" },
};

/** `[batch, 28, 28]`: what is expected. */
export const showSpec = ({ shape }: { readonly shape: readonly (number | null)[] }): string =>
  `[${shape.map((size, i) => size ?? (i ? "any" : "batch")).join(", ")}]`;

const show = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/** @throws Problem 415 where the body is of a kind that is not read */
export function bodyType({ headers }: Asked): BodyType {
  const [type, ...parameters] = (headers.get("content-type") ?? "").split(";").map((part) => part.trim().toLowerCase());
  const remedy = `Send Content-Type: ${JSON_TYPE} or ${BINARY_TYPES[0]}.`;
  const accepted = { "accept-post": TYPES.join(", ") };
  const known = TYPES.find((own) => own === type);
  if (!known)
    throw new Problem(
      415,
      `${type ? `Bodies of type ${quote(type)} are not read` : "The body's type is not said"}. ${remedy}`,
      accepted,
    );
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (charset !== undefined && !["utf-8", "utf8", "us-ascii"].includes(charset))
    throw new Problem(415, `JSON is read as UTF-8, not as ${quote(charset)}. ${remedy}`, accepted);
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new Problem(415, "Encoded bodies are not read. Send it without Content-Encoding.", {
      "accept-encoding": "identity",
    });
  return known;
}

/** How much a client wants a type, as its Accept header says: the most specific range counts. */
function quality(accept: string, type: string): number {
  let [best, q] = [-1, 0];
  for (const part of accept.toLowerCase().split(",")) {
    const [range, ...parameters] = part.split(";").map((piece) => piece.trim());
    const rank = ["*/*", `${type.split("/")[0]}/*`, type].indexOf(range!);
    if (rank <= best) continue;
    const given = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    [best, q] = [rank, given >= 0 ? Math.min(given, 1) : 0];
  }
  return q;
}

/** What the client accepts of what there is, the first where it has no preference. @throws Problem 406 where that is nothing */
export function accepted<T extends string>({ headers }: Asked, offered: readonly T[]): T {
  const accept = headers.get("accept");
  if (accept === null || accept === "*/*") return offered[0]!;
  const [best] = offered
    .map((type) => ({ type, q: quality(accept, type) }))
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q);
  if (!best) throw new Problem(406, `None of the accepted types is available. Accept ${offered.join(" or ")}.`);
  return best.type;
}

/** What a tensors' answer may be written as: as the body was, unless the client would rather have another. */
export const answerType = (request: Asked, own: BodyType): BodyType =>
  accepted(request, [own, ...TYPES.filter((type) => type !== own)]);

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A body that is not larger than this is parsed unmeasured: however it is nested, it cannot take much. */
const SMALL = 2 ** 16;

const LEVELS: Record<keyof Nesting, string> = {
  depth: "is nested deeper than the inputs' shape",
  containers: "has more arrays than the most samples have",
  names: "has more names than a request has",
};

/**
 * Reads a body. `arrays` looks at the JSON, and returns its nested arrays and its options.
 * @throws Problem 400 if it is malformed, 422 if its JSON is nested otherwise than a request's
 */
export function readTensors(
  type: BodyType,
  bytes: Uint8Array,
  nesting: Nesting,
  arrays: (json: unknown) => { arrays: Record<string, unknown>; options?: Record<string, unknown> },
): Body {
  if (type !== JSON_TYPE) return readBinary(bytes);
  const excess = bytes.length > SMALL && exceeded(bytes, nesting);
  if (excess) throw new Problem(422, `The body ${LEVELS[excess]}. Send the arrays that /metadata describes.`);
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new Problem(400, "The body is not JSON. Send a JSON object in UTF-8.");
  }
  const { arrays: named, options = {} } = arrays(json);
  return { options, elements: (name, spec, batch) => fromNested(name, named[name], spec, batch) };
}

/** @throws Problem 422 or 413 where a shape is not as the spec says */
function requireShape(name: string, shape: readonly number[], spec: FullSpec, batch: number): boolean {
  const hasBatch = spec.shape[0] === null;
  const single = hasBatch && shape.length === spec.shape.length - 1;
  const expected = single ? spec.shape.slice(1) : spec.shape;
  const fits =
    shape.length === expected.length &&
    shape.every((size, i) => size > 0 && (expected[i] === null || expected[i] === size));
  if (!fits) {
    const sample = hasBatch ? `, or ${showSpec({ shape: spec.shape.slice(1) })} for one sample` : "";
    throw new Problem(422, `"${name}" has the shape ${show(shape)}, but must have ${showSpec(spec)}${sample}.`);
  }
  if (hasBatch && !single && shape[0]! > batch)
    throw new Problem(
      413,
      `"${name}" has ${shape[0]} samples, but at most ${batch} are accepted. Send fewer at a time.`,
    );
  return single;
}

function requireRange(name: string, values: TypedArray, { min, max }: FullSpec): void {
  if (min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY) return;
  const outside = values.find((value: number) => !(value >= min && value <= max));
  if (outside !== undefined)
    throw new Problem(422, `"${name}" holds ${outside}, but its elements must lie in ${min} … ${max}.`);
}

/** Nested arrays as elements. Lengths of all rows are looked at before memory is asked for. */
function fromNested(name: string, nested: unknown, spec: FullSpec, batch: number) {
  const shape: number[] = [];
  let level = nested;
  // One level more than there should be is enough to see that it does not fit.
  while (Array.isArray(level) && shape.length <= spec.shape.length) {
    shape.push(level.length);
    level = level[0];
  }
  const single = requireShape(name, shape, spec, batch);
  const rank = shape.length;
  const place: number[] = [];
  const where = (): string => `"${name}${place.map((i) => `[${i}]`).join("")}"`;

  const requireRows = (row: unknown, dim: number): void => {
    if (!Array.isArray(row) || row.length !== shape[dim]) {
      const is = Array.isArray(row) ? `has ${row.length} elements` : "is not an array";
      throw new Problem(422, `${where()} ${is}, but must be an array of ${shape[dim]}: rows must have one length.`);
    }
    if (dim === rank - 1) return;
    for (let i = 0; i < row.length; i++) {
      place.push(i);
      requireRows(row[i], dim + 1);
      place.pop();
    }
  };
  if (rank) requireRows(nested, 0);

  const { Array: Held, fits, what } = types[spec.dtype];
  const values = new Held(shape.reduce((a, b) => a * b, 1));
  let at = 0;
  const fill = (row: readonly unknown[], dim: number): void => {
    for (let i = 0; i < row.length; i++) {
      if (dim < rank - 1) {
        place.push(i);
        fill(row[i] as unknown[], dim + 1);
        place.pop();
        continue;
      }
      const value = typeof row[i] === "boolean" && spec.dtype === "bool" ? Number(row[i]) : row[i];
      if (typeof value === "number") {
        values[at] = value;
        if (fits(value, values[at++]!)) continue;
      }
      if (rank) place.push(i);
      throw new Problem(422, `${where()} is not ${what}.`);
    }
  };
  fill(rank ? (nested as unknown[]) : [nested], 0);
  requireRange(name, values, spec);
  return { values, shape, dtype: spec.dtype, single };
}

/** Bytes of a file's header. A request's file has one or two tensors, and its options. */
const MOST_HEADER = 2 ** 16;

function readBinary(bytes: Uint8Array): Body {
  const header = bytes.length < 8 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (header > MOST_HEADER && header <= bytes.length)
    throw new Problem(
      413,
      `The file's header has ${header} bytes, but at most ${MOST_HEADER} are accepted. Send fewer tensors, and less metadata.`,
    );
  /** What FormatError says of the file is for the client. */
  const checked = <T>(read: () => T): T => {
    try {
      return read();
    } catch (error) {
      if (error instanceof FormatError)
        throw new Problem(
          400,
          `The body is not a file that is read: ${error.message.replace(/^inspectSafetensors: /, "safetensors: ").slice(0, 300)}`,
        );
      throw error;
    }
  };
  const { entries, metadata } = checked(() => inspectSafetensors(bytes));
  return {
    options: metadata,
    elements(name, spec, batch) {
      const entry = entries.get(name);
      if (!entry) throw new Problem(422, `The file has no tensor called "${name}". Add it.`);
      const single = requireShape(name, entry.shape, spec, batch);
      const values = checked(() => entry.elements());
      const held: DType =
        values instanceof Float32Array
          ? "float32"
          : values instanceof Int32Array
            ? "int32"
            : entry.dtype === "BOOL"
              ? "bool"
              : "uint8";
      if (held !== spec.dtype)
        throw new Problem(
          422,
          `"${name}" is ${entry.dtype}, which is read as ${held}, but must be ${spec.dtype}. Convert it.`,
        );
      requireRange(name, values, spec);
      return { values, shape: entry.shape, dtype: held, single };
    },
  };
}

/** Writes rows of an output as a body. */
export type WriteRows = (type: BodyType, single: boolean, from: number, count: number) => Reply;

/**
 * Writes an output for those who sent its inputs: each gets `count` rows from `from` on, or if `single` the one row as it is.
 * @throws Problem 422 if rows hold NaN or infinities, for which JSON has no word, and are to be JSON
 */
export function rowsOf(name: string, y: Tensor): WriteRows {
  const rows = y.shape[0] ?? 1;
  const width = y.size / rows;
  let nested: unknown;
  return (type, single, from, count) => {
    const isAll = from === 0 && count === rows;
    const shape = single ? y.shape.slice(1) : isAll ? y.shape : [count, ...y.shape.slice(1)];
    const headers = { "content-type": type, "cache-control": "no-store" };
    if (type !== JSON_TYPE) {
      const part = isAll ? y : y.narrow(0, from, count);
      return new Reply(writeSafetensors({ [name]: single ? part.reshape(shape) : part }), headers);
    }
    if (y.dtype === "float32") {
      const part = y.live().subarray(from * width, (from + count) * width);
      const wrong = part.find((value: number) => !Number.isFinite(value));
      if (wrong !== undefined)
        throw new Problem(
          422,
          `For these inputs the model's outputs hold ${wrong}, which JSON cannot carry. Send other inputs, or Accept: ${BINARY_TYPES[0]}.`,
        );
    }
    nested ??= y.toArray();
    const values = single
      ? (nested as unknown[])[from]
      : isAll
        ? nested
        : (nested as unknown[]).slice(from, from + count);
    return new Reply(JSON.stringify({ [name]: values, shape }), headers);
  };
}
