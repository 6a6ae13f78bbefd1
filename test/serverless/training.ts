/** A store, slow learners and handlers that the trainingHandler tests share. */
import { losses, type Tensor } from "nabla";
import { type Store, type TrainingOptions, trainingHandler } from "nabla/serverless";
import { afterEach, expect } from "vitest";
import { learner } from "./requests.ts";

/** A store that keeps every saved state. */
export class MemoryStore implements Store {
  readonly saved: Uint8Array[] = [];
  async load() {
    return this.saved.at(-1);
  }
  async save(state: Uint8Array) {
    this.saved.push(state);
  }
}

/** A learner that counts its steps. Each step takes about `milliseconds`. */
export function slow(milliseconds: number) {
  const counted = { steps: 0, disposed: 0 };
  const create = () => ({
    ...learner(),
    compiled: false,
    loss(output: Tensor, target: Tensor) {
      const until = performance.now() + milliseconds;
      while (performance.now() < until);
      counted.steps++;
      return losses.mse(output, target);
    },
    dispose: () => void counted.disposed++,
  });
  return { counted, create };
}
export const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Creates handlers that train XOR. Registers a hook that fails a test if a handler reports an unexpected error. */
export function serveTraining() {
  const unexpected: unknown[] = [];
  afterEach(() => expect(unexpected.splice(0)).toEqual([]));
  return (options: Partial<TrainingOptions> = {}) =>
    trainingHandler({
      create: learner,
      input: { shape: [null, 2] },
      target: { shape: [null, 1] },
      onError: (error) => unexpected.push(error),
      ...options,
    });
}
