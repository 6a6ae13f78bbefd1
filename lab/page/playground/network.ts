/**
 * A network that learns to read digits, one mini-batch at a time, and the gradients that reach its layers. This file
 * does not depend on workers or pages.
 */
import {
  type Compiled,
  compile,
  losses,
  manualSeed,
  nn,
  optim,
  randint,
  randperm,
  type Tensor,
  tensor,
  tidy,
} from "nabla";
import { diagnose, objective, type ParameterRow, type WatchReport, watch } from "nabla/gradients";
import { type Digits, PIXELS, SIDE } from "../../../cli/mnist/packed.ts";
import type { Measured } from "./diagnosis.ts";
import { type Histogram, histogramOf } from "./histogram.ts";
import type { Activation, Init, OptimizerName, Settings } from "./settings.ts";

export const CLASSES = 10;
export const BATCH = 64;
/** The number of mini-batches whose losses show whether a network learns. */
const RECENT = 100;
/** The mean and the standard deviation of MNIST's pixels, from 0 (paper) to 1 (ink). */
const [MEAN, STD] = [0.1307, 0.3081];

/** The gradient of the loss with respect to one layer's weight. */
export interface LayerGradient {
  readonly name: string;
  /** The root mean square of ∂L/∂W's elements. */
  readonly rms: number;
  readonly histogram: Histogram;
}

/** The gradients of the loss on the last mini-batch, at the current parameters. */
export interface Gradients {
  /** The gradient of each weight, from the first layer to the output. */
  readonly layers: readonly LayerGradient[];
  readonly measured: Measured;
}

/** Converts pixels from 0 to 1 to [batch, 784] with mean 0 and variance 1 over MNIST, which initializations assume. */
class Standardize extends nn.Module {
  static override readonly kind: string = "Standardize";
  forward(x: Tensor): Tensor {
    return x.reshape([-1, PIXELS]).sub(MEAN).div(STD);
  }
}

const activations: Readonly<Record<Activation, () => nn.Module>> = {
  sigmoid: () => new nn.Sigmoid(),
  tanh: () => new nn.Tanh(),
  ReLU: () => new nn.ReLU(),
  "leaky ReLU": () => new nn.LeakyReLU(),
  GELU: () => new nn.GELU(),
};

const weightsOf: Readonly<Record<Init, (w: Tensor) => void>> = {
  "too small": (w) => void nn.init.xavierNormal(w, { gain: 1 / 5 }),
  Xavier: (w) => void nn.init.xavierNormal(w),
  He: (w) => void nn.init.kaimingNormal(w, { nonlinearity: "relu" }),
  "too large": (w) => void nn.init.xavierNormal(w, { gain: 5 }),
  "large biases": (w) => void nn.init.xavierNormal(w),
};
/** The standard deviation of the hidden layers' initial biases. */
const biasOf = (init: Init): number => (init === "large biases" ? 5 : 0);

const optimizers: Readonly<Record<OptimizerName, (parameters: Tensor[], lr: number) => optim.Optimizer>> = {
  SGD: (parameters, lr) => new optim.SGD(parameters, { lr }),
  momentum: (parameters, lr) => new optim.SGD(parameters, { lr, momentum: 0.9 }),
  Adam: (parameters, lr) => new optim.Adam(parameters, { lr }),
  RMSProp: (parameters, lr) => new optim.RMSProp(parameters, { lr }),
};

/** A network from pixels to logits [batch, 10]. */
function networkOf({ layers, width, activation, init }: Settings): { model: nn.Sequential; linear: nn.Linear[] } {
  const sizes = [PIXELS, ...Array.from({ length: layers }, () => width), CLASSES];
  const linear = sizes.slice(1).map((out, i) => {
    const layer = new nn.Linear(sizes[i]!, out);
    weightsOf[init](layer.weight);
    nn.init.normal(layer.bias!, 0, i < layers ? biasOf(init) : 0);
    return layer;
  });
  const hidden = linear.slice(0, -1).flatMap((layer) => [layer, activations[activation]()]);
  return { model: new nn.Sequential(new Standardize(), ...hidden, linear.at(-1)!), linear };
}

export class Learner {
  /** The number of mini-batches seen. */
  steps = 0;
  readonly model: nn.Sequential;
  readonly linear: readonly nn.Linear[];
  private optimizer: optim.Optimizer;
  private train: Compiled<[Tensor, Tensor], Tensor>;
  private readonly batches: Generator<Batch, never>;
  private readonly testInk: Float32Array;
  /** The mini-batch of the last step; before the first step, the first mini-batch. */
  batch: Batch;
  /** A report on how much the last watched step changed each weight. */
  private updates: WatchReport | undefined;
  /** The losses of the last RECENT mini-batches. */
  private losses: readonly number[] = [];

  constructor(
    readonly digits: { readonly train: Digits; readonly test: Digits },
    public settings: Settings,
  ) {
    manualSeed(1);
    ({ model: this.model, linear: this.linear } = networkOf(settings));
    [this.optimizer, this.train] = this.training();
    this.testInk = Float32Array.from(digits.test.pixels, (v) => v / 255);
    this.batches = batchesOf(digits.train);
    this.batch = this.batches.next().value;
  }

  /** Creates the optimizer that the settings name, and a compiled step that uses it. */
  private training(): [optim.Optimizer, Compiled<[Tensor, Tensor], Tensor>] {
    const { optimizer: name, lr } = this.settings;
    const optimizer = optimizers[name](this.model.parameters(), lr);
    const step = (pixels: Tensor, labels: Tensor): Tensor => optimizer.minimize(() => this.loss(pixels, labels));
    return [optimizer, compile(step)];
  }

  /** Continues with another optimizer or learning rate. */
  tune(optimizer: OptimizerName, lr: number): void {
    const isSame = optimizer === this.settings.optimizer;
    this.settings = { ...this.settings, optimizer, lr };
    if (isSame) this.optimizer.lr = lr;
    else {
      this.train.dispose();
      this.optimizer.dispose();
      [this.optimizer, this.train] = this.training();
    }
  }

  private loss(pixels: Tensor, labels: Tensor): Tensor {
    return losses.crossEntropy(this.model.forward(pixels), labels);
  }

  /**
   * Trains on one mini-batch.
   * @param watched whether to measure how much the step changes the weights
   * @returns the loss before the step
   */
  step(watched: boolean): number {
    if (this.steps) this.batch = this.batches.next().value;
    const watcher = watched ? watch(this.model) : undefined;
    watcher?.step();
    this.steps++;
    const loss = this.train(this.batch.pixels, this.batch.labels).item();
    this.losses = [...this.losses.slice(1 - RECENT), loss];
    if (watcher) {
      watcher.step();
      this.updates = watcher.report();
      watcher.stop();
    }
    return loss;
  }

  /** ∂L/∂W of each layer, and the measurements that a diagnosis needs. */
  gradients(): Gradients {
    return tidy(() => {
      const [pixels, labels] = [tensor(this.batch.pixels), tensor(this.batch.labels)];
      const loss = (): Tensor => this.loss(pixels, labels);
      const at = objective(this.model, loss);
      const { value, gradient } = at.valueAndGradient();
      const layers = this.linear.map(({ weight }, i) => {
        const from = at.offsets[at.parameters.indexOf(weight)]!;
        const values = gradient.subarray(from, from + weight.size);
        const name = i < this.settings.layers ? `layer ${i + 1}` : "output";
        return { name, rms: length(values) / Math.sqrt(weight.size), histogram: histogramOf(values) };
      });
      const { last, verdicts } = diagnose(this.model, loss);
      const { settings, steps } = this;
      // Use only the verdicts on updates, because a compiled step leaves no gradients for the watcher to judge.
      const updates = this.updates?.verdicts.filter(({ kind }) => kind === "too fast" || kind === "too slow") ?? [];
      return {
        layers,
        measured: {
          settings,
          steps,
          loss: value,
          recentLoss: this.losses.length < RECENT ? undefined : median(this.losses),
          problems: [...verdicts, ...updates].map(({ kind }) => kind).filter((kind) => kind !== "healthy"),
          norms: last.depth.map(({ gradient }) => gradient),
          weights: last.parameters.filter(isWeight),
          activations: last.activations,
          updates: this.updates?.last.parameters.filter(isWeight).map(({ update }) => update),
        },
      };
    });
  }

  /** The fraction of the test digits that the network reads correctly. */
  accuracy(): number {
    const { labels, count } = this.digits.test;
    const read = tidy(() => this.model.forward(tensor(this.testInk)).argMax(-1).data);
    return labels.reduce((right, label, i) => right + Number(read[i] === label), 0) / count;
  }

  dispose(): void {
    this.train.dispose();
    this.optimizer.dispose();
    this.model.dispose();
  }
}

function length(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]! ** 2;
  return Math.sqrt(total);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

const isWeight = ({ shape }: ParameterRow): boolean => shape.length > 1;

export interface Batch {
  /** BATCH digits of 784 pixels, from 0 to 1. */
  readonly pixels: Float32Array;
  readonly labels: Int32Array;
}

/**
 * Yields mini-batches, in a new order for each pass over the digits. Shifts each digit by up to a pixel, because
 * drawings are not perfectly centred either. Each batch overwrites the previous one.
 */
function* batchesOf({ pixels, labels, count }: Digits): Generator<Batch, never> {
  const batch = { pixels: new Float32Array(BATCH * PIXELS), labels: new Int32Array(BATCH) };
  for (;;) {
    const [order, across, down] = tidy(() => [randperm(count).data, moves(count).data, moves(count).data] as const);
    for (let at = 0; at + BATCH <= count; at += BATCH) {
      for (let k = 0; k < BATCH; k++) {
        const from = order[at + k]!;
        const shift = down[at + k]! * SIDE + across[at + k]!;
        batch.labels[k] = labels[from]!;
        // A shift moves pixels across the edges, but there is no ink at the edges: MNIST's digits have margins of four
        // pixels.
        for (let p = 0; p < PIXELS; p++) batch.pixels[k * PIXELS + p] = (pixels[from * PIXELS + p + shift] ?? 0) / 255;
      }
      yield batch;
    }
  }
}

/** n random shifts, each −1, 0 or 1. */
const moves = (n: number): Tensor => randint(-1, 2, [n]);
