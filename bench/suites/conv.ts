/**
 * Compares nabla's convolution and its two gradients, called as layers call them, with pure JS. Results are rates in GFLOP/s, also given
 * as fractions of the ceiling.
 */
import { type Tensor, tensor, tidy } from "../../src/index.ts";
import { apply } from "../../src/ops/definition/op.ts";
import { convDefinition, convInputDefinition, convWeightDefinition } from "../../src/ops/image/conv.ts";
import { type Case, PURE, type Suite } from "../measure.ts";
import * as pure from "../pure/conv.ts";
import { requireClose, uniform } from "../values.ts";
import { ceiling } from "./matmul.ts";

const sizes: readonly pure.ConvSizes[] = [
  { batch: 32, size: 28, channels: 32, outChannels: 64, kernel: 3 },
  { batch: 32, size: 14, channels: 8, outChannels: 16, kernel: 3 },
  { batch: 32, size: 28, channels: 1, outChannels: 8, kernel: 3 },
];

function* cases(): Generator<Case> {
  for (const one of sizes) {
    const { batch, size, channels, outChannels, kernel } = one;
    const pixels = batch * size * size;
    const values = [
      uniform(pixels * channels, -1, 1, 1),
      uniform(outChannels * kernel * kernel * channels, -1, 1, 2),
      uniform(pixels * outChannels, -1, 1, 3),
    ] as const;
    const [x, w, y] = [
      tensor(values[0], [batch, size, size, channels]),
      tensor(values[1], [outChannels, kernel, kernel, channels]),
      tensor(values[2], [batch, size, size, outChannels]),
    ];
    const attributes = {
      stride: [1, 1],
      pad: [kernel >> 1, kernel >> 1],
      dilation: [1, 1],
      groups: 1,
      activation: 0,
      inputSize: [size, size],
      outputSize: [size, size],
      kernelSize: [kernel, kernel],
    } as const;
    const kinds = [
      { label: "y", op: convDefinition, inputs: [x, w], run: pure.conv },
      { label: "dX", op: convInputDefinition, inputs: [y, w], run: pure.convInput },
      { label: "dW", op: convWeightDefinition, inputs: [x, y], run: pure.convWeight },
    ] as const;
    for (const { label, op, inputs, run } of kinds) {
      const compute = (): Tensor => apply(op, inputs, attributes) as Tensor;
      const [a, b] = inputs.map((v) => v.data as Float32Array) as [Float32Array, Float32Array];
      const expected = tidy(() => new Float32Array(compute().size));
      run(expected, a, b, one);
      tidy(() => requireClose(`conv ${label}`, compute().data, expected, 1e-6 * Math.sqrt(pixels) * kernel * kernel));
      yield {
        name: `${batch}×${size}×${size}×${channels}→${outChannels} ${kernel}×${kernel} ${label}`,
        flops: 2 * pixels * kernel * kernel * channels * outChannels,
        contenders: [
          ceiling(),
          { impl: PURE, run: () => run(expected, a, b, one) },
          { impl: "nabla", run: () => tidy(() => void compute()) },
        ],
      };
    }
    for (const t of [x, w, y]) t.dispose();
  }
}

export const conv: Suite = { name: "conv", cases };
