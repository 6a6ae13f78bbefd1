/** One training: batches of examples in a new order each epoch, one step at a time. */
import { compile, type Tensor, tensor, tidy } from "nabla";
import type { Elements } from "../core/bodies.ts";
import { synchronous } from "../core/faults.ts";
import { Problem } from "../core/problems.ts";
import type { Course } from "../core/schema.ts";
import type { Learner } from "../training/learner.ts";

/** The examples of a request, and how it wants them trained. */
export interface Examples {
  readonly inputs: Elements;
  readonly targets: Elements;
  readonly course: Course;
}

export class Run {
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
    this.#batches = Math.ceil(n / examples.course.batchSize);
    this.#steps = this.#batches * examples.course.epochs;
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

  /** @throws Problem 422 where the loss is no longer a number */
  step(): boolean {
    const { inputs, targets, course } = this.#examples;
    const batch = this.#step % this.#batches;
    if (batch === 0) {
      this.#sum = 0;
      if (course.shuffle) shuffle(this.#order);
    }
    const rows = this.#order.subarray(batch * course.batchSize, (batch + 1) * course.batchSize);
    const loss = tidy(() => this.#update(gather(inputs, rows), gather(targets, rows)).item());
    this.#step++;
    this.#sum += loss;
    if (!Number.isFinite(loss)) {
      const remedy = "Ask for a smaller lr, or scale the inputs.";
      throw new Problem(422, `The loss became ${loss} at step ${this.#step}. Nothing was saved. ${remedy}`);
    }
    return !this.isDone;
  }

  progress(): { epoch: number; step: number; steps: number; loss: number } {
    const [step, steps, last] = [this.#step, this.#steps, this.#step - 1];
    return { epoch: Math.floor(last / this.#batches) + 1, step, steps, loss: this.#sum / ((last % this.#batches) + 1) };
  }

  overtime(milliseconds: number): Problem {
    return new Problem(
      422,
      `The training did not end within ${milliseconds} ms, but was at step ${this.#step} of ${this.#steps}. Nothing was saved. ` +
        "Ask for fewer epochs, or send fewer examples.",
    );
  }

  dispose(): void {
    this.#free();
  }
}

/** Fisher and Yates: every order is as likely. */
function shuffle(order: Uint32Array): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}

/** Examples by number, as a tensor. */
function gather({ values, shape, dtype }: Elements, rows: Uint32Array): Tensor {
  const size = values.length / shape[0]!;
  const chosen = new (values.constructor as Float32ArrayConstructor)(rows.length * size);
  rows.forEach((row, i) => chosen.set(values.subarray(row * size, (row + 1) * size), i * size));
  return tensor(chosen, [rows.length, ...shape.slice(1)], { dtype });
}
