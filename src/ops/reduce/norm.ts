/** Normalization: the op behind layer, RMS, batch, instance and group norm, and its gradient. */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { encodeNormalize, encodeNormalizeGrad } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition, type Operand } from "../definition/op.ts";
import { requireType, type Shape, sameShape, show, sizeOf, type Value } from "../definition/value.ts";
import { add, div, mul, neg, reciprocal, sub } from "../pointwise/arithmetic.ts";
import { rsqrt } from "../pointwise/exponential.ts";
import { float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";
import { pad, permute } from "../shape/shape.ts";
import { normDefinition } from "./euclid.ts";
import { mean, sum } from "./reduce.ts";
import { standardizeDefinition } from "./standardize.ts";
import { centre } from "./statistics.ts";

/**
 * x is viewed as [outer, n, inner] and normalized along n. `center` says whether to subtract the mean; only RMS
 * normalization does not.
 */
export interface NormAttributes {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  readonly eps: number;
  readonly center: boolean;
}

/** The means along n, where x is [outer, n, inner]. */
const groupMean = (x: Value): Value => mean(x, 1, { keepdim: true });

/**
 * x̂ and r in terms of ops, for higher-order gradients. To compute 1/r = √(σ² + ε), appends an element √(nε) to x − μ
 * and divides the norm of the result by √n: then no square overflows or underflows, and gradients of any order exist
 * where σ = 0.
 */
function parts(x: Value, { outer, n, inner, eps, center }: NormAttributes): { hat: Value; rate: Value } {
  const centred = center ? centre(x, 1) : x;
  const attributes = { outer, n: n + 1, inner, divisor: n, shape: [outer, 1, inner] };
  const root = apply(normDefinition, [pad(centred, [0, 0, 0, 1], Math.sqrt(n * eps))], attributes);
  return { hat: div(centred, root), rate: reciprocal(root) };
}

/**
 * x̂·w + b with x̂ = (x − μ)/√(σ² + ε) along n of [outer, n, inner] (RMS: μ = 0); also returns μ and σ². dx:
 * normalizeGrad(dy·w), dw: Σ dy·x̂, db: Σ dy.
 */
export const normalizeDefinition: OpDefinition<NormAttributes> = {
  code: Op.Normalize,
  name: "normalize",
  saves: [0, 1],
  infer([x, ...affine], { outer, inner }) {
    for (const v of [x!, ...affine]) requireType("normalize", v, "float32");
    return [
      { shape: x!.shape, dtype: "float32" },
      { shape: [outer, 2, inner], dtype: "float32" },
    ];
  },
  cost: 0.1,
  flops: ([x]) => 8 * x!.size,
  encode(encoder, { inputs: [x, weight, bias], outputs: [y, stats], attributes, address }) {
    const { outer, n, inner, eps, center } = attributes;
    encodeNormalize(encoder, {
      out: address(y!),
      stats: address(stats!),
      x: address(x!),
      weight: weight ? address(weight) : 0,
      bias: bias ? address(bias) : 0,
      outer,
      n,
      inner,
      center: Number(center),
      eps,
    });
  },
  vjp(dy, { inputs: [x, weight, bias], attributes, needs }) {
    const { outer, n, inner } = attributes;
    const seen = (v: Value): Value => reshape(v, [outer, n, inner]);
    // The weight broadcasts as [n, 1] if rows are normalized, and as [inner] if columns are.
    const affine = (v: Value): Value => (inner === 1 ? reshape(v, [n, 1]) : v);
    const rowwise = (v: Value): Value => (inner === 1 ? reshape(sum(v, 0), [n]) : sum(v, [0, 1]));
    const d = seen(dy);
    const hat = (): Value => seen(applyAll(normalizeDefinition, [x!], attributes)[0]!);
    return [
      needs[0]
        ? reshape(apply(normalizeGradDefinition, [weight ? mul(d, affine(weight)) : d, seen(x!)], attributes), x!.shape)
        : null,
      ...(weight ? [needs[1] ? rowwise(mul(d, hat())) : null] : []),
      ...(bias ? [needs[2] ? rowwise(d) : null] : []),
    ];
  },
};

/** r·(dy − mean(dy) − x̂·mean(dy·x̂)), where r = 1/√(σ² + ε) (RMS: without mean(dy)). */
export const normalizeGradDefinition: OpDefinition<NormAttributes> = {
  code: Op.NormalizeGrad,
  name: "normalizeGrad",
  saves: "input",
  infer: ([dy]) => [{ shape: dy!.shape, dtype: "float32" }],
  cost: 0.1,
  flops: ([x]) => 12 * x!.size,
  encode(encoder, { inputs: [dy, x], outputs: [out], attributes, address }) {
    const { outer, n, inner, eps, center } = attributes;
    encodeNormalizeGrad(encoder, {
      out: address(out!),
      dy: address(dy!),
      x: address(x!),
      outer,
      n,
      inner,
      center: Number(center),
      eps,
    });
  },
  // The op is linear in dy and self-adjoint. For the gradient with respect to x, let a = mean(dy·x̂), b = mean(g·x̂)
  // and s = mean(g·dy) − mean(g)·mean(dy) − a·b. x̂ contributes the same op applied to −r·(g·a + dy·b), and r
  // contributes −s·r²·x̂.
  vjp(g, { inputs: [dy, x], attributes, needs }) {
    const byX = (): Value => {
      const { hat, rate } = parts(x!, attributes);
      const [a, b] = [groupMean(mul(dy!, hat)), groupMean(mul(g, hat))];
      const product = groupMean(mul(g, dy!));
      const moved = attributes.center ? sub(product, mul(groupMean(g), groupMean(dy!))) : product;
      const s = sub(moved, mul(a, b));
      const byHat = neg(mul(rate, add(mul(g, a), mul(dy!, b))));
      return sub(apply(normalizeGradDefinition, [byHat, x!], attributes), mul(mul(hat, rate), mul(s, rate)));
    };
    return [needs[0] ? apply(normalizeGradDefinition, [g, x!], attributes) : null, needs[1] ? byX() : null];
  },
};

/** @throws ShapeError unless each of `affine` has this shape or is missing */
function requireAffine(name: string, shape: Shape, ...affine: (Value | null | undefined)[]): void {
  for (const v of affine)
    if (v && !sameShape(v.shape, shape))
      throw new ShapeError(`${name}: weight and bias must be ${show(shape)}, but one is ${show(v.shape)}.`);
}

/** Runs the op on x, with weight and bias if they are given. A bias without a weight is added afterwards. */
function normalized(
  x: Value,
  weight: Value | null | undefined,
  bias: Value | null | undefined,
  attributes: NormAttributes,
): Value[] {
  if (weight || !bias) {
    const inputs = weight ? (bias ? [x, weight, bias] : [x, weight]) : [x];
    return applyAll(normalizeDefinition, inputs, attributes);
  }
  const [y, stats] = applyAll(normalizeDefinition, [x], attributes);
  return [add(y!, bias), stats!];
}

export interface NormOptions {
  /** ε, added to the variance before the square root. Default 1e-5. */
  readonly eps?: number;
}
export interface RmsNormOptions {
  /** ε, added to the mean square before the square root. Default 2 ** -23, the machine epsilon of float32. */
  readonly eps?: number;
}

/** @throws RangeError */
function requireEps(name: string, eps: number): void {
  if (!(eps >= 0 && Number.isFinite(eps))) throw new RangeError(`${name}: eps must be finite and ≥ 0, got ${eps}.`);
}

function lastDims(name: string, x: Value, shape: number | Shape, eps: number, center: boolean): NormAttributes {
  requireEps(name, eps);
  const own = typeof shape === "number" ? [shape] : shape;
  const n = sizeOf(own);
  if (!own.length || !sameShape(x.shape.slice(-own.length), own))
    throw new ShapeError(`${name}: ${show(x.shape)} does not end with the normalized shape ${show(own)}.`);
  return { outer: n ? x.size / n : 0, n, inner: 1, eps, center };
}
const flat = (v: Value | null | undefined): Value | undefined => (v ? reshape(v, [v.size]) : undefined);

/**
 * Layer normalization along the last dims: (x − μ)/√(σ² + ε)·weight + bias (Ba et al. 2016).
 *
 * x: [..., ...normalizedShape]; weight, bias: normalizedShape → x's shape, float32.
 *
 * @param normalizedShape The sizes of the last dims, which are normalized together.
 * @param weight The scale to apply after normalizing. Omit it or pass null for no scaling.
 * @param bias The shift to add after scaling. Omit it or pass null for no shift.
 * @throws ShapeError if the sizes do not match
 * @throws RangeError if eps is negative
 * @example
 * ```ts
 * const x = tensor([[1, 2, 3]]);
 * layerNorm(x, 3).toArray(); // [[-1.2247, 0, 1.2247]]
 * ```
 * @op function
 */
export function layerNorm(
  x: Operand,
  normalizedShape: number | Shape,
  weight?: Value | null,
  bias?: Value | null,
  { eps = 1e-5 }: NormOptions = {},
): Value {
  const v = float(x, "layerNorm");
  const attributes = lastDims("layerNorm", v, normalizedShape, eps, true);
  requireAffine("layerNorm", v.shape.slice(v.shape.length - [normalizedShape].flat().length), weight, bias);
  if (weight || !bias) return normalized(v, flat(weight), flat(bias), attributes)[0]!;
  return add(normalized(v, null, null, attributes)[0]!, bias);
}

/**
 * Root mean square normalization along the last dims: x/√(mean(x²) + ε)·weight (Zhang and Sennrich 2019).
 *
 * x: [..., ...normalizedShape]; weight: normalizedShape → x's shape, float32.
 *
 * @param normalizedShape The sizes of the last dims, which are normalized together.
 * @param weight The scale to apply after normalizing. Omit it or pass null for no scaling.
 * @throws ShapeError if the sizes do not match
 * @throws RangeError if eps is negative
 * @example
 * ```ts
 * const x = tensor([[3, 4]]);
 * rmsNorm(x, 2).toArray(); // [[0.8485, 1.1314]]
 * ```
 * @op function
 */
export function rmsNorm(
  x: Operand,
  normalizedShape: number | Shape,
  weight?: Value | null,
  { eps = 2 ** -23 }: RmsNormOptions = {},
): Value {
  const v = float(x, "rmsNorm");
  const attributes = lastDims("rmsNorm", v, normalizedShape, eps, false);
  requireAffine("rmsNorm", v.shape.slice(v.shape.length - [normalizedShape].flat().length), weight);
  return normalized(v, flat(weight), undefined, attributes)[0]!;
}

/** The number of channels, which is the size of the last dim, and the number of pixels in each channel. */
function channelDims(name: string, x: Value, least: number): { channels: number; pixels: number } {
  if (x.shape.length < least)
    throw new ShapeError(`${name}: ${show(x.shape)} must have at least ${least} dimensions, with channels last.`);
  const channels = x.shape.at(-1)!;
  return { channels, pixels: channels ? x.size / channels : 0 };
}

/**
 * Batch normalization with the batch's own statistics, as in training: (x − μ)/√(σ² + ε)·weight + bias (Ioffe and
 * Szegedy 2015).
 *
 * x: [batch, ..., channels]; weight, bias: [channels] → [y, statistics]: y has x's shape; statistics, [2, channels],
 * holds μ and the biased σ², and passes no gradient. Both are float32.
 *
 * @param weight The scale to apply after normalizing. Omit it or pass null for no scaling.
 * @param bias The shift to add after scaling. Omit it or pass null for no shift.
 * @throws ShapeError if the sizes do not match
 * @throws RangeError if eps is negative
 * @example
 * ```ts
 * const x = tensor([[1, 10], [3, 30]]);
 * batchNormTrain(x)[0].toArray(); // [[-1, -1], [1, 1]]
 * batchNormTrain(x)[1].toArray(); // [[2, 20], [1, 100]]
 * ```
 * @op function
 */
export function batchNormTrain(
  x: Operand,
  weight?: Value | null,
  bias?: Value | null,
  { eps = 1e-5 }: NormOptions = {},
): [y: Value, stats: Value] {
  const v = float(x, "batchNorm");
  requireEps("batchNorm", eps);
  const { channels, pixels } = channelDims("batchNorm", v, 2);
  requireAffine("batchNorm", [channels], weight, bias);
  // A single channel is normalized as one row, for which the op would expect a weight per pixel, so apply the weight
  // separately.
  const attributes = { outer: 1, n: pixels, inner: channels, eps, center: true };
  if (channels !== 1) {
    const [y, stats] = normalized(v, weight, bias, attributes);
    return [y!, reshape(stats!, [2, channels])];
  }
  const [y, stats] = normalized(v, null, null, attributes);
  const scaled = weight ? mul(y!, weight) : y!;
  return [bias ? add(scaled, bias) : scaled, reshape(stats!, [2, channels])];
}

/**
 * Batch normalization with precomputed statistics, as in evaluation: (x − average)/√(variance + ε)·weight + bias (Ioffe
 * and Szegedy 2015).
 *
 * x: [batch, ..., channels]; average, variance, weight, bias: [channels] → x's shape, float32.
 *
 * @param average The mean of each channel.
 * @param variance The variance of each channel.
 * @param weight The scale to apply after normalizing. Omit it or pass null for no scaling.
 * @param bias The shift to add after scaling. Omit it or pass null for no shift.
 * @throws ShapeError if the sizes do not match
 * @throws RangeError if eps is negative
 * @example
 * ```ts
 * const x = tensor([[1, 10], [3, 30]]);
 * batchNorm(x, tensor([2, 20]), tensor([1, 100])).toArray(); // [[-1, -1], [1, 1]]
 * ```
 * @op function
 */
export function batchNorm(
  x: Operand,
  average: Value,
  variance: Value,
  weight?: Value | null,
  bias?: Value | null,
  { eps = 1e-5 }: NormOptions = {},
): Value {
  const v = float(x, "batchNorm");
  requireEps("batchNorm", eps);
  const { channels } = channelDims("batchNorm", v, 2);
  requireAffine("batchNorm", [channels], average, variance, weight, bias);
  const rate = rsqrt(add(variance, eps));
  // Computing x·scale + shift would lose digits in channels whose mean is far from 0.
  const inputs = [v, float(average, "batchNorm"), weight ? mul(rate, weight) : rate];
  if (bias) inputs.push(float(bias, "batchNorm"));
  return apply(standardizeDefinition, inputs, { activation: Activation.None });
}

/**
 * Group normalization: in each image, normalizes the channels of a group together, over all pixels (Wu and He 2018).
 * With as many groups as channels, group normalization is instance normalization.
 *
 * x: [batch, ..., channels]; weight, bias: [channels] → x's shape, float32.
 *
 * @param groups The number of groups, a divisor of the number of channels.
 * @param weight The scale to apply after normalizing. Omit it or pass null for no scaling.
 * @param bias The shift to add after scaling. Omit it or pass null for no shift.
 * @throws ShapeError if the sizes do not match
 * @throws RangeError if groups does not divide the number of channels or eps is negative
 * @example
 * ```ts
 * const x = tensor([[1, 3, 10, 30]]);
 * groupNorm(x, 2).toArray(); // [[-1, 1, -1, 1]]
 * ```
 * @op function
 */
export function groupNorm(
  x: Operand,
  groups: number,
  weight?: Value | null,
  bias?: Value | null,
  { eps = 1e-5 }: NormOptions = {},
): Value {
  const v = float(x, "groupNorm");
  requireEps("groupNorm", eps);
  const { channels } = channelDims("groupNorm", v, 2);
  if (!Number.isInteger(groups) || groups < 1 || channels % groups)
    throw new RangeError(`groupNorm: groups must divide the number of channels (${channels}), got ${groups}.`);
  requireAffine("groupNorm", [channels], weight, bias);
  const batch = v.shape[0]!;
  const pixels = sizeOf(v.shape.slice(1, -1));
  const own = channels / groups;
  const affine = (y: Value): Value => {
    const scaled = weight ? mul(y, weight) : y;
    return bias ? add(scaled, bias) : scaled;
  };
  if (own === 1 && channels > 1) {
    return normalized(v, weight, bias, { outer: batch, n: pixels, inner: channels, eps, center: true })[0]!;
  }
  // A group's channels are adjacent in memory, but its pixels are not. Permute the groups into contiguous rows,
  // normalize the rows, and permute back.
  const together = permute(reshape(v, [batch, pixels, groups, own]), [0, 2, 1, 3]);
  const attributes = { outer: batch * groups, n: pixels * own, inner: 1, eps, center: true };
  const [y] = applyAll(normalizeDefinition, [reshape(together, [batch * groups, pixels * own])], attributes);
  const back = permute(reshape(y!, [batch, groups, pixels, own]), [0, 2, 1, 3]);
  return affine(reshape(back, v.shape));
}
