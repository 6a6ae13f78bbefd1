/** The steps of one training run: batches of examples, in a new order in each epoch unless `shuffle` is false. */
import { compile, type Tensor, tensor, tidy } from "nabla";
import { synchronous } from "../core/model-errors.ts";
import { Problem } from "../core/problems.ts";
import type { Elements } from "../core/tensors.ts";
import type { Examples } from "./examples.ts";
import type { Learner } from "./learner.ts";

export class TrainingRun {
  readonly #order: Uint32Array;
  readonly #batches: number;
  readonly #steps: number;
  readonly #update: (x: Tensor, y: Tensor) => Tensor;
  readonly #examples: Examples;
  #step = 0;
  #sum = 0;
  #free = (): void => {};

  constructor({ model, optimizer, loss, compiled = true }: Learner, examples: Examples) {
    const n = examples.inputs.shape[0]!;
    this.#examples = examples;
    this.#order = Uint32Array.from({ length: n }, (_, i) => i);
    this.#batches = Math.ceil(n / examples.parameters.batchSize);
    this.#steps = this.#batches * examples.parameters.epochs;
    const update = (x: Tensor, y: Tensor): Tensor =>
      optimizer.minimize(() => {
        const output = synchronous("trainingHandler: the model", model.forward(x));
        return synchronous("trainingHandler: the loss", loss(output, y));
      });
    if (compiled) {
      const program = compile(update, { name: "trainingHandler" });
      this.#update = program;
      this.#free = () => program.dispose();
    } else this.#update = update;
  }

  get isDone(): boolean {
    return this.#step === this.#steps;
  }

  /** Takes one step. @returns whether more steps remain. @throws Problem 422 if the loss is not finite */
  step(): boolean {
    const { inputs, targets, parameters } = this.#examples;
    const batch = this.#step % this.#batches;
    if (batch === 0) {
      this.#sum = 0;
      if (parameters.shuffle) shuffle(this.#order);
    }
    const rows = this.#order.subarray(batch * parameters.batchSize, (batch + 1) * parameters.batchSize);
    const loss = tidy(() => this.#update(gather(inputs, rows), gather(targets, rows)).item());
    this.#step++;
    this.#sum += loss;
    if (!Number.isFinite(loss)) throw divergedError(`The loss became ${loss} at step ${this.#step}.`);
    return !this.isDone;
  }

  /** The progress after the last step. The loss is the mean over the current epoch so far. */
  progress(): { epoch: number; step: number; steps: number; loss: number } {
    const [step, steps, last] = [this.#step, this.#steps, this.#step - 1];
    return { epoch: Math.floor(last / this.#batches) + 1, step, steps, loss: this.#sum / ((last % this.#batches) + 1) };
  }

  /** The problem to report if training takes too long. */
  timeLimitError(milliseconds: number): Problem {
    return new Problem(
      422,
      `Training reached the time limit of ${milliseconds} ms at step ${this.#step} of ${this.#steps}. Nothing was saved. ` +
        "Use fewer epochs or fewer examples.",
    );
  }

  dispose(): void {
    this.#free();
  }
}

/** The problem to report if training diverges. */
export const divergedError = (what: string): Problem =>
  new Problem(422, `${what} Nothing was saved. Use a smaller lr, or scale the inputs.`);

/** Shuffles in place (Fisher–Yates). Every order is equally likely. */
function shuffle(order: Uint32Array): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}

/** The examples at these rows, as a tensor. */
function gather({ values, shape, dtype }: Elements, rows: Uint32Array): Tensor {
  const size = values.length / shape[0]!;
  const chosen = new (values.constructor as Float32ArrayConstructor)(rows.length * size);
  rows.forEach((row, i) => chosen.set(values.subarray(row * size, (row + 1) * size), i * size));
  return tensor(chosen, [rows.length, ...shape.slice(1)], { dtype });
}
