/** The benchmarks' training steps in nabla, eager and compiled, written as users write them. */
import { type Compiled, compile, losses, nn, optim, type Tensor, type TypedArray, tensor } from "../src/index.ts";
import { cnn } from "./models/perceptrons.ts";
import { Recurrent } from "./models/recurrent.ts";
import { LanguageModel } from "./models/transformers.ts";
import { type Network, networkStart } from "./networks.ts";
import { type EPOCH, LR, startOf, type TrainingTask } from "./training.ts";

type Mode = "eager" | "compiled";

/** A model with Adam, a loss that takes two tensors, and the parameters' initial values. */
class Trainer {
  private optimizer!: optim.Adam;
  private compiled: Compiled<[Tensor, Tensor], Tensor> | undefined;

  constructor(
    private readonly model: nn.Module,
    private readonly initial: readonly Float32Array[],
    private readonly mode: Mode,
    private readonly loss: (x: Tensor, target: Tensor) => Tensor,
  ) {
    this.reset();
  }

  /** Restores the initial parameters, and creates a new optimizer. */
  reset(): void {
    const { model, loss, mode, initial } = this;
    model.parameters().forEach((p, i) => p.copyFrom(initial[i]!));
    this.compiled?.dispose();
    this.optimizer?.dispose();
    const optimizer = new optim.Adam(model.parameters(), { lr: LR });
    this.optimizer = optimizer;
    if (mode === "compiled") this.compiled = compile((x, target) => optimizer.minimize(() => loss(x, target)));
  }

  /** Takes one step. Accepts typed arrays only if the step is compiled. @returns the loss before the step */
  run(x: Tensor | TypedArray, target: Tensor | TypedArray): number {
    if (this.compiled) return this.compiled(x, target).item();
    const loss = this.optimizer.minimize(() => this.loss(x as Tensor, target as Tensor));
    const value = loss.item();
    loss.dispose();
    return value;
  }

  dispose(): void {
    this.compiled?.dispose();
    this.model.dispose();
    this.optimizer.dispose();
  }
}

/** A trainer that uses the same batch for every step. */
class OneBatch {
  constructor(
    private readonly trainer: Trainer,
    private readonly x: Tensor,
    private readonly target: Tensor,
  ) {}
  reset(): void {
    this.trainer.reset();
  }
  /** Takes one step. @returns the loss before the step */
  step(): number {
    return this.trainer.run(this.x, this.target);
  }
  dispose(): void {
    this.trainer.dispose();
    this.x.dispose();
    this.target.dispose();
  }
}

/** The training step of a model with two linear layers. */
export class NablaTraining extends OneBatch {
  constructor(training: TrainingTask, mode: Mode) {
    const { kind, batch, inputs, hidden, outputs } = training;
    const { x, labels, targets, w1, b1, w2, b2 } = startOf(training);
    const classes = kind === "classes";
    const [first, last] = [new nn.Linear(inputs, hidden), new nn.Linear(hidden, outputs)];
    const model = classes
      ? new nn.Sequential(first, new nn.ReLU(), last)
      : new nn.Sequential(first, new nn.Tanh(), last, new nn.Sigmoid());
    const loss = classes ? losses.crossEntropy : losses.mse;
    super(
      new Trainer(model, [w1, b1, w2, b2], mode, (input, target) => loss(model.forward(input), target)),
      tensor(x, [batch, inputs]),
      classes ? tensor(labels) : tensor(targets, [batch, outputs]),
    );
  }
}

/** Creates a network, and its input in the shape that the network expects. */
export function build(network: Network, x: Float32Array): [nn.Module, Tensor] {
  const { batch } = network;
  if (network.kind === "cnn") return [cnn(network), tensor(x, [batch, network.size, network.size, 1])];
  const { steps } = network;
  return network.kind === "transformer"
    ? [new LanguageModel(network), tensor(Int32Array.from(x), [batch, steps])]
    : [new Recurrent(network), tensor(x, [steps, batch, network.inputs])];
}

/** The training step of a network. */
export class NablaNetwork extends OneBatch {
  constructor(network: Network, mode: Mode) {
    const { x, labels, params } = networkStart(network);
    const [model, input] = build(network, x);
    const initial = params.map(({ values }) => values);
    const loss = (images: Tensor, target: Tensor) => losses.crossEntropy(model.forward(images), target);
    super(new Trainer(model, initial, mode, loss), input, tensor(labels));
  }
}

/** Trains on MNIST in the given order, from bytes to updated weights, with a compiled step. */
export class NablaEpoch {
  private readonly trainer: Trainer;

  constructor(
    private readonly training: typeof EPOCH,
    private readonly digits: { readonly pixels: Uint8Array; readonly labels: Uint8Array },
    private readonly order: Int32Array,
  ) {
    const { inputs, hidden, outputs, mean, deviation } = training;
    const { w1, b1, w2, b2 } = startOf(training);
    const model = new nn.Sequential(new nn.Linear(inputs, hidden), new nn.ReLU(), new nn.Linear(hidden, outputs));
    this.trainer = new Trainer(model, [w1, b1, w2, b2], "compiled", (pixels, labels) => {
      const x = pixels.reshape([labels.size, inputs]).to("float32").div(255).sub(mean).div(deviation);
      return losses.crossEntropy(model.forward(x), labels);
    });
  }

  reset(): void {
    this.trainer.reset();
  }

  /** Trains for one epoch. @returns the mean loss */
  run(): number {
    const { digits, order } = this;
    const { batch, inputs } = this.training;
    const pixels = new Uint8Array(batch * inputs);
    const labels = new Int32Array(batch);
    let total = 0;
    for (let at = 0; at < order.length; at += batch) {
      const count = Math.min(batch, order.length - at);
      for (let i = 0; i < count; i++) {
        const pick = order[at + i]!;
        pixels.set(digits.pixels.subarray(pick * inputs, (pick + 1) * inputs), i * inputs);
        labels[i] = digits.labels[pick]!;
      }
      total += this.trainer.run(pixels.subarray(0, count * inputs), labels.subarray(0, count)) * count;
    }
    return total / order.length;
  }

  dispose(): void {
    this.trainer.dispose();
  }
}
