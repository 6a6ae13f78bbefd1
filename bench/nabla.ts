/** The compared training as users of nabla write it: run op by op, or compiled. */
import { type Compiled, compile, losses, nn, optim, type Tensor, tensor } from "../src/index.ts";
import { type Cnn, networkStart } from "./networks.ts";
import { type EPOCH, LR, type Start, startOf, type Training } from "./training.ts";

export class NablaTraining {
  private readonly start: Start;
  private readonly model: nn.Sequential;
  private readonly x: Tensor;
  private readonly target: Tensor;
  private readonly loss: (y: Tensor, target: Tensor) => Tensor;
  private optimizer!: optim.Adam;
  private compiled: Compiled<[Tensor, Tensor], Tensor> | undefined;

  constructor(
    training: Training,
    private readonly mode: "eager" | "compiled",
  ) {
    const { kind, batch, inputs, hidden, outputs } = training;
    this.start = startOf(training);
    const classes = kind === "classes";
    const [first, last] = [new nn.Linear(inputs, hidden), new nn.Linear(hidden, outputs)];
    this.model = classes
      ? new nn.Sequential(first, new nn.ReLU(), last)
      : new nn.Sequential(first, new nn.Tanh(), last, new nn.Sigmoid());
    this.x = tensor(this.start.x, [batch, inputs]);
    this.target = classes ? tensor(this.start.labels) : tensor(this.start.targets, [batch, outputs]);
    this.loss = classes ? losses.crossEntropy : losses.mse;
    this.reset();
  }

  /** Parameters as they were, and a new optimizer. */
  reset(): void {
    const { w1, b1, w2, b2 } = this.start;
    const initial = [w1, b1, w2, b2];
    this.model.parameters().forEach((p, i) => p.copyFrom(initial[i]!));
    this.compiled?.dispose();
    this.optimizer?.dispose();
    const optimizer = new optim.Adam(this.model.parameters(), { lr: LR });
    this.optimizer = optimizer;
    if (this.mode === "eager") return;
    this.compiled = compile((x, target) => optimizer.minimize(() => this.loss(this.model.forward(x), target)));
  }

  /** One step; returns the loss before it. */
  step(): number {
    if (this.compiled) return this.compiled(this.x, this.target).item();
    const loss = this.optimizer.minimize(() => this.loss(this.model.forward(this.x), this.target));
    const value = loss.item();
    loss.dispose();
    return value;
  }

  dispose(): void {
    this.compiled?.dispose();
    this.model.dispose();
    this.optimizer.dispose();
    this.x.dispose();
    this.target.dispose();
  }
}

/** All of MNIST once, in the given order, from bytes to updated weights; the step is compiled. */
export class NablaEpoch {
  private readonly model: nn.Sequential;
  private readonly start: Start;
  private optimizer!: optim.Adam;
  private step: Compiled<[Tensor, Tensor], Tensor> | undefined;

  constructor(
    private readonly training: typeof EPOCH,
    private readonly digits: { readonly pixels: Uint8Array; readonly labels: Uint8Array },
    private readonly order: Int32Array,
  ) {
    const { inputs, hidden, outputs } = training;
    this.start = startOf(training);
    this.model = new nn.Sequential(new nn.Linear(inputs, hidden), new nn.ReLU(), new nn.Linear(hidden, outputs));
  }

  reset(): void {
    const { w1, b1, w2, b2 } = this.start;
    const initial = [w1, b1, w2, b2];
    this.model.parameters().forEach((p, i) => p.copyFrom(initial[i]!));
    this.step?.dispose();
    this.optimizer?.dispose();
    const { model, training } = this;
    const optimizer = new optim.Adam(model.parameters(), { lr: LR });
    this.optimizer = optimizer;
    this.step = compile((pixels, labels) => {
      const x = pixels.reshape([labels.size, training.inputs]).to("float32").div(255);
      return optimizer.minimize(() =>
        losses.crossEntropy(model.forward(x.sub(training.mean).div(training.deviation)), labels),
      );
    });
  }

  /** An epoch; returns the mean loss. */
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
      total += this.step!(pixels.subarray(0, count * inputs), labels.subarray(0, count)).item() * count;
    }
    return total / order.length;
  }

  dispose(): void {
    this.step?.dispose();
    this.model.dispose();
    this.optimizer.dispose();
  }
}

/** A network's training step. */
export class NablaNetwork {
  private readonly start: ReturnType<typeof networkStart>;
  private readonly model: nn.Sequential;
  private readonly x: Tensor;
  private readonly labels: Tensor;
  private optimizer!: optim.Adam;
  private compiled: Compiled<[Tensor, Tensor], Tensor> | undefined;

  constructor(
    network: Cnn,
    private readonly mode: "eager" | "compiled",
  ) {
    const { batch, size, channels, outputs } = network;
    const [first, second] = channels;
    this.start = networkStart(network);
    this.model = new nn.Sequential(
      new nn.Conv2d(1, first, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.Conv2d(first, second, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear((size / 2) ** 2 * second, outputs),
    );
    this.x = tensor(this.start.x, [batch, size, size, 1]);
    this.labels = tensor(this.start.labels);
    this.reset();
  }

  private loss(x: Tensor, labels: Tensor): Tensor {
    return losses.crossEntropy(this.model.forward(x), labels);
  }

  /** Parameters as they were, and a new optimizer. */
  reset(): void {
    this.model.parameters().forEach((p, i) => p.copyFrom(this.start.params[i]!.values));
    this.compiled?.dispose();
    this.optimizer?.dispose();
    const optimizer = new optim.Adam(this.model.parameters(), { lr: LR });
    this.optimizer = optimizer;
    if (this.mode === "compiled")
      this.compiled = compile((x, labels) => optimizer.minimize(() => this.loss(x, labels)));
  }

  /** One step; returns the loss before it. */
  step(): number {
    if (this.compiled) return this.compiled(this.x, this.labels).item();
    const loss = this.optimizer.minimize(() => this.loss(this.x, this.labels));
    const value = loss.item();
    loss.dispose();
    return value;
  }

  dispose(): void {
    this.compiled?.dispose();
    this.model.dispose();
    this.optimizer.dispose();
    this.x.dispose();
    this.labels.dispose();
  }
}
