/** The oracle for src/ops/matrix/matmul.ts. */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import { broadcastShapes, broadcastStrides } from "../../../src/ops/definition/value.ts";
import { type MatmulAttributes, PLAIN_PRODUCT, readsOutput, sizes } from "../../../src/ops/matrix/matmul.ts";
import type { Oracle, Sample } from "./oracle.ts";

export const activation64: Record<Activation, (x: number, y: number) => number> = {
  [Activation.None]: (x) => x,
  [Activation.Relu]: (x) => Math.max(x, 0),
  [Activation.Relu6]: (x) => Math.min(Math.max(x, 0), 6),
  [Activation.Tanh]: Math.tanh,
  [Activation.Sigmoid]: (x) => 1 / (1 + Math.exp(-x)),
  [Activation.ReluGrad]: (x, y) => (y > 0 ? x : 0),
  [Activation.TanhGrad]: (x, y) => x * (1 - y * y),
  [Activation.SigmoidGrad]: (x, y) => x * y * (1 - y),
};

function matmulSamples(): Sample<MatmulAttributes>[] {
  const samples: Sample<MatmulAttributes>[] = [];
  const bounds = { low: -1, high: 1 };
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      for (const [m, k, n] of [
        [1, 1, 1],
        [1, 5, 3],
        [3, 4, 5],
        [7, 9, 11],
        [5, 0, 2],
        [0, 3, 4],
        [13, 2, 9],
      ] as const) {
        samples.push({
          inputs: [
            { ...bounds, shape: transA ? [k, m] : [m, k] },
            { ...bounds, shape: transB ? [n, k] : [k, n] },
          ],
          attributes: { ...PLAIN_PRODUCT, transA, transB, alpha: 0.5 },
        });
      }
      samples.push({
        inputs: [
          { ...bounds, shape: [2, 1, 3, 3] },
          { ...bounds, shape: [4, 3, 3] },
        ],
        attributes: { ...PLAIN_PRODUCT, transA, transB },
      });
    }
  }
  for (const activation of [Activation.Relu, Activation.Tanh, Activation.Sigmoid]) {
    samples.push({
      // Positive operands avoid relu's kink.
      inputs: [
        { shape: [5, 4], low: 0.1, high: 1 },
        { shape: [3, 4], low: 0.1, high: 1 },
        { shape: [3], low: 0.1, high: 1 },
      ],
      attributes: { ...PLAIN_PRODUCT, transB: true, activation },
    });
  }
  // Some results are above 6, where the gradient is zero.
  samples.push({
    inputs: [
      { shape: [13, 4], low: 0.1, high: 2.5 },
      { shape: [17, 4], low: 0.1, high: 2.5 },
      { shape: [17], low: 0.1, high: 1 },
    ],
    attributes: { ...PLAIN_PRODUCT, transB: true, activation: Activation.Relu6 },
  });
  return samples;
}

const product: Oracle<MatmulAttributes> = {
  reference([a, b, third], attributes) {
    const [bias, y] = readsOutput(attributes) ? [undefined, third] : [third, undefined];
    const { m, n, k } = sizes(a!, b!, attributes);
    const batch = broadcastShapes("matmul", a!.shape.slice(0, -2), b!.shape.slice(0, -2));
    const [sa, sb] = [a!, b!].map((x) => broadcastStrides(x.shape.slice(0, -2), batch)) as [number[], number[]];
    const data: number[] = [];
    const one = (atA: number, atB: number) => {
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let total = 0;
          for (let p = 0; p < k; p++) {
            const x = a!.data[atA * m * k + (attributes.transA ? p * m + i : i * k + p)]!;
            total += x * b!.data[atB * k * n + (attributes.transB ? j * k + p : p * n + j)]!;
          }
          const sum = attributes.alpha * total + (bias ? bias.data[j]! : 0);
          data.push(activation64[attributes.activation](sum, y ? y.data[data.length]! : 0));
        }
    };
    const visit = (dim: number, atA: number, atB: number): void => {
      if (dim === batch.length) one(atA, atB);
      else for (let i = 0; i < batch[dim]!; i++) visit(dim + 1, atA + i * sa[dim]!, atB + i * sb[dim]!);
    };
    visit(0, 0, 0);
    return [{ shape: [...batch, m, n], data }];
  },
  samples: matmulSamples(),
};

export const matmul = { [Op.Matmul]: product };
