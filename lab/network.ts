/** Helpers for networks that read digits: digits as tensors, training that takes seconds, accuracy. */
import { compile, losses, type nn, optim, randperm, type Tensor, tensor, tidy } from "nabla";
import { type Digits, SIDE } from "../cli/mnist/packed.ts";

const PIXELS = SIDE * SIDE;

/** Digits as [count, 28, 28, 1], from 0 (paper) to 1 (ink). */
export function images({ pixels }: Digits, from: number, count: number): Tensor {
  const ink = Float32Array.from(pixels.subarray(from * PIXELS, (from + count) * PIXELS), (v) => v / 255);
  return tensor(ink, [count, SIDE, SIDE, 1]);
}

/** The labels of digits, int32 [count]. */
export const labels = (digits: Digits, from: number, count: number): Tensor =>
  tensor(Int32Array.from(digits.labels.subarray(from, from + count)));

export interface TrainOptions {
  readonly epochs: number;
  readonly lr: number;
  readonly batch?: number;
  /** The loss of a batch. Default: the cross-entropy. */
  readonly loss?: (x: Tensor, labels: Tensor) => Tensor;
  /** Receives the progress, from 0 to 1. */
  readonly progress: (fraction: number) => Promise<void>;
}

/** Trains a model [batch, 28, 28, 1] → [batch, 10] with Adam. The generator that manualSeed seeds determines the order of the digits. */
export async function train(
  model: nn.Module,
  digits: Digits,
  { epochs, lr, batch = 64, progress, loss = (x, y) => losses.crossEntropy(model.forward(x), y) }: TrainOptions,
): Promise<void> {
  const optimizer = new optim.Adam(model.parameters(), { lr });
  const step = compile((pixels: Tensor, y: Tensor) =>
    optimizer.minimize(() => loss(pixels.to("float32").div(255).reshape([-1, SIDE, SIDE, 1]), y)),
  );
  try {
    const steps = Math.floor(digits.count / batch);
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = tidy(() => randperm(digits.count).data);
      for (let at = 0; at < steps; at++) {
        const picks = order.subarray(at * batch, (at + 1) * batch);
        const pixels = new Uint8Array(batch * PIXELS);
        picks.forEach((pick, i) => pixels.set(digits.pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), i * PIXELS));
        step(
          pixels,
          Int32Array.from(picks, (pick) => digits.labels[pick]!),
        );
        if (at % 10 === 0) await progress((epoch + at / steps) / epochs);
      }
    }
  } finally {
    step.dispose();
    optimizer.dispose();
  }
}

/** The index of the highest score in each row of [count, classes]. */
export const read = (model: nn.Module, x: Tensor): ArrayLike<number> =>
  tidy(() => (model.forward(x) as Tensor).argMax(-1).data);

/** The fraction of the digits x that the model reads correctly. */
export function accuracy(model: nn.Module, x: Tensor, y: Tensor): number {
  const answers = y.data;
  return Array.from(read(model, x)).filter((digit, i) => digit === answers[i]).length / answers.length;
}
