/** Oracles for src/ops/sequence/attention.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import { contiguousStrides, type Shape, sizeOf } from "../../../src/ops/definition/value.ts";
import { type AttentionAttributes, places, shaped, sizes } from "../../../src/ops/sequence/heads.ts";
import type { Oracle, Reference, Sample } from "./oracle.ts";

/** The inputs with q, k and v as separate arrays. */
function unpacked([x, ...rest]: readonly Reference[], { layout, packed }: AttentionAttributes): readonly Reference[] {
  if (!packed) return [x!, ...rest];
  const dim = layout.indexOf("h");
  const shape = x!.shape.map((n, i) => (i === dim ? n / 3 : n));
  const run = sizeOf(shape.slice(dim));
  return [
    ...[0, 1, 2].map((part) => ({
      shape,
      data: Float64Array.from(
        { length: sizeOf(shape) },
        (_, i) => x!.data[(3 * Math.floor(i / run) + part) * run + (i % run)]!,
      ),
    })),
    ...rest,
  ];
}

/** The inverse of `unpacked`, for gradients. */
function repacked(parts: Reference[], { layout, packed }: AttentionAttributes): Reference[] {
  if (!packed) return parts;
  const [{ shape }] = parts as [Reference];
  const dim = layout.indexOf("h");
  const run = sizeOf(shape.slice(dim));
  return [
    {
      shape: shape.map((n, i) => (i === dim ? 3 * n : n)),
      data: Float64Array.from({ length: 3 * sizeOf(shape) }, (_, i) => {
        const row = Math.floor(i / run);
        return parts[row % 3]!.data[Math.floor(row / 3) * run + (i % run)]!;
      }),
    },
  ];
}

/** The attention weights in float64, for each batch, head and query. */
function weights64([q, k, v, mask]: readonly Reference[], attributes: AttentionAttributes) {
  const { layout, scale, causal } = attributes;
  const { batch, heads, queries, keys, width } = sizes(q!, v!, attributes);
  const at = (x: Reference, b: number, h: number, t: number): number => {
    const own = contiguousStrides(x.shape);
    return [b, h, t].reduce((sum, i, j) => sum + i * own[places(layout)[j]!]!, 0);
  };
  const maskAt = (b: number, h: number, i: number, j: number): number => {
    if (!mask) return 0;
    const own = contiguousStrides(mask.shape);
    return mask.data[[b, h, i, j].reduce((sum, n, dim) => sum + (mask.shape[dim] === 1 ? 0 : n * own[dim]!), 0)]!;
  };
  const rows: { b: number; h: number; i: number; weights: number[] }[] = [];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < queries; i++) {
        const scores = Array.from({ length: keys }, (_, j) => {
          if (causal !== null && j > i + causal) return Number.NEGATIVE_INFINITY;
          let dot = 0;
          for (let d = 0; d < width; d++) dot += q!.data[at(q!, b, h, i) + d]! * k!.data[at(k!, b, h, j) + d]!;
          return scale * dot + maskAt(b, h, i, j);
        });
        const top = Math.max(...scores);
        const terms = scores.map((s) => (top === Number.NEGATIVE_INFINITY ? 0 : Math.exp(s - top)));
        const total = terms.reduce((a, c) => a + c, 0) || 1;
        rows.push({ b, h, i, weights: terms.map((e) => e / total) });
      }
  return { rows, at };
}

function samples(grad: boolean): Sample<AttentionAttributes>[] {
  const make = (
    [batch, heads, queries, keys, width, valueWidth]: number[],
    attributes: Partial<AttentionAttributes>,
    mask?: Shape,
  ): Sample<AttentionAttributes> => {
    const all = { layout: "bhtd" as const, scale: 0.7, causal: null, masked: mask !== undefined, ...attributes };
    const input = (t: number, d: number) => ({
      shape: shaped({ batch: batch!, heads: heads! }, all.layout, t, d),
      low: -1,
      high: 1,
    });
    const [q, k, v] = [input(queries!, width!), input(keys!, width!), input(keys!, valueWidth!)];
    const dy = grad ? [input(queries!, valueWidth!)] : [];
    const packed = { ...q!, shape: q!.shape.map((n, i) => (all.layout[i] === "h" ? 3 * n : n)) };
    return {
      inputs: [...dy, ...(all.packed ? [packed] : [q!, k!, v!]), ...(mask ? [{ shape: mask }] : [])],
      attributes: all,
    };
  };
  return [
    make([1, 1, 3, 3, 2, 2], {}),
    make([2, 2, 2, 3, 3, 2], { layout: "bthd" }),
    make([2, 1, 4, 4, 2, 1], { layout: "tbhd", causal: 0 }),
    make([1, 2, 2, 5, 1, 3], { causal: 3 }, [1, 1, 2, 5]),
    make([2, 2, 3, 2, 2, 2], { layout: "bthd" }, [2, 1, 1, 2]),
    make([1, 2, 4, 3, 2, 2], { causal: -2 }),
    make([1, 1, 66, 5, 1, 2], { causal: -62 }, [1, 1, 1, 5]),
    // The suite compares the forward op with finite differences, for which these samples are too large, so only the gradient op gets them.
    ...(grad
      ? [
          make([1, 2, 70, 67, 9, 5], { layout: "tbhd", causal: 0 }, [1, 2, 70, 67]),
          make([3, 1, 65, 130, 4, 17], { layout: "bthd" }),
        ]
      : []),
    make([2, 2, 3, 3, 2, 2], { layout: "bthd", packed: true, causal: 0 }),
    make([2, 3, 4, 4, 2, 2], { layout: "tbhd", packed: true }, [2, 1, 1, 4]),
    make([1, 2, 3, 3, 3, 3], { packed: true }),
    make([0, 2, 3, 3, 2, 2], {}),
    make([2, 2, 3, 0, 2, 2], {}),
  ];
}

const forward: Oracle<AttentionAttributes> = {
  reference(given, attributes) {
    const inputs = unpacked(given, attributes);
    const v = inputs[2]!;
    const all = sizes(inputs[0]!, v, attributes);
    const shape = shaped(all, attributes.layout, all.queries, all.valueWidth);
    const y: Reference & { data: Float64Array } = { shape, data: new Float64Array(sizeOf(shape)) };
    const { rows, at } = weights64(inputs, attributes);
    for (const { b, h, i, weights } of rows)
      weights.forEach((p, j) => {
        for (let d = 0; d < all.valueWidth; d++) y.data[at(y, b, h, i) + d]! += p * v.data[at(v, b, h, j) + d]!;
      });
    return [y];
  },
  samples: samples(false),
};

const grad: Oracle<AttentionAttributes> = {
  reference([dy, ...given], attributes) {
    const inputs = unpacked(given, attributes);
    const [q, k, v] = inputs as [Reference, Reference, Reference];
    const [dq, dk, dv] = [q, k, v].map(({ shape }) => ({ shape, data: new Float64Array(sizeOf(shape)) })) as [
      Reference & { data: Float64Array },
      Reference & { data: Float64Array },
      Reference & { data: Float64Array },
    ];
    const { rows, at } = weights64(inputs, attributes);
    const { width, valueWidth } = sizes(q, v, attributes);
    for (const { b, h, i, weights } of rows) {
      const from = at(dy!, b, h, i);
      const dp = weights.map((_, j) => {
        let dot = 0;
        for (let d = 0; d < valueWidth; d++) dot += dy!.data[from + d]! * v.data[at(v, b, h, j) + d]!;
        return dot;
      });
      const total = dp.reduce((sum, g, j) => sum + g * weights[j]!, 0);
      weights.forEach((p, j) => {
        const ds = attributes.scale * p * (dp[j]! - total);
        for (let d = 0; d < valueWidth; d++) dv.data[at(v, b, h, j) + d]! += p * dy!.data[from + d]!;
        for (let d = 0; d < width; d++) {
          dq.data[at(q, b, h, i) + d]! += ds * k.data[at(k, b, h, j) + d]!;
          dk.data[at(k, b, h, j) + d]! += ds * q.data[at(q, b, h, i) + d]!;
        }
      });
    }
    return repacked([dq, dk, dv], attributes);
  },
  samples: samples(true),
};

export const attention = { [Op.Attention]: forward, [Op.AttentionGrad]: grad };
