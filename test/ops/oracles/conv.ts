/** Oracles for src/ops/image/conv.ts. */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import type { Shape } from "../../../src/ops/definition/value.ts";
import { type ConvAttributes, type Pair, span } from "../../../src/ops/image/conv.ts";
import { activation64 } from "./matmul.ts";
import type { Oracle, Reference, Sample } from "./oracle.ts";

/** Calls f for every product of the forward convolution, with flat indices into x, w and y. */
function forEachProduct(
  batch: number,
  channels: number,
  outChannels: number,
  { stride, pad, dilation, groups, inputSize: [h, w], outputSize: [oh, ow], kernelSize: [kh, kw] }: ConvAttributes,
  f: (x: number, w: number, y: number) => void,
): void {
  const [inside, outside] = [channels / groups, outChannels / groups];
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let a = 0; a < kh; a++)
          for (let b = 0; b < kw; b++) {
            const [r, s] = [i * stride[0] + a * dilation[0] - pad[0], j * stride[1] + b * dilation[1] - pad[1]];
            if (r < 0 || r >= h || s < 0 || s >= w) continue;
            for (let o = 0; o < outChannels; o++)
              for (let c = 0; c < inside; c++) {
                const channel = Math.floor(o / outside) * inside + c;
                f(
                  ((n * h + r) * w + s) * channels + channel,
                  ((o * kh + a) * kw + b) * inside + c,
                  ((n * oh + i) * ow + j) * outChannels + o,
                );
              }
          }
}

const finish64 = (data: Float64Array, bias: Reference | undefined, activation: Activation): Float64Array =>
  data.map((v, i) => activation64[activation](v + (bias ? bias.data[i % bias.data.length]! : 0), 0));

/** Samples for every case that the kernels distinguish, with sizes that are not multiples of a tile. */
function samplesOf(
  inputs: (
    x: { shape: Shape },
    w: { shape: Shape },
    y: { shape: Shape },
    bias: { shape: Shape }[],
  ) => { shape: Shape }[],
  activations: readonly Activation[] = [Activation.None, Activation.Tanh],
): Sample<ConvAttributes>[] {
  // biome-ignore format: a table
  const cases: [x: Shape, out: number, kernel: Pair, stride: Pair, pad: Pair, end: Pair, dilation: Pair, groups: number][] = [
    [[2, 5, 6, 3], 4, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 1],
    [[1, 7, 5, 1], 9, [3, 2], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[2, 4, 4, 5], 3, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[1, 5, 5, 2], 3, [1, 1], [2, 2], [0, 0], [0, 0], [1, 1], 1],
    [[1, 7, 8, 2], 3, [3, 3], [2, 2], [1, 1], [1, 0], [1, 1], 1],
    [[1, 8, 7, 2], 5, [2, 3], [3, 2], [0, 2], [1, 1], [1, 2], 1],
    [[2, 9, 6, 1], 2, [3, 2], [1, 2], [2, 0], [2, 1], [2, 3], 1],
    [[1, 1, 9, 3], 4, [1, 4], [1, 1], [0, 2], [0, 1], [1, 1], 1],
    [[1, 5, 5, 4], 6, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 2],
    [[1, 6, 5, 6], 3, [2, 2], [2, 1], [0, 1], [0, 0], [1, 2], 3],
    [[2, 5, 4, 5], 5, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 5],
    [[1, 6, 7, 3], 3, [3, 2], [2, 2], [1, 0], [0, 1], [2, 1], 3],
    [[1, 4, 4, 2], 4, [2, 2], [1, 1], [0, 0], [0, 0], [1, 1], 2],
    [[1, 6, 6, 2], 3, [3, 3], [1, 1], [-1, 0], [0, -1], [1, 1], 1],
    [[1, 5, 5, 2], 2, [1, 1], [3, 3], [0, 0], [0, 0], [1, 1], 1],
    [[0, 4, 4, 2], 3, [2, 2], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[1, 3, 3, 70], 3, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 1],
  ];
  return cases.flatMap(([x, out, kernelSize, stride, pad, end, dilation, groups]) => {
    const inputSize: Pair = [x[1]!, x[2]!];
    const size = (i: 0 | 1): number =>
      Math.floor((inputSize[i] + pad[i] + end[i] - span(kernelSize[i], dilation[i])) / stride[i]) + 1;
    const outputSize: Pair = [size(0), size(1)];
    const shapes = [x, [out, ...kernelSize, x[3]! / groups], [x[0]!, ...outputSize, out]] as const;
    const [image, weight, result] = shapes.map((shape) => ({ shape, low: -1, high: 1 }));
    return activations.map((activation) => ({
      inputs: inputs(image!, weight!, result!, activation ? [{ shape: [out] }] : []),
      attributes: { stride, pad, dilation, groups, activation, inputSize, outputSize, kernelSize },
    }));
  });
}

const forward: Oracle<ConvAttributes> = {
  reference([x, w, bias], attributes) {
    const shape = [x!.shape[0]!, ...attributes.outputSize, w!.shape[0]!];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(shape[0]!, x!.shape[3]!, shape[3]!, attributes, (i, k, o) => {
      data[o]! += x!.data[i]! * w!.data[k]!;
    });
    return [{ shape, data: finish64(data, bias, attributes.activation) }];
  },
  samples: samplesOf((x, w, _, bias) => [x, w, ...bias]),
};

const byInput: Oracle<ConvAttributes> = {
  reference([dy, w, bias], attributes) {
    const shape = [dy!.shape[0]!, ...attributes.inputSize, w!.shape[3]! * attributes.groups];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(shape[0]!, shape[3]!, dy!.shape[3]!, attributes, (i, k, o) => {
      data[i]! += dy!.data[o]! * w!.data[k]!;
    });
    return [{ shape, data: finish64(data, bias, attributes.activation) }];
  },
  samples: samplesOf((x, w, y, bias) => [y, w, ...bias.map(() => ({ shape: [x.shape[3]!] }))]),
};

const byWeight: Oracle<ConvAttributes> = {
  reference([x, dy], attributes) {
    const [channels, outChannels] = [x!.shape[3]!, dy!.shape[3]!];
    const shape = [outChannels, ...attributes.kernelSize, channels / attributes.groups];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(x!.shape[0]!, channels, outChannels, attributes, (i, k, o) => {
      data[k]! += x!.data[i]! * dy!.data[o]!;
    });
    return [{ shape, data }];
  },
  samples: samplesOf((x, _, y) => [x, y], [Activation.None]),
};

export const conv = { [Op.Conv]: forward, [Op.ConvInput]: byInput, [Op.ConvWeight]: byWeight };
