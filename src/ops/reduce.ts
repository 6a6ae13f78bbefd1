/** Reductions over any set of dimensions, and running sums. */
import { Fold, Op, Reduce } from "../../assembly/opcodes.ts";
import { encodeAlone } from "../runtime/engine.ts";
import { ShapeError } from "../runtime/errors.ts";
import { abs, add, div, eq, exp, log, mul, ne, pow, sqrt, square, sub, where } from "./arithmetic.ts";
import { apply, type OpDefinition, type Operand, type Reference } from "./op.ts";
import { float } from "./pointwise.ts";
import { broadcastTo, cast, narrow, pad, permute, reshape } from "./shape.ts";
import { normalizeDim, normalizeDims, type Shape, show, sizeOf, type Value } from "./value.ts";

/** Which dimensions to reduce: one, several, or all. */
export type Dims = number | readonly number[];
export interface ReduceOptions {
  /** Keep the reduced dimensions with size 1. Default false. */
  readonly keepdim?: boolean;
}

/** The kernels see [outer, n, inner] and reduce the middle. */
interface Middle {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  /** The result's shape. */
  readonly shape: Shape;
}

interface FoldAttributes extends Middle {
  /** What a sum is multiplied by. */
  readonly scale: number;
  /** Cumsum: from the end. */
  readonly reverse: boolean;
}

/** Calls `visit` with each element's place in the input and in the result. */
function eachInMiddle({ outer, n, inner }: Middle, visit: (from: number, to: number, i: number) => void): void {
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < n; i++) for (let j = 0; j < inner; j++) visit((o * n + i) * inner + j, o * inner + j, i);
}

/** Elements of a piece, and how many results are too few to share by themselves. */
const PIECE = 4096;
const FEW = 64;

/**
 * The length of the pieces that n is folded in, apart from each other, so that threads can share even a sum to one number; 0: in one.
 * It depends on the shape alone, and so do the bits.
 */
function pieceOf(code: Op, { outer, n, inner }: Middle): number {
  const piece = Math.max(32, 2 ** Math.floor(Math.log2(PIECE / inner)));
  return code <= Op.Min && outer * Math.ceil(inner / 4) < FEW && n >= 16 * piece ? piece : 0;
}

function fold(
  code: Op,
  name: string,
  doc: string,
  rest: Pick<OpDefinition<FoldAttributes>, "vjp" | "saves"> & {
    dtype?: "int32";
    reference: (x: Reference, attributes: FoldAttributes) => ArrayLike<number>;
    kinks?: readonly number[];
  },
): OpDefinition<FoldAttributes> {
  const index = rest.dtype === "int32";
  const cases: [number, number, number][] = [
    [1, 1, 1],
    [1, 5, 1],
    [3, 33, 1],
    [1, 1030, 1],
    [5, 4, 1],
    [0, 3, 1],
    ...(index
      ? []
      : ([
          [1, 5, 3],
          [2, 33, 5],
          [3, 70, 4],
          [2, 3, 31],
          [2, 97, 37],
          [1, 160, 16],
        ] as [number, number, number][])),
  ];
  return {
    code,
    name,
    doc,
    ...(rest.vjp ? { vjp: rest.vjp } : {}),
    saves: rest.saves ?? "none",
    // A running sum goes from end to end.
    ...(code === Op.Cumsum && { units: (_, __, { outer, inner }) => outer * Math.ceil(inner / 4) }),
    infer: (_, { shape }) => [{ shape, dtype: rest.dtype ?? "float32" }],
    encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
      const { outer, n, inner, scale } = attributes;
      const stack = code === Op.Sum && inner > 1 ? Fold.stack : 0;
      const piece = pieceOf(code, attributes);
      const pieces = piece && Math.ceil(n / piece);
      const workspace = encoder.workspace(stack + 4 * outer * pieces * inner);
      const encode = (to: number, from: number, length: number, cut: number, factor: number): void => {
        encoder.begin(code, Reduce.words);
        encoder.set(Reduce.out, to);
        encoder.set(Reduce.x, from);
        encoder.set(Reduce.outer, outer);
        encoder.set(Reduce.n, length);
        encoder.set(Reduce.inner, inner);
        encoder.setFloat(Reduce.scale, factor);
        encoder.set(Reduce.reverse, attributes.reverse ? 1 : 0);
        encoder.set(Reduce.workspace, workspace);
        encoder.set(Reduce.piece, cut);
        encoder.end();
      };
      if (!piece) return encode(address(out!), address(x!), n, 0, scale);
      // What pieces give lies behind the stacks of all shares.
      const partial = workspace + stack * encoder.shares;
      encode(partial, address(x!), n, piece, 1);
      encodeAlone(encoder, () => encode(address(out!), partial, pieces, 0, scale));
    },
    reference: ([x], attributes) => [{ shape: attributes.shape, data: rest.reference(x!, attributes) }],
    samples: cases.map(([outer, n, inner]) => ({
      inputs: [{ shape: [outer, n, inner] }],
      attributes: {
        outer,
        n,
        inner,
        scale: code === Op.Sum ? 0.5 : 1,
        reverse: false,
        shape: code === Op.Cumsum ? [outer, n, inner] : [outer, 1, inner],
      },
    })),
  };
}

/** The gradient of a reduction, spread over what was reduced: dy (of the result's shape) with the middle repeated. */
function spread(dy: Value, { outer, n, inner }: Middle, shape: Shape): Value {
  return reshape(broadcastTo(reshape(dy, [outer, 1, inner]), [outer, n, inner]), shape);
}

export const sumDefinition = fold(Op.Sum, "sum", "Σ x, pairwise. The gradient is repeated.", {
  vjp: (dy, { inputs: [x], attributes }) => [
    spread(attributes.scale === 1 ? dy : mul(dy, attributes.scale), attributes, x!.shape),
  ],
  reference(x, attributes) {
    const out = new Float64Array(attributes.outer * attributes.inner);
    eachInMiddle(attributes, (from, to) => (out[to]! += x.data[from]! * attributes.scale));
    return out;
  },
});

/** Extremes share the gradient evenly among the places where they stand. */
function extreme(code: Op, name: string, pick: (a: number, b: number) => number): OpDefinition<FoldAttributes> {
  return fold(code, name, `The ${name} element, NaN if there is one. Ties share the gradient.`, {
    saves: "both",
    vjp(dy, { inputs: [x], outputs: [y], attributes }) {
      const { outer, n, inner } = attributes;
      const hits = cast(eq(reshape(x!, [outer, n, inner]), reshape(y!, [outer, 1, inner])), "float32");
      const share = div(reshape(dy, [outer, 1, inner]), sum(hits, 1, { keepdim: true }));
      return [reshape(mul(hits, share), x!.shape)];
    },
    reference(x, attributes) {
      const out = new Float64Array(attributes.outer * attributes.inner);
      eachInMiddle(attributes, (from, to, i) => (out[to] = i ? pick(out[to]!, x.data[from]!) : x.data[from]!));
      return out;
    },
  });
}
export const maxDefinition = extreme(Op.Max, "max", Math.max);
export const minDefinition = extreme(Op.Min, "min", Math.min);

function argExtreme(code: Op, name: string, better: (a: number, b: number) => boolean): OpDefinition<FoldAttributes> {
  return fold(
    code,
    name,
    `Where the first ${name.slice(3).toLowerCase()} element stands, as int32; NaN counts as extreme.`,
    {
      dtype: "int32",
      reference(x, attributes) {
        const out = new Float64Array(attributes.outer);
        const best = new Float64Array(attributes.outer);
        eachInMiddle(attributes, (from, to, i) => {
          if (i && !better(x.data[from]!, best[to]!)) return;
          best[to] = x.data[from]!;
          out[to] = i;
        });
        return out;
      },
    },
  );
}
export const argMaxDefinition = argExtreme(Op.ArgMax, "argMax", (a, b) => a > b);
export const argMinDefinition = argExtreme(Op.ArgMin, "argMin", (a, b) => a < b);

export const cumsumDefinition = fold(Op.Cumsum, "cumsum", "Running sums. The gradient runs the other way.", {
  vjp: (dy, { attributes }) => [
    apply(cumsumDefinition, [dy], {
      ...attributes,
      reverse: !attributes.reverse,
    }),
  ],
  reference(x, { outer, n, inner, reverse }) {
    const out = Float64Array.from(x.data);
    for (let o = 0; o < outer; o++)
      for (let i = 1; i < n; i++)
        for (let j = 0; j < inner; j++) {
          const at = (o * n + (reverse ? n - 1 - i : i)) * inner + j;
          out[at]! += out[at + (reverse ? inner : -inner)]!;
        }
    return out;
  },
});

/** x's shape without the reduced dimensions, or with them as 1. */
function reducedShape(x: Value, reduced: readonly number[], keepdim: boolean): number[] {
  return keepdim
    ? x.shape.map((n, i) => (reduced.includes(i) ? 1 : n))
    : x.shape.filter((_, i) => !reduced.includes(i));
}

/** Runs a fold over `dims`: as it lies if they are neighbours, else after moving them to the end. */
function reduce(
  definition: OpDefinition<FoldAttributes>,
  x: Value,
  dims: Dims | undefined,
  keepdim: boolean,
  scale = 1,
  innermost = false,
): Value {
  const { name } = definition;
  const reduced = normalizeDims(name, dims, x.shape.length);
  const shape = reducedShape(x, reduced, keepdim);
  const n = sizeOf(reduced.map((dim) => x.shape[dim]!));
  if (n === 0 && definition !== sumDefinition && sizeOf(shape) > 0) {
    throw new ShapeError(
      `${name}: ${show(x.shape)} has no elements along the reduced dims, so there is none to return.`,
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
      scale,
      reverse: false,
    });
  }
  const outer = sizeOf(x.shape.slice(0, first));
  return apply(definition, [x], {
    outer,
    n,
    inner,
    shape,
    scale,
    reverse: false,
  });
}

/** `sum(dim, { keepdim })` and `sum({ keepdim })` are both allowed. */
type Arguments = [dims?: Dims | ReduceOptions | undefined, options?: ReduceOptions | undefined];
function readArguments([dims, options]: Arguments): {
  dims: Dims | undefined;
  keepdim: boolean;
} {
  if (typeof dims === "object" && !Array.isArray(dims))
    return {
      dims: undefined,
      keepdim: (dims as ReduceOptions).keepdim ?? false,
    };
  return { dims: dims as Dims | undefined, keepdim: options?.keepdim ?? false };
}

/** How many elements go into each result. */
function counted(name: string, x: Value, dims: Dims | undefined): number {
  return sizeOf(normalizeDims(name, dims, x.shape.length).map((dim) => x.shape[dim]!));
}

/** Σ x over `dims` (all by default). */
export function sum(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  return reduce(sumDefinition, float(x), dims, keepdim);
}

/** The arithmetic mean over `dims` (all by default). */
export function mean(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  const v = float(x);
  return reduce(sumDefinition, v, dims, keepdim, 1 / counted("mean", v, dims));
}

/** The largest element over `dims` (all by default), NaN if there is one. */
export function max(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  return reduce(maxDefinition, float(x), dims, keepdim);
}

/** The smallest element over `dims` (all by default), NaN if there is one. */
export function min(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  return reduce(minDefinition, float(x), dims, keepdim);
}

/** Where the first largest element stands along `dim`, or in the flattened tensor; int32. */
export function argMax(x: Operand, dim?: number, options: ReduceOptions = {}): Value {
  return reduce(argMaxDefinition, float(x), dim, options.keepdim ?? false, 1, true);
}

/** Where the first smallest element stands along `dim`, or in the flattened tensor; int32. */
export function argMin(x: Operand, dim?: number, options: ReduceOptions = {}): Value {
  return reduce(argMinDefinition, float(x), dim, options.keepdim ?? false, 1, true);
}

/**
 * Π x over `dims` (all by default), by halves: pairs are multiplied until one is left, so that gradients of any order are
 * exact even where elements are 0.
 */
export function prod(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  const v = float(x);
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

/** Whether any element over `dims` is not 0, as bool. */
export function any(x: Operand, ...args: Arguments): Value {
  return ne(sum(cast(ne(x, 0), "float32"), ...args), 0);
}

/** Whether no element over `dims` is 0, as bool. */
export function all(x: Operand, ...args: Arguments): Value {
  return eq(sum(cast(eq(x, 0), "float32"), ...args), 0);
}

/** log Σ eˣ over `dims` (all by default), without overflow. */
export function logSumExp(x: Operand, ...args: Arguments): Value {
  const { dims, keepdim } = readArguments(args);
  const v = float(x);
  const top = max(v, dims, { keepdim: true });
  // ∞ − ∞ would be NaN: infinite maxima are not subtracted. The shift's own gradients cancel.
  const shift = where(ne(mul(top, 0), 0), 0, top);
  const total = add(log(sum(exp(sub(v, shift)), dims, { keepdim: true })), shift);
  return reshape(total, reducedShape(v, normalizeDims("logSumExp", dims, v.shape.length), keepdim));
}

export interface VarianceOptions extends ReduceOptions {
  /** What is taken off the count: 1 (Bessel's correction, the default) or 0 (the population's variance). */
  readonly correction?: number;
}

/** The variance over `dims` (all by default): Σ (x − mean)² / (n − correction), in two passes. */
export function variance(x: Operand, dims?: Dims | VarianceOptions, options?: VarianceOptions): Value {
  const { dims: over, keepdim } = readArguments([dims, options]);
  const correction =
    (typeof dims === "object" && !Array.isArray(dims) ? (dims as VarianceOptions) : options)?.correction ?? 1;
  const v = float(x);
  const centred = sub(v, mean(v, over, { keepdim: true }));
  return reduce(sumDefinition, square(centred), over, keepdim, 1 / Math.max(0, counted("var", v, over) - correction));
}

/** The standard deviation over `dims` (all by default): √variance. */
export function std(x: Operand, dims?: Dims | VarianceOptions, options?: VarianceOptions): Value {
  return sqrt(variance(x, dims, options));
}

/** The p-norm over `dims` (all by default): (Σ |x|ᵖ)^(1/p); p may be ∞ or −∞. Its gradient at 0 is 0 for p = 2. */
export function norm(x: Operand, p = 2, dims?: Dims, options: ReduceOptions = {}): Value {
  const v = float(x);
  if (p === 2) {
    const total = sum(square(v), dims, options);
    // √ has no derivative at 0; the norm's subgradient there is 0, as in PyTorch.
    const zero = eq(total, 0);
    return where(zero, 0, sqrt(where(zero, 1, total)));
  }
  if (p === 1) return sum(abs(v), dims, options);
  if (p === Infinity) return max(abs(v), dims, options);
  if (p === -Infinity) return min(abs(v), dims, options);
  if (p === 0) return sum(cast(ne(v, 0), "float32"), dims, options);
  // |x|ᵖ has no derivative at 0 for p < 1, nor has the root of a total of 0: elements that are 0 get none, as in PyTorch.
  const zero = eq(v, 0);
  const powers = p > 0 ? where(zero, 0, pow(abs(where(zero, 1, v)), p)) : pow(abs(v), p);
  return pow(sum(powers, dims, options), 1 / p);
}

/** Running sums along `dim`. */
export function cumsum(x: Operand, dim: number): Value {
  const v = float(x);
  const at = normalizeDim("cumsum", dim, v.shape.length);
  const outer = sizeOf(v.shape.slice(0, at));
  const inner = sizeOf(v.shape.slice(at + 1));
  return apply(cumsumDefinition, [v], {
    outer,
    n: v.shape[at]!,
    inner,
    shape: v.shape,
    scale: 1,
    reverse: false,
  });
}

/** x summed back to `shape`, from which it was broadcast. */
export function sumTo(x: Value, shape: Shape): Value {
  const offset = x.shape.length - shape.length;
  const dims = x.shape.map((_, i) => i).filter((i) => i < offset || (shape[i - offset] === 1 && x.shape[i] !== 1));
  return reshape(dims.length ? sum(x, dims) : x, shape);
}
