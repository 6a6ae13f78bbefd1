/** A learner: the model that a request trains, with its optimizer and its loss. */

import type { nn, optim, Tensor } from "nabla";
import { TypeError } from "../../runtime/errors.ts";

/** A model with its optimizer and its loss. Each training request has its own. */
export interface Learner {
  /** The model to train. Disposed at the end of the request. Required. */
  readonly model: nn.Module;
  /** The optimizer for the model's parameters. Disposed at the end of the request. Required. */
  // biome-ignore lint/suspicious/noExplicitAny: any optimizer, whatever its options
  readonly optimizer: optim.Optimizer<any, any>;
  /** Computes a batch's loss as a tensor with one element, like losses.mse. Required. */
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
  /** Whether to compile the training step, which is faster. Set it to false if the model reads values while it computes. Default true. */
  readonly compiled?: boolean;
  /** Frees anything else that was allocated for the request. Called at the end of the request. Default: nothing. */
  dispose?(): void;
}

/** @throws TypeError if the result of create lacks a part, which the message names */
export function requireLearner(what: string, learner: Partial<Learner> | undefined): void {
  const { model, optimizer, loss } = learner ?? {};
  const missing = Object.entries({
    model: typeof model?.forward === "function",
    optimizer: typeof optimizer?.minimize === "function",
    loss: typeof loss === "function",
  }).find(([, isThere]) => !isThere);
  if (missing) throw new TypeError(`${what}: create must return { model, optimizer, loss }, got no ${missing[0]}.`);
}

/** Frees every part of a learner, even if another part throws. */
export function free(learner: Partial<Learner> | undefined, notify: (error: unknown) => void): void {
  const parts = [() => learner?.optimizer?.dispose?.(), () => learner?.model?.dispose?.(), () => learner?.dispose?.()];
  for (const dispose of parts)
    try {
      dispose();
    } catch (error) {
      notify(error);
    }
}
