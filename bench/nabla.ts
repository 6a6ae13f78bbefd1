/** The compared training step as users of nabla write it: run op by op, or compiled. */
import { type Compiled, compile, losses, nn, optim, type Tensor, tensor } from "../src/index.ts";
import { LR, type Start, startOf, type Training } from "./training.ts";

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
