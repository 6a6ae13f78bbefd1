/**
 * Reads and writes the tensors in bodies, which are nested arrays in JSON or a safetensors file. Checks the shape and
 * the type of each tensor that it reads.
 */
import type { DType, Tensor, TypedArray } from "nabla";
import { FormatError, inspectSafetensors, writeSafetensors } from "nabla/formats";
import { exceededLimit, type JsonLimits } from "../../formats/nesting.ts";
import { describe } from "../../runtime/kinds.ts";
import { BINARY_TYPES, type BodyType, JSON_TYPE } from "./content.ts";
import { Problem } from "./problems.ts";
import { Reply } from "./reply.ts";
import type { FullSpec } from "./schema.ts";

/** The elements of a tensor, in a shape that matches its spec. */
export interface Elements {
  readonly values: TypedArray;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** A parsed body: tensors by name, and options. */
export interface Body {
  /** The elements of `name`. `single` is true for one sample without the batch dimension. @throws Problem 422, 413 */
  elements(name: string, spec: FullSpec, batch: number): Elements & { readonly single: boolean };
  readonly options: Readonly<Record<string, unknown>>;
}

/** How the elements of each type are stored, and which numbers are valid. */
const types: Record<
  DType,
  { Array: new (size: number) => TypedArray; fits(sent: number, stored: number): boolean; what: string }
> = {
  float32: { Array: Float32Array, fits: (_, stored) => Number.isFinite(stored), what: "a number in float32's range" },
  int32: { Array: Int32Array, fits: (sent, stored) => sent === stored, what: "an integer in int32's range" },
  uint8: { Array: Uint8Array, fits: (sent, stored) => sent === stored, what: "an integer from 0 to 255" },
  bool: { Array: Uint8Array, fits: (sent, stored) => sent === stored && stored < 2, what: "true or false" },
};

/** A spec's shape as text, such as `[batch, 28, 28]`. */
export const showSpec = ({ shape }: { readonly shape: readonly (number | null)[] }): string =>
  `[${shape.map((size, i) => size ?? (i ? "any" : "batch")).join(", ")}]`;

const showShape = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bodies up to this size are parsed without checking how deeply they nest, because they cannot take much memory. */
const SMALL = 2 ** 16;

const EXCESS: Record<keyof JsonLimits, string> = {
  depth: "is nested deeper than the input's shape",
  containers: "has more arrays than a batch of the maximum size needs",
  names: "has too many names",
};

/**
 * Parses a body. `split` receives parsed JSON, and returns its nested arrays and its options.
 * @throws Problem 400 if the body is malformed, 422 if its JSON is nested too deeply or has too many arrays or names
 */
export function readTensors(
  type: BodyType,
  bytes: Uint8Array,
  nesting: JsonLimits,
  split: (json: unknown) => { arrays: Record<string, unknown>; options?: Record<string, unknown> },
): Body {
  if (type !== JSON_TYPE) return readBinary(bytes);
  const excess = bytes.length > SMALL && exceededLimit(bytes, nesting);
  if (excess) throw new Problem(422, `The body ${EXCESS[excess]}. Send the arrays that /metadata describes.`);
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new Problem(400, "The body is not valid JSON. Send a JSON object in UTF-8.");
  }
  const { arrays, options = {} } = split(json);
  return { options, elements: (name, spec, batch) => fromNested(name, arrays[name], spec, batch) };
}

/**
 * @returns whether the shape is that of one sample, without the batch dimension
 * @throws Problem 422 if the shape does not match the spec, 413 if there are more than `batch` samples
 */
function requireShape(name: string, shape: readonly number[], spec: FullSpec, batch: number): boolean {
  const hasBatch = spec.shape[0] === null;
  const single = hasBatch && shape.length === spec.shape.length - 1;
  const expected = single ? spec.shape.slice(1) : spec.shape;
  const fits =
    shape.length === expected.length &&
    shape.every((size, i) => size > 0 && (expected[i] === null || expected[i] === size));
  if (!fits) {
    const sample = hasBatch ? `, or ${showSpec({ shape: spec.shape.slice(1) })} for one sample` : "";
    throw new Problem(422, `"${name}" must have shape ${showSpec(spec)}${sample}, got ${showShape(shape)}.`);
  }
  if (hasBatch && !single && shape[0]! > batch)
    throw new Problem(413, `"${name}" has ${shape[0]} samples, but the limit is ${batch}. Send fewer per request.`);
  return single;
}

function requireRange(name: string, values: TypedArray, { min, max }: FullSpec): void {
  if (min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY) return;
  const outside = values.find((value: number) => !(value >= min && value <= max));
  if (outside === undefined) return;
  const range =
    max === Number.POSITIVE_INFINITY
      ? `at least ${min}`
      : Number.isFinite(min)
        ? `from ${min} to ${max}`
        : `at most ${max}`;
  throw new Problem(422, `"${name}" must contain numbers ${range}, got ${outside}.`);
}

/** The elements of nested arrays. Checks the lengths of all rows before it allocates memory. */
function fromNested(name: string, nested: unknown, spec: FullSpec, batch: number) {
  const shape: number[] = [];
  let level = nested;
  // One level beyond the spec is enough to see that the shape does not fit.
  while (Array.isArray(level) && shape.length <= spec.shape.length) {
    shape.push(level.length);
    level = level[0];
  }
  const single = requireShape(name, shape, spec, batch);
  const rank = shape.length;
  const indices: number[] = [];
  const place = (): string => `"${name}${indices.map((i) => `[${i}]`).join("")}"`;

  const requireRows = (row: unknown, dim: number): void => {
    if (!Array.isArray(row))
      throw new Problem(422, `${place()} must be an array of length ${shape[dim]}, got ${describe(row)}.`);
    if (row.length !== shape[dim])
      throw new Problem(422, `${place()} must have length ${shape[dim]}, like the first row, got ${row.length}.`);
    if (dim === rank - 1) return;
    for (let i = 0; i < row.length; i++) {
      indices.push(i);
      requireRows(row[i], dim + 1);
      indices.pop();
    }
  };
  if (rank) requireRows(nested, 0);

  const { Array: Stored, fits, what } = types[spec.dtype];
  const values = new Stored(shape.reduce((a, b) => a * b, 1));
  let at = 0;
  const fill = (row: readonly unknown[], dim: number): void => {
    for (let i = 0; i < row.length; i++) {
      if (dim < rank - 1) {
        indices.push(i);
        fill(row[i] as unknown[], dim + 1); // requireRows has checked that row[i] is an array
        indices.pop();
        continue;
      }
      const value = typeof row[i] === "boolean" && spec.dtype === "bool" ? Number(row[i]) : row[i];
      if (typeof value === "number") {
        values[at] = value;
        if (fits(value, values[at++]!)) continue;
      }
      if (rank) indices.push(i);
      throw new Problem(422, `${place()} must be ${what}, got ${describe(value)}.`);
    }
  };
  fill(rank ? (nested as unknown[]) : [nested], 0);
  requireRange(name, values, spec);
  return { values, shape, dtype: spec.dtype, single };
}

/** The maximum size of a file's header in bytes. A request's file has only one or two tensors, and options. */
const MAX_HEADER = 2 ** 16;

function readBinary(bytes: Uint8Array): Body {
  const header = bytes.length < 8 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (header > MAX_HEADER && header <= bytes.length)
    throw new Problem(
      413,
      `The file's header is ${header} bytes long, but the limit is ${MAX_HEADER}. Send fewer tensors and less metadata.`,
    );
  /** Reports a FormatError to the client. */
  const checked = <T>(read: () => T): T => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const why = error.message.replace(/^inspectSafetensors: /, "").slice(0, 240);
      throw new Problem(400, `The body is not a valid safetensors file: ${why}`);
    }
  };
  const { entries, metadata } = checked(() => inspectSafetensors(bytes));
  return {
    options: metadata,
    elements(name, spec, batch) {
      const entry = entries.get(name);
      if (!entry) throw new Problem(422, `The file has no tensor named "${name}". Add it.`);
      const single = requireShape(name, entry.shape, spec, batch);
      const values = checked(() => entry.elements());
      const dtype = dtypeOf(values, entry.dtype);
      if (dtype !== spec.dtype)
        throw new Problem(
          422,
          `"${name}" must be ${spec.dtype}, got ${entry.dtype}, which is read as ${dtype}. Convert it.`,
        );
      requireRange(name, values, spec);
      return { values, shape: entry.shape, dtype, single };
    },
  };
}

function dtypeOf(values: TypedArray, stored: string): DType {
  if (values instanceof Float32Array) return "float32";
  if (values instanceof Int32Array) return "int32";
  return stored === "BOOL" ? "bool" : "uint8";
}

/** The rows of an output that one client receives, and their format. */
export interface Part {
  readonly type: BodyType;
  /** Whether to leave out the batch dimension. */
  readonly single: boolean;
  /** The first row. */
  readonly from: number;
  /** The number of rows. */
  readonly count: number;
}
export type WriteRows = (part: Part) => Reply;

/**
 * Returns a function that writes some rows of an output as a reply. The function is called once for each client whose
 * samples were in the batch.
 * @throws Problem 422 if a client asks for JSON and its rows contain NaN or infinities, which JSON cannot represent
 */
export function rowWriter(name: string, y: Tensor): WriteRows {
  const rows = y.shape[0] ?? 1;
  const width = y.size / rows;
  let nested: unknown;
  return ({ type, single, from, count }) => {
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
          `The outputs contain ${wrong}, which JSON cannot represent. Send different inputs, or send the header Accept: ${BINARY_TYPES[0]}.`,
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
