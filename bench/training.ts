/** The training tasks that nabla, pure JavaScript and other libraries run: models with two linear layers, their data and initial values. */
import { uniform } from "./values.ts";

/**
 * "classes" has relu between the layers, and minimizes the mean cross-entropy of the softmax.
 * "values" has tanh between the layers and sigmoid at the end, and minimizes the mean squared error.
 * Both train with Adam: lr 1e-3, betas 0.9 and 0.999, eps 1e-8.
 */
export interface TrainingTask {
  readonly name: string;
  readonly kind: "classes" | "values";
  readonly batch: number;
  readonly inputs: number;
  readonly hidden: number;
  readonly outputs: number;
}

export const LR = 1e-3;
/** The number of steps after which the losses of all contenders are compared. */
export const STEPS = 50;

/**
 * The number of initial steps whose losses must agree up to rounding: two, because the second loss depends on the first backward
 * pass and update.
 */
const EXACT_STEPS = 2;
const EXACT = 1e-5;
/**
 * The relative tolerance of the last loss. Rounding alone can move an input of relu across 0, and Adam takes a full step along the
 * gradient that then appears: on the first task, pure JS with biases changed by 3e-6 ends with a loss that differs by 0.5 %.
 */
const FINAL = 0.02;

/**
 * Checks that a contender trains the same model as the others. @throws Error if the losses of STEPS steps differ from
 * the expected ones
 */
export function requireLosses(what: string, got: readonly number[], expected: readonly number[]): void {
  for (const i of [...Array(EXACT_STEPS).keys(), STEPS - 1]) {
    const tolerance = i < EXACT_STEPS ? EXACT : FINAL;
    if (!(Math.abs(got[i]! - expected[i]!) <= tolerance * Math.abs(expected[i]!))) {
      throw new Error(
        `${what}: the loss at step ${i + 1} must be ${expected[i]}, as in pure JS, got ${got[i]}. The contender trains a different model.`,
      );
    }
  }
}

export const trainingTasks: readonly TrainingTask[] = [
  { name: "MLP 784-128-10 B=32", kind: "classes", batch: 32, inputs: 784, hidden: 128, outputs: 10 },
  { name: "MLP 784-512-10 B=128", kind: "classes", batch: 128, inputs: 784, hidden: 512, outputs: 10 },
  { name: "MLP 784-32-10 B=1", kind: "classes", batch: 1, inputs: 784, hidden: 32, outputs: 10 },
  { name: "XOR 2-8-1 B=4", kind: "values", batch: 4, inputs: 2, hidden: 8, outputs: 1 },
];

/**
 * One epoch of MNIST, from bytes to updated weights. Pixels are divided by 255, then standardized with the mean and the
 * standard deviation.
 */
export const EPOCH: TrainingTask & { readonly mean: number; readonly deviation: number } = {
  name: "MNIST",
  kind: "classes",
  batch: 64,
  inputs: 784,
  hidden: 128,
  outputs: 10,
  mean: 0.1307,
  deviation: 0.3081,
};

/** @throws Error if the mean loss of an epoch differs from the expected one by more than 0.5 %. Rounding changes the loss by less */
export function requireEpoch(what: string, got: number, expected: number): void {
  if (!(Math.abs(got - expected) <= 0.005 * expected))
    throw new Error(
      `${what}: the mean loss must be ${expected}, as for the first contender, got ${got}. The contender trains a different model.`,
    );
}

/** x: [batch, inputs]; labels: [batch], or targets: [batch, outputs]; w1: [hidden, inputs], w2: [outputs, hidden]. */
export interface Start {
  readonly x: Float32Array;
  readonly labels: Int32Array;
  readonly targets: Float32Array;
  readonly w1: Float32Array;
  readonly b1: Float32Array;
  readonly w2: Float32Array;
  readonly b2: Float32Array;
}

/** The data, and initial parameters drawn uniformly between −1/√fanIn and 1/√fanIn, as in PyTorch. */
export function startOf({ kind, batch, inputs, hidden, outputs }: TrainingTask): Start {
  const [r1, r2] = [1 / Math.sqrt(inputs), 1 / Math.sqrt(hidden)];
  const xor = kind === "values";
  return {
    x: xor ? Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1) : uniform(batch * inputs, 0, 1, 1),
    labels: Int32Array.from(uniform(batch, 0, outputs, 2), Math.floor),
    targets: xor ? Float32Array.of(0, 1, 1, 0) : new Float32Array(0),
    w1: uniform(hidden * inputs, -r1, r1, 3),
    b1: uniform(hidden, -r1, r1, 4),
    w2: uniform(outputs * hidden, -r2, r2, 5),
    b2: uniform(outputs, -r2, r2, 6),
  };
}
