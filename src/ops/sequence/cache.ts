/** Attention with a cache of keys and values, for generating a sequence step by step. */
import { Op } from "../../../assembly/opcodes.ts";
import { Error, RangeError, ShapeError } from "../../runtime/errors.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { sameShape, show, type Value } from "../definition/value.ts";
import { type AttentionAttributes, type Cache, encodeDirection, infer, partsOf, sizes } from "./heads.ts";

/** Names the inputs that make up the cache. The op's inputs are qkv, keys, values, length and, if there is one, the mask. */
const cacheOf = ([, keys, values, length]: readonly Value[]): Cache => ({
  keys: keys!,
  values: values!,
  length: length!,
  capacity: keys!.shape[2]!,
});

const sizesOf = ([qkv]: readonly Value[], attributes: AttentionAttributes) => {
  const [q, , v] = partsOf([qkv!], attributes).parts;
  return sizes(q, v, attributes);
};

/**
 * Writes the keys and values of qkv to the cache, after the first `length` rows, then computes the attention of the
 * queries to all filled rows. The op has no gradient.
 *
 * qkv: packed, keys and values: [batch, heads, capacity, width], length: int32 [], mask: [batch or 1, heads or 1, queries or 1, capacity].
 */
export const cachedAttentionDefinition: OpDefinition<AttentionAttributes> = {
  code: Op.CachedAttention,
  cost: 0.03,
  name: "cachedAttention",
  mutates: () => [1, 2],
  infer(inputs, attributes) {
    const { capacity, keys, values } = cacheOf(inputs);
    const { batch, heads, queries, width } = sizesOf(inputs, attributes);
    const rows = [batch, heads, capacity, width];
    for (const x of [keys, values])
      if (!sameShape(x.shape, rows))
        throw new ShapeError(`attention: the cache is ${show(x.shape)}, but the queries need ${show(rows)}.`);
    const mask = inputs[4];
    const scores = [batch, heads, queries, capacity];
    if (mask && (mask.shape.length !== 4 || mask.shape.some((n, i) => n !== scores[i] && (n !== 1 || i === 3))))
      throw new ShapeError(`attention: the mask is ${show(mask.shape)}, which does not broadcast to ${show(scores)}.`);
    return [{ shape: infer("attention", inputs.slice(0, 1), attributes), dtype: "float32" }];
  },
  checks(inputs, attributes) {
    const { capacity } = cacheOf(inputs);
    const { queries } = sizesOf(inputs, attributes);
    const error = (length: number) =>
      new RangeError(
        `KeyValueCache: ${length} of ${capacity} steps are filled, so ${queries} more do not fit. Call reset() or truncate(…), or make a cache with a larger capacity.`,
      );
    return [{ input: 3, low: 0, high: capacity - queries, error }];
  },
  units(inputs, _, attributes) {
    const { batch, heads } = sizesOf(inputs, attributes);
    return batch * heads;
  },
  /** The FLOPs with a full cache. */
  products(inputs, _, attributes) {
    const { batch, heads, queries, width } = sizesOf(inputs, attributes);
    return 4 * batch * heads * queries * cacheOf(inputs).capacity * width;
  },
  encode: (encoder, { inputs, outputs: [out], attributes, address }) =>
    encodeDirection(
      encoder,
      Op.CachedAttention,
      [inputs[0]!, ...inputs.slice(4)],
      out!,
      [],
      attributes,
      address,
      cacheOf(inputs),
    ),
  vjp() {
    throw new Error(
      "attention: no gradient flows through a KeyValueCache. Train without a cache, and generate in noGrad(() => …).",
    );
  },
};

/** Adds the keys and values in qkv (packed heads) to the cache, and computes the queries' attention to all steps in the cache. */
export const attendCached = (
  qkv: Value,
  { keys, values, length }: Omit<Cache, "capacity">,
  mask: Value | undefined,
  attributes: Omit<AttentionAttributes, "masked" | "packed">,
): Value =>
  apply(cachedAttentionDefinition, [qkv, keys, values, length, ...(mask ? [mask] : [])], {
    ...attributes,
    masked: mask !== undefined,
    packed: true,
  });
