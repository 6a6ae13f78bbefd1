/** Factorizations, triangular solves and sorting. The last two dims hold matrices; the others are batch dims. */
import { Op } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeFactor, encodeSolve, type FactorCode } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition, type Operand } from "../definition/op.ts";
import { broadcastShapes, normalizeDim, requireType, type Shape, show, type Value } from "../definition/value.ts";
import { gather } from "../index/gather.ts";
import { add, mul, neg, reciprocal, sub } from "../pointwise/arithmetic.ts";
import { exact, float } from "../pointwise/pointwise.ts";
import { reshape, unsqueeze } from "../shape/reshape.ts";
import { broadcastTo, cast, full, narrow, transpose } from "../shape/shape.ts";
import { tril, triu } from "../shape/triangle.ts";
import { matmul, matmulDefinition, PLAIN_PRODUCT } from "./matmul.ts";

const mT = (x: Value): Value => transpose(x, -2, -1);
const half = (x: Value): Value => mul(add(x, mT(x)), 0.5);
const isSquare = ({ shape }: { shape: Shape }): boolean => shape.length >= 2 && shape.at(-1) === shape.at(-2);

/** @throws ShapeError, DTypeError unless x is a float32 batch of square matrices */
function requireSquare(name: string, x: Value): void {
  requireType(name, x, "float32");
  if (!isSquare(x)) throw new ShapeError(`${name}: the matrix must be [..., n, n], got ${show(x.shape)}.`);
}

/** The number of matrices. A single thread computes each matrix. */
const matrices = ([a]: readonly Value[]): number => a!.size / Math.max(1, a!.shape.at(-1)! ** 2);

/** @param workspaceOf returns the number of scratch bytes for matrices or rows of size n */
function encodeAs(
  code: FactorCode,
  workspaceOf: (n: number) => number,
): OpDefinition<{ descending?: boolean } | null>["encode"] {
  return (encoder, { inputs: [x], outputs: [out, second], attributes, address }) => {
    const n = x!.shape.at(-1) ?? 1;
    const workspace = encoder.workspace(workspaceOf(n));
    const per = code === Op.ArgSort ? n : n * n;
    encodeFactor(encoder, code, {
      out: address(out!),
      second: second ? address(second) : 0,
      x: address(x!),
      count: per ? x!.size / per : 0,
      n,
      descending: Number(attributes?.descending ?? 0),
      integer: Number(x!.dtype === "int32"),
      workspace,
    });
  };
}

/**
 * The L such that L·Lᵀ = (A + Aᵀ)/2. dA = sym(L⁻ᵀ·Φ(Lᵀ·dL)·L⁻¹), where Φ takes the lower triangle and halves its
 * diagonal (Murray 2016, eq. 10).
 */
const choleskyDefinition: OpDefinition<null> = {
  code: Op.Cholesky,
  cost: 1,
  name: "cholesky",
  saves: "output",
  infer([a]) {
    requireSquare("cholesky", a!);
    return [{ shape: a!.shape, dtype: "float32" }];
  },
  products: ([a]) => (a!.size * a!.shape.at(-1)!) / 3,
  units: matrices,
  encode: encodeAs(Op.Cholesky, () => 0),
  vjp(dy, { outputs: [l] }) {
    const product = apply(matmulDefinition, [l!, tril(dy)], { ...PLAIN_PRODUCT, transA: true });
    const phi = mul(add(tril(product), tril(product, -1)), 0.5);
    const left = triangularSolve(l!, phi, { transpose: true });
    return [half(mT(triangularSolve(l!, mT(left), { transpose: true })))];
  },
};

export interface SolveAttributes {
  readonly upper: boolean;
  readonly transposed: boolean;
  readonly unit: boolean;
}

/**
 * Solves op(A)·X = B for X, where A is triangular. dB = op(A)⁻ᵀ·dX; dA is the triangle of −dB·Xᵀ, transposed if A is
 * transposed.
 */
const triangularSolveDefinition: OpDefinition<SolveAttributes> = {
  code: Op.TriangularSolve,
  cost: 1,
  name: "triangularSolve",
  saves: "both",
  infer([a, b]) {
    requireSquare("triangularSolve", a!);
    requireType("triangularSolve", b!, "float32");
    const [n, batch] = [a!.shape.at(-1)!, a!.shape.slice(0, -2)];
    if (b!.shape.at(-2) !== n || show(b!.shape.slice(0, -2)) !== show(batch))
      throw new ShapeError(
        `triangularSolve: A is ${show(a!.shape)}, so B must be [${[...batch, n].join(", ")}, columns], got ${show(b!.shape)}.`,
      );
    return [{ shape: b!.shape, dtype: "float32" }];
  },
  products: ([a], [x]) => x!.size * a!.shape.at(-1)!,
  units: matrices,
  encode(encoder, { inputs: [a, b], outputs: [x], attributes: { upper, transposed, unit }, address }) {
    const n = a!.shape.at(-1)!;
    encodeSolve(encoder, {
      out: address(x!),
      a: address(a!),
      b: address(b!),
      count: n ? a!.size / (n * n) : 0,
      n,
      columns: b!.shape.at(-1)!,
      upper: Number(upper),
      transposed: Number(transposed),
      unit: Number(unit),
    });
  },
  vjp(dy, { inputs: [a], outputs: [x], attributes: { upper, transposed, unit }, needs }) {
    const db = apply(triangularSolveDefinition, [a!, dy], { upper, transposed: !transposed, unit });
    if (!needs[0]) return [null, db];
    const [left, right] = transposed ? [x!, db] : [db, x!];
    const whole = neg(apply(matmulDefinition, [left, right], { ...PLAIN_PRODUCT, transB: true }));
    const diagonal = unit ? 1 : 0;
    return [upper ? triu(whole, diagonal) : tril(whole, -diagonal), db];
  },
};

/**
 * w and V such that (A + Aᵀ)/2 = V·diag(w)·Vᵀ, with w ascending. dA = sym(V·(diag(dw) + F∘(Vᵀ·dV))·Vᵀ), Fᵢⱼ = 1/(wⱼ −
 * wᵢ) off the diagonal (Giles 2008, §3.1).
 */
const eighDefinition: OpDefinition<null> = {
  code: Op.Eigh,
  cost: 1,
  name: "eigh",
  saves: "output",
  differentiable: 2,
  infer([a]) {
    requireSquare("eigh", a!);
    return [
      { shape: a!.shape.slice(0, -1), dtype: "float32" },
      { shape: a!.shape, dtype: "float32" },
    ];
  },
  products: ([a]) => 40 * a!.size * a!.shape.at(-1)!,
  units: matrices,
  encode: encodeAs(Op.Eigh, (n) => kernels().eighWorkspace!(n)),
  vjp(dw, { outputs: [w, v], more: [dv] }) {
    const n = w!.shape.at(-1)!;
    const identity = tril(triu(full([n, n], 1)));
    let inner = mul(unsqueeze(dw, -1), identity);
    if (dv) {
      const gaps = sub(unsqueeze(w!, -2), unsqueeze(w!, -1));
      const f = mul(sub(1, identity), reciprocal(add(gaps, identity)));
      inner = add(inner, mul(f, apply(matmulDefinition, [v!, dv], { ...PLAIN_PRODUCT, transA: true })));
    }
    const product = apply(matmulDefinition, [matmul(v!, inner), v!], { ...PLAIN_PRODUCT, transB: true });
    return [half(product)];
  },
};

/** The indices that sort each row. Equal elements keep their order. NaN comes last, or first in descending order. */
const argSortDefinition: OpDefinition<{ descending: boolean }> = {
  code: Op.ArgSort,
  cost: 1,
  name: "argSort",
  infer([x]) {
    if (x!.dtype !== "int32") requireType("argSort", x!, "float32");
    return [{ shape: x!.shape, dtype: "int32" }];
  },
  below: ([x]) => [x!.shape.at(-1) ?? 1],
  units: ([x]) => x!.size / Math.max(1, x!.shape.at(-1) ?? 1),
  encode: encodeAs(Op.ArgSort, (n) => (4 * n + 63) & ~63) as OpDefinition<{ descending: boolean }>["encode"],
};

/**
 * The Cholesky factor of symmetric positive definite matrices: the lower triangular L such that L·Lᵀ = (a + aᵀ)/2. If a
 * matrix is not positive definite, its factor contains NaN. dA = sym(L⁻ᵀ·Φ(Lᵀ·dL)·L⁻¹), where Φ takes the lower
 * triangle and halves its diagonal (Murray 2016, eq. 10).
 *
 * a: [..., n, n] → [..., n, n], float32.
 *
 * @throws ShapeError if the matrices are not square
 * @example
 * ```ts
 * const a = tensor([[4, 2], [2, 5]]);
 * cholesky(a).toArray(); // [[2, 0], [1, 2]]
 * ```
 * @op function
 */
export const cholesky = (a: Value): Value => apply(choleskyDefinition, [float(a, "cholesky")], null);

/**
 * Eigenvalues and eigenvectors of symmetric matrices: (a + aᵀ)/2 = V·diag(w)·Vᵀ. The gradient follows Giles (2008,
 * §3.1); it is infinite if eigenvalues are equal.
 *
 * a: [..., n, n] → [w, V]: w is [..., n], ascending; V is [..., n, n], with the eigenvectors as columns; float32.
 *
 * @throws ShapeError if the matrices are not square
 * @example
 * ```ts
 * const a = tensor([[2, 1], [1, 2]]);
 * eigh(a)[0]!.toArray(); // [1, 3]
 * ```
 * @op function
 */
export const eigh = (a: Value): Value[] => applyAll(eighDefinition, [float(a, "eigh")], null);

export interface TriangularSolveOptions {
  /** Read the upper triangle of A instead of the lower one. Default false. */
  readonly upper?: boolean;
  /** Solve Aᵀ·X = B. Default false. */
  readonly transpose?: boolean;
  /** Use ones in place of A's diagonal. Default false. */
  readonly unitriangular?: boolean;
}

/**
 * Solves a·X = b for X, where a is triangular. db = a⁻ᵀ·dX; da is the triangle of −db·Xᵀ.
 *
 * a: [..., n, n], b: [..., n, columns] → [..., n, columns], float32. Leading dims broadcast.
 *
 * @param a The triangular matrices; only one triangle is read.
 * @param b The right-hand sides, as columns.
 * @throws ShapeError if the sizes do not match
 * @example
 * ```ts
 * const a = tensor([[2, 0], [1, 4]]);
 * triangularSolve(a, tensor([[2], [9]])).toArray(); // [[1], [2]]
 * ```
 * @op function
 */
export function triangularSolve(
  a: Value,
  b: Value,
  { upper = false, transpose: transposed = false, unitriangular: unit = false }: TriangularSolveOptions = {},
): Value {
  const [left, right] = [float(a, "triangularSolve"), float(b, "triangularSolve")];
  if (right.shape.length < 2)
    throw new ShapeError(
      `triangularSolve: B must be [..., n, columns], got ${show(right.shape)}. For a single column, use b.unsqueeze(-1).`,
    );
  const batch = broadcastShapes("triangularSolve", left.shape.slice(0, -2), right.shape.slice(0, -2));
  const whole = [left, right].map((x) => broadcastTo(x, [...batch, ...x.shape.slice(-2)]));
  return apply(triangularSolveDefinition, whole, { upper, transposed, unit });
}

export interface SortOptions {
  /** Put the largest elements first. Default false. */
  readonly descending?: boolean;
}

/**
 * Sorts the elements along `dim` in ascending (or descending) order, and returns them and their indices. Equal elements
 * keep their order. NaN comes last, or first in descending order. The gradient goes back to the original position of
 * each element.
 *
 * x: any shape → [values, indices], both of the same shape: values of x's type, indices int32.
 *
 * @param dim The dim to sort along. Default -1.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = tensor([3, 1, 2]);
 * x.sort()[0]!.toArray(); // [1, 2, 3]
 * x.sort({ descending: true })[1]!.toArray(); // [0, 2, 1]
 * ```
 * @op
 */
export function sort(x: Operand, dim = -1, { descending = false }: SortOptions = {}): Value[] {
  const v = exact(x, "sort");
  const dtype = typeof x === "number" ? "float32" : x.dtype;
  if (!v.shape.length) {
    const [sorted, places] = sort(reshape(v, [1]), 0, { descending }).map((y) => reshape(y, []));
    return [cast(sorted!, dtype), places!];
  }
  const at = normalizeDim("sort", dim, v.shape.length);
  const last = v.shape.length - 1;
  const places = apply(argSortDefinition, [transpose(v, at, last)], { descending });
  const indices = transpose(places, at, last);
  return [cast(gather(v, at, indices), dtype), indices];
}

/**
 * The indices that sort the elements along `dim`; equal elements keep their order. No gradient.
 *
 * x: any shape → the same shape, int32.
 *
 * @param dim The dim to sort along. Default -1.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = tensor([3, 1, 2]);
 * x.argSort().toArray(); // [1, 2, 0]
 * ```
 * @op
 */
export const argSort = (x: Operand, dim = -1, { descending = false }: SortOptions = {}): Value =>
  sort(x, dim, { descending })[1]!;

export interface TopKOptions {
  /** Whether to return the largest elements instead of the smallest. Default true. */
  readonly largest?: boolean;
}

/**
 * The k largest (or smallest) elements along `dim`, sorted, and their indices. The gradient goes back to the original
 * position of each element.
 *
 * x: any shape → [values, indices], with size k at `dim`: values of x's type, indices int32.
 *
 * @param k The number of elements to return.
 * @param dim The dim to search. Default -1.
 * @throws ShapeError if the dim does not exist or has fewer than k elements
 * @example
 * ```ts
 * const x = tensor([3, 1, 2]);
 * x.topK(2)[0]!.toArray(); // [3, 2]
 * x.topK(1, { largest: false })[1]!.toArray(); // [1]
 * ```
 * @op
 */
export function topK(x: Value, k: number, dim = -1, { largest = true }: TopKOptions = {}): Value[] {
  if (!x.shape.length) return topK(reshape(x, [1]), k, 0, { largest }).map((y) => (k === 1 ? reshape(y, []) : y));
  const at = normalizeDim("topK", dim, x.shape.length);
  if (!(Number.isInteger(k) && k >= 0 && k <= x.shape[at]!))
    throw new ShapeError(
      `topK: k must be a whole number from 0 to ${x.shape[at]}, the size of dim ${dim} of ${show(x.shape)}, got ${k}.`,
    );
  const indices = narrow(argSort(x, at, { descending: largest }), at, 0, k);
  return [cast(gather(exact(x, "topK"), at, indices), x.dtype), indices];
}

export const linalgDefinitions = {
  cholesky: choleskyDefinition,
  eigh: eighDefinition,
  argSort: argSortDefinition,
  triangularSolve: triangularSolveDefinition,
};
