/** Networks whose training step is compared with PyTorch's: their shapes, and the numbers that everyone starts from. */
import { uniform } from "./values.ts";

/** Two convolutions 3×3 with padding 1 and relu, max pooling 2×2, a linear layer; mean cross-entropy; Adam. */
export interface Cnn {
  readonly name: string;
  readonly kind: "cnn";
  readonly batch: number;
  /** Images are size × size × 1. */
  readonly size: number;
  readonly channels: readonly [number, number];
  readonly outputs: number;
}

export const networks: readonly Cnn[] = [
  { name: "CNN 8-16 28×28 B=32", kind: "cnn", batch: 32, size: 28, channels: [8, 16], outputs: 10 },
  { name: "CNN 32-64 28×28 B=32", kind: "cnn", batch: 32, size: 28, channels: [32, 64], outputs: 10 },
];

export interface NetworkStart {
  readonly x: Float32Array;
  readonly labels: Int32Array;
  /** Weight and bias of each layer in order, channels last, with their shapes. */
  readonly params: readonly { readonly shape: number[]; readonly values: Float32Array }[];
}

/** Data, and parameters uniform in ±1/√fanIn. */
export function networkStart({ batch, size, channels: [first, second], outputs }: Cnn): NetworkStart {
  const weights = [
    [first, 3, 3, 1],
    [second, 3, 3, first],
    [outputs, (size / 2) ** 2 * second],
  ];
  const count = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);
  return {
    x: uniform(batch * size * size, 0, 1, 1),
    labels: Int32Array.from(uniform(batch, 0, outputs, 2), Math.floor),
    params: weights.flatMap((shape, i) => {
      const bound = 1 / Math.sqrt(count(shape.slice(1)));
      const make = (own: number[], seed: number) => ({ shape: own, values: uniform(count(own), -bound, bound, seed) });
      return [make(shape, 3 + 2 * i), make(shape.slice(0, 1), 4 + 2 * i)];
    }),
  };
}
