/** Public reductions along any set of dims, and running sums. */

import { ShapeError } from "../../runtime/errors.ts";
import { apply, type OpDefinition, type Operand } from "../definition/op.ts";
import { normalizeDim, normalizeDims, type Shape, show, sizeOf, type Value } from "../definition/value.ts";
import { mul } from "../pointwise/arithmetic.ts";
import { eq, ne } from "../pointwise/comparison.ts";
import { exact, float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";
import { cast, narrow, pad, permute } from "../shape/shape.ts";
import { normDefinition, squaresDefinition } from "./euclid.ts";
import {
  argMaxDefinition,
  argMinDefinition,
  cumsumDefinition,
  type FoldAttributes,
  maxDefinition,
  minDefinition,
  sumDefinition,
} from "./fold.ts";

/** The dimension or dimensions to reduce. */
export type Dims = number | readonly number[];
export interface ReduceOptions {
  /** Keep the reduced dimensions with size 1. Default false. */
  readonly keepdim?: boolean;
}

/** x's shape without the reduced dimensions, or with size 1 in their place if `keepdim` is true. */
export function reducedShape(x: Value, reduced: readonly number[], keepdim: boolean): number[] {
  return keepdim
    ? x.shape.map((n, i) => (reduced.includes(i) ? 1 : n))
    : x.shape.filter((_, i) => !reduced.includes(i));
}

/** Runs a reduction along `dims`: directly if they are adjacent, otherwise after moving them to the end. */
export function reduce(
  definition: Omit<OpDefinition<FoldAttributes>, "samples">,
  x: Value,
  dims: Dims | undefined,
  keepdim: boolean,
  divisor = 1,
  innermost = false,
): Value {
  const { name } = definition;
  const reduced = normalizeDims(name, dims, x.shape.length);
  const shape = reducedShape(x, reduced, keepdim);
  const n = sizeOf(reduced.map((dim) => x.shape[dim]!));
  const hasEmpty = ([sumDefinition, squaresDefinition, normDefinition] as unknown[]).includes(definition);
  if (n === 0 && !hasEmpty && sizeOf(shape) > 0) {
    throw new ShapeError(
      `${name}: ${show(x.shape)} has no elements along the reduced dims, so the result is undefined.`,
    );
  }
  const first = reduced[0] ?? x.shape.length;
  const after = first + reduced.length;
  const neighbours = reduced.every((dim, i) => dim === first + i);
  const inner = sizeOf(x.shape.slice(after));
  if (!neighbours || (innermost && inner !== 1)) {
    const kept = x.shape.map((_, i) => i).filter((i) => !reduced.includes(i));
    const moved = permute(x, [...kept, ...reduced]);
    return apply(definition, [moved], {
      outer: sizeOf(shape),
      n,
      inner: 1,
      shape,
      divisor,
      reverse: false,
    });
  }
  const outer = sizeOf(x.shape.slice(0, first));
  return apply(definition, [x], {
    outer,
    n,
    inner,
    shape,
    divisor,
    reverse: false,
  });
}

/** The number of elements that each result combines. */
export function counted(name: string, x: Value, dims: Dims | undefined): number {
  return sizeOf(normalizeDims(name, dims, x.shape.length).map((dim) => x.shape[dim]!));
}

/**
 * Σ x along `dims`. Derivative 1.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32, or int32
 * (modulo 2³²) for int32, bool and uint8.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.sum().item(); // 10
 * x.sum(0).toArray(); // [4, 6]
 * ```
 * @op
 */
export function sum(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  return reduce(sumDefinition, exact(x), dims, keepdim);
}

/**
 * The arithmetic mean Σ x / n along `dims`. Derivative 1/n.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32. Other types are
 * converted first, so int32 values beyond ±2²⁴ may be rounded.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.mean().item(); // 2.5
 * x.mean(1).toArray(); // [1.5, 3.5]
 * ```
 * @op
 */
export function mean(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  const v = float(x);
  return reduce(sumDefinition, v, dims, keepdim, counted("mean", v, dims));
}

function extreme(
  definition: OpDefinition<FoldAttributes>,
  x: Operand,
  dims: Dims | undefined,
  keepdim: boolean,
): Value {
  return cast(reduce(definition, exact(x), dims, keepdim), typeof x === "number" ? "float32" : x.dtype);
}

/**
 * The largest element along `dims`, or NaN if any element is NaN. Tied elements share the gradient.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; x's type. For the
 * element's index, use argMax.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist, is listed twice, or has no elements
 * @example
 * ```ts
 * const x = tensor([[1, 5], [3, 4]]);
 * x.max().item(); // 5
 * x.max(0).toArray(); // [3, 5]
 * ```
 * @op
 */
export function max(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  return extreme(maxDefinition, x, dims, keepdim);
}

/**
 * The smallest element along `dims`, or NaN if any element is NaN. Tied elements share the gradient.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; x's type. For the
 * element's index, use argMin.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist, is listed twice, or has no elements
 * @example
 * ```ts
 * const x = tensor([[1, 5], [3, 4]]);
 * x.min().item(); // 1
 * x.min(0).toArray(); // [1, 4]
 * ```
 * @op
 */
export function min(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  return extreme(minDefinition, x, dims, keepdim);
}

/**
 * The index of the largest element along `dim`, or of the first one in a tie. NaN counts as the largest. No gradient.
 *
 * x: any shape → x's shape without `dim`, or with size 1 in its place if `keepdim` is true; int32.
 *
 * @param dim The dim to search. Default: all dims, as if x were flattened.
 * @throws ShapeError if the dim does not exist or has no elements
 * @example
 * ```ts
 * const x = tensor([[1, 5], [3, 4]]);
 * x.argMax().item(); // 1
 * x.argMax(1).toArray(); // [1, 1]
 * ```
 * @op
 */
export function argMax(x: Operand, dim?: number, { keepdim = false }: ReduceOptions = {}): Value {
  return reduce(argMaxDefinition, exact(x), dim, keepdim, 1, true);
}

/**
 * The index of the smallest element along `dim`, or of the first one in a tie. NaN counts as the smallest. No gradient.
 *
 * x: any shape → x's shape without `dim`, or with size 1 in its place if `keepdim` is true; int32.
 *
 * @param dim The dim to search. Default: all dims, as if x were flattened.
 * @throws ShapeError if the dim does not exist or has no elements
 * @example
 * ```ts
 * const x = tensor([[1, 5], [3, 4]]);
 * x.argMin().item(); // 0
 * x.argMin(1).toArray(); // [0, 0]
 * ```
 * @op
 */
export function argMin(x: Operand, dim?: number, { keepdim = false }: ReduceOptions = {}): Value {
  return reduce(argMinDefinition, exact(x), dim, keepdim, 1, true);
}

/**
 * The product Π x along `dims`. prod multiplies pairs of elements until one is left, so that gradients of any order are
 * correct even where elements are 0.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32, or int32
 * (modulo 2³²) for int32, bool and uint8.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.prod().item(); // 24
 * x.prod(0).toArray(); // [3, 8]
 * ```
 * @op
 */
export function prod(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  const v = exact(x);
  const reduced = normalizeDims("prod", dims, v.shape.length);
  const kept = v.shape.map((_, i) => i).filter((i) => !reduced.includes(i));
  const shape = reducedShape(v, reduced, keepdim);
  const n = counted("prod", v, dims);
  let rest = reshape(permute(v, [...reduced, ...kept]), [n, sizeOf(shape)]);
  if (n === 0) rest = pad(rest, [0, 0, 0, 1], 1);
  while (rest.shape[0]! > 1) {
    const half = Math.ceil(rest.shape[0]! / 2);
    const even = rest.shape[0]! % 2 ? pad(rest, [0, 0, 0, 1], 1) : rest;
    rest = mul(narrow(even, 0, 0, half), narrow(even, 0, half, half));
  }
  return reshape(rest, shape);
}

/**
 * True where at least one element along `dims` is nonzero. No gradient.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; bool.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([[0, 1], [0, 0]]);
 * x.any(1).toArray(); // [true, false]
 * ```
 * @op
 */
export function any(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  return ne(sum(ne(x, 0), dims, { keepdim }), 0);
}

/**
 * True where all elements along `dims` are nonzero. No gradient.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; bool.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([[1, 1], [0, 1]]);
 * x.all(1).toArray(); // [true, false]
 * ```
 * @op
 */
export function all(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  return eq(sum(eq(x, 0), dims, { keepdim }), 0);
}

/**
 * Running sums along `dim`: yᵢ = Σ_{j ≤ i} xⱼ. The gradient is the running sum of dy from the other end.
 *
 * x: any shape with at least one dim → the same shape; float32, or int32 (modulo 2³²) for int32, bool and uint8.
 *
 * @param dim The dim to sum along.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.cumsum(0).toArray(); // [1, 3, 6]
 * ```
 * @op
 */
export function cumsum(x: Operand, dim: number): Value {
  const v = exact(x);
  const at = normalizeDim("cumsum", dim, v.shape.length);
  const outer = sizeOf(v.shape.slice(0, at));
  const inner = sizeOf(v.shape.slice(at + 1));
  return apply(cumsumDefinition, [v], {
    outer,
    n: v.shape[at]!,
    inner,
    shape: v.shape,
    divisor: 1,
    reverse: false,
  });
}

/** Undoes a broadcast from `shape` to x's shape: sums x over the dims that were broadcast. */
export function sumTo(x: Value, shape: Shape): Value {
  const offset = x.shape.length - shape.length;
  const dims = x.shape.map((_, i) => i).filter((i) => i < offset || (shape[i - offset] === 1 && x.shape[i] !== 1));
  return reshape(dims.length ? sum(x, dims) : x, shape);
}
