/** What a training request trains: a model, its optimizer and its loss, as `create` makes them. */

import type { nn, optim, Tensor } from "nabla";
import { TypeError } from "../../runtime/errors.ts";

/** What a request trains: its own, made for it. */
export interface Learner {
  /** Disposed at the end, as the optimizer is. */
  readonly model: nn.Module;
  // biome-ignore lint/suspicious/noExplicitAny: any optimizer, whatever its options
  readonly optimizer: optim.Optimizer<any, any>;
  /** The loss of a batch, one number: such as losses.mse. */
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
  /** Whether steps are compiled, which is faster. Default true; false for a model that reads values while it computes. */
  readonly compiled?: boolean;
  /** Frees whatever else was made for it. */
  dispose?(): void;
}

/** @throws TypeError that names what create did not return */
export function requireLearner(what: string, learner: Partial<Learner> | undefined): void {
  const { model, optimizer, loss } = learner ?? {};
  const missing = Object.entries({
    model: typeof model?.forward === "function",
    optimizer: typeof optimizer?.minimize === "function",
    loss: typeof loss === "function",
  }).find(([, isThere]) => !isThere);
  if (missing) throw new TypeError(`${what}: create gave no "${missing[0]}". It must give { model, optimizer, loss }.`);
}

/** Frees every part of a learner, even if another part throws. */
export function free(learner: Partial<Learner> | undefined, tell: (error: unknown) => void): void {
  const parts = [() => learner?.optimizer?.dispose?.(), () => learner?.model?.dispose?.(), () => learner?.dispose?.()];
  for (const dispose of parts)
    try {
      dispose();
    } catch (error) {
      tell(error);
    }
}
