/** Functions that make tensors from values, constants, ranges and random numbers. */
import { rejectOtherCopy } from "./copies.ts";
import "./eager.ts";
import { type DType, requireDType, requireInDType, requireShape, type Shape, sizeOf } from "../ops/definition/value.ts";
import * as random from "../ops/random/random.ts";
import { evenValues, rangeValues } from "../ops/random/ranges.ts";
import { full as fill } from "../ops/shape/shape.ts";
import { check } from "../runtime/arguments.ts";
import { DTypeError, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import type { TypedArray } from "./elements.ts";
import type { NestedArray } from "./printing.ts";
import { fromElements, Tensor } from "./tensor.ts";

const OPTIONS = "{dtype:string requiresGrad:boolean}";

/** Options for the functions that create tensors. */
export interface TensorOptions {
  /**
   * The element type. By default, `tensor` derives it from the values, `zerosLike` and `onesLike` use x's type,
   * `randint` uses int32, and all other functions use float32.
   */
  readonly dtype?: DType;
  /** Whether autograd computes gradients for the tensor. Default false. */
  readonly requiresGrad?: boolean;
}

/** The values that `tensor` accepts: a number, nested arrays, or a typed array. */
export type TensorValues =
  | NestedArray
  | readonly TensorValues[]
  | TypedArray
  | Uint8ClampedArray
  | Float64Array
  | Int8Array
  | Int16Array
  | Uint16Array;

function finish(made: Tensor, { requiresGrad = false }: TensorOptions): Tensor {
  if (requiresGrad) made.requiresGrad = true;
  return made;
}

/** The shape and the row-major elements of nested arrays. @throws ShapeError if rows differ in length */
function unnest(values: TensorValues): {
  shape: number[];
  elements: (number | boolean)[];
} {
  const shape: number[] = [];
  for (
    let level: TensorValues = values;
    Array.isArray(level) || ArrayBuffer.isView(level);
    level = level[0] as TensorValues
  )
    shape.push(level.length);
  const elements: (number | boolean)[] = [];
  const visit = (part: TensorValues, dim: number): void => {
    if (typeof part === "number" || typeof part === "boolean") {
      if (dim !== shape.length)
        throw new ShapeError(
          `tensor: expected a row of ${shape[dim]} elements, got a number. Nest all rows to the same depth.`,
        );
      elements.push(part);
      return;
    }
    const row = part as ArrayLike<TensorValues>;
    rejectOtherCopy("tensor", "a value", part);
    if (typeof part !== "object" || part === null || typeof row.length !== "number")
      throw new TypeError(
        `tensor: values must be numbers, booleans or arrays of them, got ${describe(part)}. ${typeof part === "string" ? "Convert strings with Number(…)." : part instanceof Tensor ? "Copy a tensor with clone(); join several with stack([…])." : part instanceof Promise ? "Await it first." : "Replace it with a number."}`,
      );
    if (dim === shape.length || row.length !== shape[dim]) {
      throw new ShapeError(
        `tensor: expected ${shape[dim] === undefined ? "a number" : `a row of ${shape[dim]} elements`}, got a row of ${row.length}. Give all rows the same length.`,
      );
    }
    for (let i = 0; i < row.length; i++) visit(row[i]!, dim + 1);
  };
  visit(values, 0);
  return { shape, elements };
}

/**
 * The dtype for each kind of typed array, keyed by toStringTag, which is also correct for Buffers and for arrays from
 * other realms.
 */
const dtypesByTag: Record<string, DType> = {
  Float32Array: "float32",
  Float64Array: "float32",
  Int32Array: "int32",
  Int16Array: "int32",
  Uint16Array: "int32",
  Int8Array: "int32",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
};

/** The dtype of a tensor made from a typed array; undefined if that kind of array is not supported. @internal */
export const dtypeOf = (values: ArrayBufferView): DType | undefined =>
  dtypesByTag[(values as TypedArray)[Symbol.toStringTag]];

/**
 * Makes a tensor from a copy of `values`: a number, nested arrays of numbers or booleans, or a typed array. Numbers
 * become float32, and booleans become bool. A Float32Array becomes float32, an Int32Array int32, and a Uint8Array
 * uint8. Numbers that are too large for float32, such as 1e300, become ±Infinity, as in PyTorch (functions that read
 * files reject such numbers instead).
 *
 * ```ts
 * tensor([[1, 2], [3, 4]]);
 * tensor(new Float32Array(6), [2, 3], { requiresGrad: true });
 * ```
 * @param shape the shape of the tensor. Default: the shape of the nested arrays, or one dimension for a typed array
 * @throws ShapeError if rows differ in length or the number of elements does not match the shape
 * @throws TypeError if a value is neither a number nor a boolean, DTypeError if a typed array is not supported
 */
export function tensor(values: TensorValues, shape?: Shape | TensorOptions, options?: TensorOptions): Tensor {
  check("tensor", arguments, `values:any shape?:numbers ${OPTIONS}`);
  const given = Array.isArray(shape) ? (shape as Shape) : undefined;
  const chosen = (given ? options : ((shape as TensorOptions | undefined) ?? options)) ?? {};
  if (ArrayBuffer.isView(values)) {
    const dtype = chosen.dtype ?? dtypeOf(values);
    if (!dtype)
      throw new DTypeError(
        `tensor: ${(values as TypedArray)[Symbol.toStringTag]} is not supported. Convert it to Float32Array, Int32Array or Uint8Array.`,
      );
    const elements = values as ArrayLike<number>;
    return finish(fromElements(elements, given ?? [elements.length], dtype, "tensor"), chosen);
  }
  const { shape: own, elements } = unnest(values);
  const dtype = chosen.dtype ?? (elements.length && elements.every((v) => typeof v === "boolean") ? "bool" : "float32");
  return finish(fromElements(elements.map(Number), given ?? own, dtype, "tensor"), chosen);
}

/**
 * Makes a tensor filled with one value, float32 by default. For int32, the value is truncated and saturated; for uint8,
 * the low eight bits of the int32 result are kept.
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  check("full", arguments, `shape:any value:number ${OPTIONS}`);
  return filledTensor("full", shape, value, options);
}
function filledTensor(op: string, shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const { dtype = "float32" } = options;
  requireShape(op, shape);
  requireDType(op, dtype);
  return finish(fill(shape, value, dtype) as Tensor, options);
}

/** A number that compiled functions re-read on every call. Plain numbers, by contrast, become constants. */
export type Scalar = Tensor & {
  /** The number. Setting it does not make compile record the function again. */
  value: number;
};

/**
 * Makes a float32 tensor with shape [] and a `value` that you can set. The tensor lives until dispose().
 *
 * ```ts
 * const temperature = scalar(1);
 * const f = compile((logits: Tensor) => logits.div(temperature).softmax());
 * temperature.value = 0.5;   // the next call divides by 0.5
 * ```
 */
export function scalar(value: number): Scalar {
  check("scalar", arguments, "value:number");
  const made = full([], value).keep();
  return Object.defineProperty(made, "value", {
    get: () => made.item(),
    set: (v: number) => made.copyFrom([v]),
  }) as Scalar;
}
/**
 * Makes a tensor of `shape` filled with zeros, float32 by default.
 * @throws ShapeError, DTypeError
 */
export function zeros(shape: Shape, options?: TensorOptions): Tensor {
  check("zeros", arguments, `shape:any ${OPTIONS}`);
  return filledTensor("zeros", shape, 0, options);
}
/**
 * Makes a tensor of `shape` filled with ones, float32 by default.
 * @throws ShapeError, DTypeError
 */
export function ones(shape: Shape, options?: TensorOptions): Tensor {
  check("ones", arguments, `shape:any ${OPTIONS}`);
  return filledTensor("ones", shape, 1, options);
}
/** Makes a tensor of zeros with x's shape and, unless you set a different dtype, x's dtype. */
export function zerosLike(x: Tensor, options?: TensorOptions): Tensor {
  check("zerosLike", arguments, `x:tensor ${OPTIONS}`);
  return filledTensor("zerosLike", x.shape, 0, { dtype: x.dtype, ...options });
}
/** Makes a tensor of ones with x's shape and, unless you set a different dtype, x's dtype. */
export function onesLike(x: Tensor, options?: TensorOptions): Tensor {
  check("onesLike", arguments, `x:tensor ${OPTIONS}`);
  return filledTensor("onesLike", x.shape, 1, { dtype: x.dtype, ...options });
}

/**
 * Checks only the first and the last value of a range, because ranges are monotonic.
 * @throws RangeError if the dtype cannot represent the first or the last value
 */
function requireEnds(op: string, values: Float64Array, dtype: DType): void {
  if (values.length) for (const v of [values[0]!, values.at(-1)!]) requireInDType(op, v, dtype);
}

/**
 * Makes a tensor of the numbers start, start + step, … that are less than end (or greater than end, for a negative
 * step). `arange(n)` is 0 … n − 1. `end` is excluded despite rounding errors: `arange(1, 1.3, 0.1)` is 1, 1.1, 1.2.
 * @throws RangeError if step is 0, or if the dtype cannot represent one of the numbers
 */
export function arange(end: number, options?: TensorOptions): Tensor;
export function arange(start: number, end?: number, options?: TensorOptions): Tensor;
export function arange(start: number, end?: number, step?: number, options?: TensorOptions): Tensor;
export function arange(...args: unknown[]): Tensor {
  const [start, end, step = 1, options = {}] = check(
    "arange",
    args,
    `start:number end?:number step?:number ${OPTIONS}`,
  ) as [number, number?, number?, TensorOptions?];
  const [from, to] = end === undefined ? [0, start] : [start, end];
  const values = rangeValues("arange", from, to, step);
  const dtype = options.dtype ?? "float32";
  requireEnds("arange", values, dtype);
  return finish(fromElements(values, [values.length], dtype, "arange"), options);
}

/**
 * Makes a tensor of n evenly spaced numbers from start to end, both of which are included and exact. For n = 1, the
 * only number is start.
 * @throws RangeError
 */
export function linspace(start: number, end: number, n: number, options: TensorOptions = {}): Tensor {
  check("linspace", arguments, `start:number end:number n:number ${OPTIONS}`);
  const dtype = options.dtype ?? "float32";
  const values = evenValues("linspace", start, end, n);
  requireEnds("linspace", values, dtype);
  return finish(fromElements(values, [n], dtype, "linspace"), options);
}

/** Makes an [n, m] matrix with ones on the diagonal and zeros elsewhere. m defaults to n. */
export function eye(n: number, options?: TensorOptions): Tensor;
export function eye(n: number, m?: number, options?: TensorOptions): Tensor;
export function eye(...args: unknown[]): Tensor {
  const [n, m = n, options = {}] = check("eye", args, `n:number m?:number ${OPTIONS}`) as [
    number,
    number?,
    TensorOptions?,
  ];
  const values = new Float32Array(sizeOf([n, m]));
  for (let i = 0; i < Math.min(n, m); i++) values[i * m + i] = 1;
  return finish(fromElements(values, [n, m], options.dtype ?? "float32", "eye"), options);
}

/** @throws DTypeError if a dtype other than float32 is given */
function requireFloat(op: string, options: TensorOptions): TensorOptions {
  if (options.dtype !== undefined && options.dtype !== "float32")
    throw new DTypeError(
      `${op}: dtype must be "float32", got ${describe(options.dtype)}. Use randint(…) for integers, or convert the result with .to(…).`,
    );
  return options;
}

/** Draws float32 numbers uniformly from [0, 1). */
export function rand(shape: Shape, options: TensorOptions = {}): Tensor {
  check("rand", arguments, `shape:any ${OPTIONS}`);
  return finish(random.rand(shape) as Tensor, requireFloat("rand", options));
}
/** Draws float32 numbers uniformly from [low, high). */
export function uniform(shape: Shape, low: number, high: number, options: TensorOptions = {}): Tensor {
  check("uniform", arguments, `shape:any low:number high:number ${OPTIONS}`);
  return finish(random.rand(shape, low, high, "uniform") as Tensor, requireFloat("uniform", options));
}
/** Draws float32 numbers from the normal distribution with mean 0 and standard deviation 1. */
export function randn(shape: Shape, options: TensorOptions = {}): Tensor {
  check("randn", arguments, `shape:any ${OPTIONS}`);
  return finish(random.randn(shape) as Tensor, requireFloat("randn", options));
}
/** Draws float32 numbers from the normal distribution with the given mean and standard deviation. */
export function normal(shape: Shape, mean: number, std: number, options: TensorOptions = {}): Tensor {
  check("normal", arguments, `shape:any mean:number std:number ${OPTIONS}`);
  return finish(random.randn(shape, mean, std, "normal") as Tensor, requireFloat("normal", options));
}
/**
 * Draws integers uniformly from low to high − 1, as int32 by default.
 * @throws RangeError unless low and high are integers, low < high, and all results are in the range of int32 and of the
 * dtype
 */
export function randint(low: number, high: number, shape: Shape, options: TensorOptions = {}): Tensor {
  check("randint", arguments, `low:number high:number shape:any ${OPTIONS}`);
  if (options.dtype === "uint8") for (const v of [low, high - 1]) requireInDType("randint", v, "uint8");
  const drawn = random.randint(low, high, shape) as Tensor;
  return finish(options.dtype === undefined ? drawn : drawn.to(options.dtype), options);
}
