/** Oracles for src/ops/image/pool.ts and dilation.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Shape, sizeOf } from "../../../src/ops/definition/value.ts";
import type { Pair } from "../../../src/ops/image/conv.ts";
import type { AvgPoolAttributes, MaxPoolAttributes } from "../../../src/ops/image/pool.ts";
import type { Oracle, Reference, Sample } from "./oracle.ts";

function maxPoolSamples(): Sample<MaxPoolAttributes>[] {
  const sample = (shape: number[], kernelSize: Pair, stride: Pair, pad: Pair, dilation: Pair, outputSize: Pair) => ({
    inputs: [{ shape, low: -9, high: 9 }],
    attributes: { kernelSize, stride, pad, dilation, outputSize },
  });
  return [
    sample([2, 4, 6, 3], [2, 2], [2, 2], [0, 0], [1, 1], [2, 3]),
    sample([1, 5, 5, 5], [3, 3], [2, 2], [1, 1], [1, 1], [3, 3]),
    sample([1, 6, 5, 2], [2, 3], [1, 2], [0, 1], [2, 1], [4, 3]),
    sample([1, 5, 4, 1], [2, 2], [2, 2], [0, 0], [1, 1], [3, 2]),
    sample([0, 4, 4, 2], [2, 2], [2, 2], [0, 0], [1, 1], [2, 2]),
  ];
}

/**
 * The largest value of x plus `weight(tap, channel)` in each window: the values, their positions in the image, and their taps. Among equal
 * values, the first wins.
 */
function largestOf(
  x: Reference,
  { kernelSize, stride, pad, dilation, outputSize }: MaxPoolAttributes,
  weight: (tap: number, channel: number) => number,
): [values: Reference, places: Reference, taps: Reference] {
  const [n, h, w, channels] = x.shape as [number, number, number, number];
  const shape = [n, ...outputSize, channels];
  const make = (): Float64Array => new Float64Array(sizeOf(shape));
  const [data, places, taps] = [make().fill(Number.NEGATIVE_INFINITY), make(), make()];
  let at = 0;
  for (let b = 0; b < n; b++)
    for (let i = 0; i < outputSize[0]; i++)
      for (let j = 0; j < outputSize[1]; j++)
        for (let c = 0; c < channels; c++, at++)
          for (let p = 0; p < kernelSize[0]; p++)
            for (let q = 0; q < kernelSize[1]; q++) {
              const [r, s] = [i * stride[0] + p * dilation[0] - pad[0], j * stride[1] + q * dilation[1] - pad[1]];
              if (r < 0 || r >= h || s < 0 || s >= w) continue;
              const tap = p * kernelSize[1] + q;
              const v = x.data[((b * h + r) * w + s) * channels + c]! + weight(tap, c);
              if (v > data[at]!) [data[at], places[at], taps[at]] = [v, r * w + s, tap];
            }
  const of = (values: Float64Array): Reference => ({ shape, data: values });
  return [of(data), of(places), of(taps)];
}

const maxPool: Oracle<MaxPoolAttributes> = {
  reference: ([x], attributes) => largestOf(x!, attributes, () => 0).slice(0, 2),
  samples: maxPoolSamples(),
};

const dilation: Oracle<MaxPoolAttributes> = {
  reference: ([x, filter], attributes) => largestOf(x!, attributes, (tap, c) => filter!.data[tap * x!.shape[3]! + c]!),
  samples: maxPoolSamples().map(({ inputs: [x], attributes }) => ({
    inputs: [x!, { shape: [...attributes.kernelSize, x!.shape[3]!], low: -2, high: 2 }],
    attributes,
  })),
};

/**
 * Calls f for each pixel in each window, with the pixel's flat index into the image, the window's flat index into the result, and the
 * window's divisor.
 */
function forEachPooled(
  [batch, , , channels]: Shape,
  { kernelSize: [kh, kw], stride, pad, inputSize: [h, w], outputSize: [oh, ow], countIncludePad }: AvgPoolAttributes,
  f: (x: number, y: number, count: number) => void,
): void {
  const inside = (start: number, length: number, size: number): number[] =>
    Array.from({ length }, (_, q) => start + q).filter((p) => p >= 0 && p < size);
  for (let n = 0; n < batch!; n++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++) {
        const rows = inside(i * stride[0] - pad[0], kh, h);
        const columns = inside(j * stride[1] - pad[1], kw, w);
        const count = countIncludePad ? kh * kw : rows.length * columns.length;
        for (const r of rows)
          for (const s of columns)
            for (let c = 0; c < channels!; c++)
              f(((n * h + r) * w + s) * channels! + c, ((n * oh + i) * ow + j) * channels! + c, count);
      }
}

function avgPoolSamples(sizeOfInput: (attributes: AvgPoolAttributes) => Pair): Sample<AvgPoolAttributes>[] {
  // biome-ignore format: a table
  const cases: [batch: number, input: Pair, channels: number, kernel: Pair, stride: Pair, pad: Pair, output: Pair][] = [
    [2, [4, 6], 3, [2, 2], [2, 2], [0, 0], [2, 3]],
    [1, [5, 5], 5, [3, 3], [2, 2], [1, 1], [3, 3]],
    [2, [6, 5], 8, [3, 2], [1, 1], [1, 1], [6, 6]],
    [1, [7, 6], 2, [2, 2], [3, 3], [0, 1], [2, 3]],
    [1, [1, 9], 1, [1, 4], [1, 2], [0, 2], [1, 5]],
    [0, [4, 4], 2, [2, 2], [2, 2], [0, 0], [2, 2]],
  ];
  return cases.flatMap(([batch, inputSize, channels, kernelSize, stride, pad, outputSize]) =>
    [true, false].map((countIncludePad) => {
      const attributes = { inputSize, kernelSize, stride, pad, outputSize, countIncludePad };
      return { inputs: [{ shape: [batch, ...sizeOfInput(attributes), channels] }], attributes };
    }),
  );
}

const avgPool: Oracle<AvgPoolAttributes> = {
  reference([x], attributes) {
    const shape = [x!.shape[0]!, ...attributes.outputSize, x!.shape[3]!];
    const data = new Float64Array(sizeOf(shape));
    forEachPooled(shape, attributes, (from, to, count) => (data[to]! += x!.data[from]! / count));
    return [{ shape, data }];
  },
  samples: avgPoolSamples(({ inputSize }) => inputSize),
};

const avgPoolGrad: Oracle<AvgPoolAttributes> = {
  reference([dy], attributes) {
    const shape = [dy!.shape[0]!, ...attributes.inputSize, dy!.shape[3]!];
    const data = new Float64Array(sizeOf(shape));
    forEachPooled(shape, attributes, (to, from, count) => (data[to]! += dy!.data[from]! / count));
    return [{ shape, data }];
  },
  samples: avgPoolSamples(({ outputSize }) => outputSize),
};

export const pool = {
  [Op.MaxPool]: maxPool,
  [Op.Dilation]: dilation,
  [Op.AvgPool]: avgPool,
  [Op.AvgPoolGrad]: avgPoolGrad,
};
