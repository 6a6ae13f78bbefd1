/** Oracles for src/ops/reduce/norm.ts. */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import type { Shape } from "../../../src/ops/definition/value.ts";
import type { NormAttributes } from "../../../src/ops/reduce/norm.ts";
import type { StandardizeAttributes } from "../../../src/ops/reduce/standardize.ts";
import type { Oracle, Reference } from "./oracle.ts";

/**
 * The groups of elements that are normalized together: for each group, the indices of its elements, and μ and σ² in
 * float64.
 */
function groups64(x: Reference, { outer, n, inner, center }: NormAttributes) {
  const found: { at: number[]; mean: number; variance: number }[] = [];
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const at = Array.from({ length: n }, (_, i) => (o * n + i) * inner + j);
      const average = center ? at.reduce((total, i) => total + x.data[i]!, 0) / n : 0;
      found.push({ at, mean: average, variance: at.reduce((total, i) => total + (x.data[i]! - average) ** 2, 0) / n });
    }
  return found;
}

const CASES: [outer: number, n: number, inner: number][] = [
  [3, 5, 1],
  [2, 33, 1],
  [1, 7, 3],
  [2, 5, 6],
  [1, 130, 5],
  [0, 4, 1],
  [2, 4, 1],
];
const samples = (extra: (n: number, inner: number) => Shape[]) =>
  CASES.flatMap(([outer, n, inner]) =>
    [true, false].map((center) => ({
      inputs: [[outer, n, inner], ...extra(n, inner)].map((shape) => ({ shape })),
      attributes: { outer, n, inner, eps: 1e-2, center },
    })),
  );

const normalize: Oracle<NormAttributes> = {
  reference([x, weight, bias], attributes) {
    const { outer, inner, eps } = attributes;
    const data = new Float64Array(x!.data.length);
    const stats = new Float64Array(outer * 2 * inner);
    groups64(x!, attributes).forEach(({ at, mean: average, variance }, g) => {
      const [o, j] = [Math.floor(g / inner), g % inner];
      stats[o * 2 * inner + j] = average;
      stats[(o * 2 + 1) * inner + j] = variance;
      at.forEach((place, i) => {
        const k = inner === 1 ? i : j;
        const hat = (x!.data[place]! - average) / Math.sqrt(variance + eps);
        data[place] = hat * (weight ? weight.data[k]! : 1) + (bias ? bias.data[k]! : 0);
      });
    });
    return [
      { shape: x!.shape, data },
      { shape: [outer, 2, inner], data: stats },
    ];
  },
  samples: [...samples(() => []), ...samples((n, inner) => [[inner === 1 ? n : inner], [inner === 1 ? n : inner]])],
};

const normalizeGrad: Oracle<NormAttributes> = {
  reference([dy, x], attributes) {
    const data = new Float64Array(x!.data.length);
    for (const { at, mean: average, variance } of groups64(x!, attributes)) {
      const rate = 1 / Math.sqrt(variance + attributes.eps);
      const hat = at.map((i) => (x!.data[i]! - average) * rate);
      const d = attributes.center ? at.reduce((total, i) => total + dy!.data[i]!, 0) / at.length : 0;
      const along = at.reduce((total, i, k) => total + dy!.data[i]! * hat[k]!, 0) / at.length;
      at.forEach((i, k) => {
        data[i] = rate * (dy!.data[i]! - d - hat[k]! * along);
      });
    }
    return [{ shape: x!.shape, data }];
  },
  samples: CASES.flatMap(([outer, n, inner]) =>
    [true, false].map((center) => ({
      inputs: [{ shape: [outer, n, inner] }, { shape: [outer, n, inner] }],
      attributes: { outer, n, inner, eps: 1e-2, center },
    })),
  ),
};

const standardize: Oracle<StandardizeAttributes> = {
  reference([x, mean, scale, shift]) {
    const channels = mean!.data.length;
    const data = Float64Array.from(x!.data, (v, i) => {
      const k = i % channels;
      return (v - mean!.data[k]!) * scale!.data[k]! + (shift ? shift.data[k]! : 0);
    });
    return [{ shape: x!.shape, data }];
  },
  // Whole and partial vectors, and more rows than one block of the kernel.
  samples: [
    [3, 1],
    [2, 3, 5],
    [300, 4],
    [0, 6],
    [4, 0],
    [2, 3, 8],
    [70, 13],
    [5, 24],
  ].flatMap((shape) => {
    const channels = { shape: [shape.at(-1)!] };
    const inputs = [{ shape }, channels, channels, channels];
    return [inputs.slice(0, 3), inputs].map((some) => ({ inputs: some, attributes: { activation: Activation.None } }));
  }),
};

export const norm = {
  [Op.Normalize]: normalize,
  [Op.NormalizeGrad]: normalizeGrad,
  [Op.Standardize]: standardize,
};
