/** The memory layout of attention heads: sizes, shapes and strides, and the instruction that contains them. */
import type { Encoder } from "../../runtime/encoder.ts";
import { kernels } from "../../runtime/engine.ts";
import { DTypeError, ShapeError } from "../../runtime/errors.ts";
import { type AttentionCode, encodeAttention } from "../../runtime/instructions.ts";
import { contiguousStrides, type Shape, sameShape, show, type Value } from "../definition/value.ts";

/**
 * The order of dims in q, k, v and the result: b stands for the batch, h for the heads, t for the steps, and d for the
 * width of a head.
 */
export type Layout = "bhtd" | "bthd" | "tbhd";

export interface AttentionAttributes {
  readonly layout: Layout;
  readonly scale: number;
  /** Query i attends to keys 0 to i + `causal`, or to all keys if `causal` is null. */
  readonly causal: number | null;
  /** Whether there is a mask to add, [batch or 1, heads or 1, queries or 1, keys]. */
  readonly masked: boolean;
  /** Whether one tensor holds q, k and v, in that order along the heads dim. Default false. */
  readonly packed?: boolean;
}

export const places = (layout: Layout): number[] => [..."bhtd"].map((dim) => layout.indexOf(dim));

/** A range of the heads of x, which begins with head `first`. `shape` is the shape of this part. */
export interface Part {
  readonly x: Value;
  readonly shape: Shape;
  readonly first: number;
}

/** q, k and v, and the inputs after them, such as a mask. */
export function partsOf(
  inputs: readonly Value[],
  { layout, packed }: Pick<AttentionAttributes, "layout" | "packed">,
): { parts: [q: Part, k: Part, v: Part]; rest: readonly Value[] } {
  const part = (x: Value, shape: Shape, first: number): Part => ({ x, shape, first });
  if (!packed) {
    const [q, k, v, ...rest] = inputs;
    return { parts: [part(q!, q!.shape, 0), part(k!, k!.shape, 0), part(v!, v!.shape, 0)], rest };
  }
  const [x, ...rest] = inputs;
  const dim = layout.indexOf("h");
  const heads = x!.shape[dim]! / 3;
  const shape = x!.shape.map((n, i) => (i === dim ? heads : n));
  return { parts: [part(x!, shape, 0), part(x!, shape, heads), part(x!, shape, 2 * heads)], rest };
}

/** Reads the sizes of the dims from the shapes of q and v. */
export function sizes(q: { shape: Shape }, v: { shape: Shape }, { layout }: AttentionAttributes) {
  const [b, h, t, d] = places(layout) as [number, number, number, number];
  const size = (x: { shape: Shape }, i: number): number => x.shape[i]!;
  return {
    batch: size(q, b),
    heads: size(q, h),
    queries: size(q, t),
    keys: size(v, t),
    width: size(q, d),
    valueWidth: size(v, d),
  };
}

/** The number of pairs of a query and a key to which the query attends, in all heads, if nothing is masked. */
export function pairs(q: { shape: Shape }, v: { shape: Shape }, attributes: AttentionAttributes): number {
  const { batch, heads, queries, keys } = sizes(q, v, attributes);
  const { causal } = attributes;
  if (causal === null) return batch * heads * queries * keys;
  let total = 0;
  for (let i = 0; i < queries; i++) total += Math.min(keys, Math.max(0, i + 1 + causal));
  return batch * heads * total;
}

/** The shape, in the given layout, of a tensor with t rows of d numbers for each batch entry and head. */
export function shaped(
  { batch, heads }: { batch: number; heads: number },
  layout: Layout,
  t: number,
  d: number,
): number[] {
  const by = { b: batch, h: heads, t, d };
  return [...layout].map((dim) => by[dim as keyof typeof by]);
}

/** The shape of the result. @throws ShapeError, DTypeError if the operands do not match */
export function infer(name: string, inputs: readonly Value[], attributes: AttentionAttributes): Shape {
  const {
    parts: [q, k, v],
    rest: [mask],
  } = partsOf(inputs, attributes);
  const all = sizes(q, v, attributes);
  const { batch, heads, queries, keys, width, valueWidth } = all;
  const lie = (t: number, d: number): number[] => shaped(all, attributes.layout, t, d);
  if (!width || !valueWidth)
    throw new ShapeError(`${name}: query ${show(q.shape)} and value ${show(v.shape)} need a width above 0.`);
  for (const [what, x, shape] of [
    ["query", q, lie(queries, width)],
    ["key", k, lie(keys, width)],
    ["value", v, lie(keys, valueWidth)],
  ] as const) {
    if (x.x.dtype !== "float32") throw new DTypeError(`${name}: the ${what} must be float32, got ${x.x.dtype}.`);
    if (!sameShape(x.shape, shape))
      throw new ShapeError(
        `${name}: query ${show(q.shape)}, key ${show(k.shape)} and value ${show(v.shape)} do not fit: the ${what} must be ${show(shape)}.`,
      );
  }
  const scores = [batch, heads, queries, keys];
  if (mask && (mask.shape.length !== 4 || mask.shape.some((n, i) => n !== scores[i] && (n !== 1 || i === 3))))
    throw new ShapeError(`${name}: the mask is ${show(mask.shape)}, which does not broadcast to ${show(scores)}.`);
  return lie(queries, valueWidth);
}

/** The strides, in elements, between batch entries, heads and rows. */
function strides({ shape }: { shape: Shape }, layout: Layout): [number, number, number] {
  const own = contiguousStrides(shape);
  const [b, h, t] = places(layout) as [number, number, number];
  return [own[b]!, own[h]!, own[t]!];
}

/** Writes the instruction for attention or its gradient. `out` is the result of attention, or dy for the gradient. */
export function encodeDirection(
  encoder: Encoder,
  code: AttentionCode,
  inputs: readonly Value[],
  out: Value,
  gradients: readonly Value[],
  attributes: AttentionAttributes,
  address: (value: Value) => number,
  cache?: Cache,
): void {
  const { layout, scale, causal, packed } = attributes;
  const {
    parts: [q, k, v],
    rest: [mask],
  } = partsOf(inputs, attributes);
  const { batch, heads, queries, keys, width, valueWidth } = sizes(q, v, attributes);
  const { attentionWorkspace, cacheWorkspace } = kernels();
  const workspace = encoder.workspace(
    cache ? cacheWorkspace!(cache.capacity) : attentionWorkspace!(keys, width, valueWidth),
  );
  const [outBatch, outHead, outRow] = strides(out, layout);
  const [qBatch, qHead, qRow] = strides(q.x, layout);
  const [kBatch, kHead, kRow] = strides(k.x, layout);
  const [vBatch, vHead, vRow] = strides(v.x, layout);
  /** The address of a part of q, k or v, or of the corresponding part of their gradients. */
  const at = (x: Value, { first }: Part, head: number): number => address(x) + 4 * first * head;
  const [dq = 0, dk = 0, dv = 0] = cache
    ? [0, address(cache.keys), address(cache.values)]
    : gradients.length
      ? [q, k, v].map((part, i) => at(gradients[packed ? 0 : i]!, part, qHead))
      : [];
  const [maskBatch = 0, maskHead = 0, maskRow = 0] = mask
    ? contiguousStrides(mask.shape).map((s, i) => (mask.shape[i] === 1 ? 0 : s))
    : [];
  encodeAttention(encoder, code, {
    out: address(out),
    q: at(q.x, q, qHead),
    k: at(k.x, k, kHead),
    v: at(v.x, v, vHead),
    dq,
    dk,
    dv,
    mask: mask ? address(mask) : 0,
    length: cache ? address(cache.length) : 0,
    batch,
    heads,
    queries,
    keys: cache?.capacity ?? keys,
    width,
    valueWidth,
    scale,
    causal: Number(causal !== null),
    offset: causal ?? 0,
    outBatch,
    outHead,
    outRow,
    qBatch,
    qHead,
    qRow,
    kBatch,
    kHead,
    kRow,
    vBatch,
    vHead,
    vRow,
    maskBatch,
    maskHead,
    maskRow,
    workspace,
  });
}

/** Keys and values [batch, heads, capacity, width], of which the first `length` rows of each head are filled: int32 []. */
export interface Cache {
  readonly keys: Value;
  readonly values: Value;
  readonly length: Value;
  readonly capacity: number;
}
