/** Turns digits into tensors, trains networks step by step to read digits, and measures their accuracy. */
import { compile, losses, type nn, optim, randperm, type Tensor, tensor, tidy } from "nabla";
import { type Digits, SIDE } from "../cli/mnist/packed.ts";
import type { Generator } from "./random.ts";

const PIXELS = SIDE * SIDE;

/** `count` digits, starting at index `from`, as [count, 28, 28, 1]. Pixels range from 0 (paper) to 1 (ink). */
export function images({ pixels }: Digits, from: number, count: number): Tensor {
  const ink = Float32Array.from(pixels.subarray(from * PIXELS, (from + count) * PIXELS), (v) => v / 255);
  return tensor(ink, [count, SIDE, SIDE, 1]);
}

/** The labels of `count` digits, starting at index `from`, as int32 [count]. */
export const labels = (digits: Digits, from: number, count: number): Tensor =>
  tensor(Int32Array.from(digits.labels.subarray(from, from + count)));

export interface TrainOptions {
  readonly epochs: number;
  readonly lr: number;
  readonly batch?: number;
  /** The loss of a batch. Default: the cross-entropy. */
  readonly loss?: (x: Tensor, labels: Tensor) => Tensor;
  /** Shuffles the digits in each epoch. */
  readonly random: Generator;
}
export interface Trainer {
  /** Trains on one mini-batch. Returns the fraction of all epochs' mini-batches that the model has seen. */
  step(): number;
  dispose(): void;
}

/** Creates a trainer, which trains a model [batch, 28, 28, 1] → [batch, 10] with Adam. */
export function newTrainer(
  model: nn.Module,
  digits: Digits,
  { epochs, lr, batch = 64, random, loss = (x, y) => losses.crossEntropy(model.forward(x), y) }: TrainOptions,
): Trainer {
  const optimizer = new optim.Adam(model.parameters(), { lr });
  const update = compile((pixels: Tensor, y: Tensor) =>
    optimizer.minimize(() => loss(pixels.to("float32").div(255).reshape([-1, SIDE, SIDE, 1]), y)),
  );
  const steps = Math.floor(digits.count / batch);
  let seen = 0;
  let order: readonly number[] = [];
  return {
    step() {
      const at = seen % steps;
      if (at === 0) order = random(() => tidy(() => Array.from(randperm(digits.count).data)));
      const picks = order.slice(at * batch, (at + 1) * batch);
      const pixels = new Uint8Array(batch * PIXELS);
      picks.forEach((pick, i) => pixels.set(digits.pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), i * PIXELS));
      tidy(() => {
        update(
          pixels,
          Int32Array.from(picks, (pick) => digits.labels[pick]!),
        );
      });
      return ++seen / (steps * epochs);
    },
    dispose() {
      update.dispose();
      optimizer.dispose();
    },
  };
}

/** The class with the highest score for each of the inputs x. */
export const read = (model: nn.Module, x: Tensor): ArrayLike<number> =>
  tidy(() => (model.forward(x) as Tensor).argMax(-1).data);

/** The fraction of the digits x that the model reads correctly. */
export function accuracy(model: nn.Module, x: Tensor, y: Tensor): number {
  const answers = y.data;
  return Array.from(read(model, x)).filter((digit, i) => digit === answers[i]).length / answers.length;
}
