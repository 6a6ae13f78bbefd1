/**
 * Scaled dot-product attention and its gradient, each a single op. The heads dim may come before or after the steps
 * dim.
 */
import { Op } from "../../../assembly/opcodes.ts";
import { DTypeError, RangeError, ShapeError } from "../../runtime/errors.ts";
import { apply, applyAll, type OpDefinition } from "../definition/op.ts";
import { broadcastShapes, sameShape, show, sizeOf, type Value } from "../definition/value.ts";
import { matmulDefinition, PLAIN_PRODUCT } from "../matrix/matmul.ts";
import { add, mul } from "../pointwise/arithmetic.ts";
import { eq, where } from "../pointwise/comparison.ts";
import { float } from "../pointwise/pointwise.ts";
import { bernoulli } from "../random/random.ts";
import { max } from "../reduce/reduce.ts";
import { softmax, softmaxGrad } from "../reduce/rows.ts";
import { reshape } from "../shape/reshape.ts";
import { broadcastTo, full, permute, split } from "../shape/shape.ts";
import { causalMask } from "../shape/triangle.ts";
import { cachedAttentionDefinition } from "./cache.ts";
import {
  type AttentionAttributes,
  encodeDirection,
  infer,
  type Layout,
  pairs,
  partsOf,
  places,
  sizes,
} from "./heads.ts";

/**
 * The attention weights in terms of ops, for cases that the kernels do not cover: higher-order gradients, gradients of
 * masks, and dropout. q, k: [b, h, t, d].
 */
export function attentionWeights(
  q: Value,
  k: Value,
  mask: Value | undefined,
  { scale, causal }: Pick<AttentionAttributes, "scale" | "causal">,
): Value {
  const scores = apply(matmulDefinition, [q, k], { ...PLAIN_PRODUCT, transB: true, alpha: scale });
  const [queries, keys] = scores.shape.slice(-2) as [number, number];
  let masked = mask ? add(scores, mask) : scores;
  if (causal !== null) masked = add(masked, causalMask(queries, keys, causal));
  if (!mask && (causal === null || causal >= 0)) return softmax(masked);
  // A query whose keys are all masked gets weights of 0, instead of 0/0.
  const nothing = eq(max(masked, -1, { keepdim: true }), Number.NEGATIVE_INFINITY);
  return where(nothing, 0, softmax(where(nothing, 0, masked)));
}

type HeadOrder = Pick<AttentionAttributes, "layout" | "packed">;
const inverse = (order: readonly number[]): number[] => order.map((_, i) => order.indexOf(i));
const toHeads = (x: Value, layout: Layout): Value => permute(x, places(layout));
/** q, k and v as separate tensors. */
export const separate = (inputs: readonly Value[], { layout, packed }: HeadOrder): [Value, Value, Value] => {
  const [q, k, v] = packed
    ? split(inputs[0]!, inputs[0]!.shape[layout.indexOf("h")]! / 3, layout.indexOf("h"))
    : inputs;
  return [q!, k!, v!];
};
const fromHeads = (x: Value, layout: Layout): Value => permute(x, inverse(places(layout)));

function units(inputs: readonly Value[], attributes: AttentionAttributes): number {
  const [q, , v] = partsOf(inputs, attributes).parts;
  const { batch, heads } = sizes(q, v, attributes);
  return batch * heads;
}

/** The FLOPs of `ofKeys` products with the width of q and k, and of `ofValues` products with the width of v. */
function products(inputs: readonly Value[], attributes: AttentionAttributes, ofKeys: number, ofValues: number): number {
  const [q, , v] = partsOf(inputs, attributes).parts;
  const { width, valueWidth } = sizes(q, v, attributes);
  return 2 * pairs(q, v, attributes) * (ofKeys * width + ofValues * valueWidth);
}

/**
 * softmax(scale·Q·Kᵀ + mask)·V, computed in blocks of queries (Vaswani et al. 2017, eq. 1). dQ, dK, dV: attentionGrad;
 * dmask: P∘(dP − Σ dP∘P).
 */
export const attentionDefinition: OpDefinition<AttentionAttributes> = {
  code: Op.Attention,
  cost: 0.03,
  name: "attention",
  saves: "input",
  infer: (inputs, attributes) => [{ shape: infer("attention", inputs, attributes), dtype: "float32" }],
  units: (inputs, _, attributes) => units(inputs, attributes),
  products: (inputs, _, attributes) => products(inputs, attributes, 1, 1),
  encode: (encoder, { inputs, outputs: [out], attributes, address }) =>
    encodeDirection(encoder, Op.Attention, inputs, out!, [], attributes, address),
  vjp(dy, { inputs, attributes, needs }) {
    const count = attributes.packed ? 1 : 3;
    const gradients: (Value | null)[] = needs.slice(0, count).some((need) => need)
      ? applyAll(attentionGradDefinition, [dy, ...inputs], attributes)
      : new Array<null>(count).fill(null);
    if (needs[count]) {
      const [qh, kh, vh, dyh] = [...separate(inputs, attributes), dy].map((x) => toHeads(x, attributes.layout)) as [
        Value,
        Value,
        Value,
        Value,
      ];
      const p = attentionWeights(qh, kh, inputs[count], attributes);
      const dp = apply(matmulDefinition, [dyh, vh], { ...PLAIN_PRODUCT, transB: true });
      gradients.push(softmaxGrad(dp, p));
    } else if (attributes.masked) gradients.push(null);
    return gradients;
  },
  composed(inputs, attributes) {
    const { layout } = attributes;
    const [qh, kh, vh] = separate(inputs, attributes).map((x) => toHeads(x, layout)) as [Value, Value, Value];
    const p = attentionWeights(qh, kh, partsOf(inputs, attributes).rest[0], attributes);
    return [fromHeads(apply(matmulDefinition, [p, vh], PLAIN_PRODUCT), layout)];
  },
};

/** dV = Pᵀ·dy, dP = dy·Vᵀ, dS = scale·P∘(dP − Σ dP∘P), dQ = dS·K, dK = dSᵀ·Q. P is recomputed. */
const attentionGradDefinition: OpDefinition<AttentionAttributes> = {
  code: Op.AttentionGrad,
  cost: 0.03,
  name: "attentionGrad",
  infer: ([, ...inputs], attributes) => {
    infer("attentionGrad", inputs, attributes);
    return inputs.slice(0, attributes.packed ? 1 : 3).map(({ shape }) => ({ shape, dtype: "float32" }));
  },
  units: ([, ...inputs], _, attributes) => units(inputs, attributes),
  products: ([, ...inputs], _, attributes) => products(inputs, attributes, 3, 2),
  encode: (encoder, { inputs: [dy, ...inputs], outputs, attributes, address }) =>
    encodeDirection(encoder, Op.AttentionGrad, inputs, dy!, outputs, attributes, address),
};

export interface AttentionOptions {
  /**
   * A bool mask that is true where a query may attend to a key, or a float32 tensor to add to the scores. Broadcasts to
   * [..., queries, keys].
   */
  readonly mask?: Value;
  /** Let each query attend only to keys up to its own position. Default false. */
  readonly isCausal?: boolean;
  /** The probability of dropping each weight; the remaining weights are scaled up. Default 0. */
  readonly dropout?: number;
  /** The factor that scales the scores. Default 1/√width. */
  readonly scale?: number;
}

/** Converts a bool mask to numbers to add to the scores: 0 where the mask is true, −∞ elsewhere. */
export function additiveMask(mask: Value): Value {
  if (mask.dtype === "bool") return where(mask, full([], 0), Number.NEGATIVE_INFINITY);
  if (mask.dtype === "float32") return mask;
  throw new DTypeError(`attention: the mask must be bool or float32, got ${mask.dtype}. Convert it with .to("bool").`);
}

/**
 * Attention of heads in the given layout. Runs the op or, if there is dropout, the ops that it is composed of.
 * @param heads q, k and v or, if they are packed, the tensor that holds them
 */
export function attend(
  heads: readonly Value[],
  mask: Value | undefined,
  attributes: Omit<AttentionAttributes, "masked">,
  dropout = 0,
): Value {
  const { layout } = attributes;
  if (!dropout) {
    const inputs = mask ? [...heads, mask] : heads;
    return apply(attentionDefinition, inputs, { ...attributes, masked: mask !== undefined });
  }
  const [qh, kh, vh] = separate(heads, attributes).map((x) => toHeads(x, layout)) as [Value, Value, Value];
  const p = attentionWeights(qh, kh, mask, attributes);
  const kept = mul(p, bernoulli(p.shape, 1 - dropout, dropout === 1 ? 0 : 1 / (1 - dropout)));
  return fromHeads(apply(matmulDefinition, [kept, vh], PLAIN_PRODUCT), layout);
}

/**
 * Attention: softmax(scale·q·kᵀ + mask)·v (Vaswani et al. 2017, eq. 1). The op computes the weights of one block of
 * queries at a time and never stores all weights. A query whose keys are all masked gets 0.
 *
 * q: [..., queries, width], k: [..., keys, width], v: [..., keys, valueWidth] → [..., queries, valueWidth], float32.
 *
 * @param q The queries.
 * @param k The keys.
 * @param v The values.
 * @throws ShapeError if the sizes do not match
 * @throws DTypeError if the mask is neither bool nor float32
 * @throws RangeError if dropout is not between 0 and 1
 * @example
 * ```ts
 * const x = tensor([[1, 0], [0, 1]]);
 * scaledDotProductAttention(x, x, x).toArray(); // [[0.6698, 0.3302], [0.3302, 0.6698]]
 * ```
 * @op function
 */
export function scaledDotProductAttention(
  q: Value,
  k: Value,
  v: Value,
  { mask, isCausal = false, dropout = 0, scale }: AttentionOptions = {},
): Value {
  const name = "scaledDotProductAttention";
  const rank = q.shape.length;
  if (rank < 2 || k.shape.length !== rank || v.shape.length !== rank)
    throw new ShapeError(
      `${name}: query ${show(q.shape)}, key ${show(k.shape)} and value ${show(v.shape)} must have the same number of dimensions, two or more.`,
    );
  if (!(dropout >= 0 && dropout <= 1)) throw new RangeError(`${name}: dropout must be in 0 … 1, got ${dropout}.`);
  // Merge the leading dims into one batch dim and one heads dim.
  const heads = rank > 2 ? q.shape[rank - 3]! : 1;
  const batch = sizeOf(q.shape.slice(0, Math.max(0, rank - 3)));
  const inner = (x: Value): Value => reshape(x, [batch, heads, ...x.shape.slice(-2)]);
  for (const x of [k, v])
    if (!sameShape(x.shape.slice(0, -2), q.shape.slice(0, -2)))
      throw new ShapeError(
        `${name}: query ${show(q.shape)}, key ${show(k.shape)} and value ${show(v.shape)} must agree in all but the last two dimensions.`,
      );
  let added: Value | undefined;
  if (mask) {
    const scores = [...q.shape.slice(0, -1), k.shape.at(-2)!];
    if (!sameShape(broadcastShapes(name, mask.shape, scores), scores))
      throw new ShapeError(`${name}: the mask is ${show(mask.shape)}, which does not broadcast to ${show(scores)}.`);
    const additive = additiveMask(mask);
    const ones = Array<number>(rank).fill(1);
    const shape = [...ones.slice(mask.shape.length), ...mask.shape];
    // The dims that are merged into the batch dim must either all have their full size or all be 1.
    const whole = shape.slice(0, Math.max(0, rank - 3)).every((n) => n === 1)
      ? shape
      : scores.slice(0, -3).concat(shape.slice(-3));
    const last = whole.map((n, i) => (i === rank - 1 ? scores[i]! : n));
    const full4 = broadcastTo(reshape(additive, shape), last);
    added = reshape(full4, [
      sizeOf(last.slice(0, Math.max(0, rank - 3))),
      rank > 2 ? last[rank - 3]! : 1,
      ...last.slice(-2),
    ]);
  }
  const attributes = {
    layout: "bhtd" as const,
    scale: scale ?? 1 / Math.sqrt(q.shape[rank - 1]!),
    causal: isCausal ? 0 : null,
  };
  const heads3 = [q, k, v].map((x) => inner(float(x, name)));
  const y = attend(heads3, added, attributes, dropout);
  return reshape(y, [...q.shape.slice(0, -1), v.shape.at(-1)!]);
}

export const attentionDefinitions = {
  attention: attentionDefinition,
  attentionGrad: attentionGradDefinition,
  cachedAttention: cachedAttentionDefinition,
};
