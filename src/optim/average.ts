/** Exponential moving averages of weights. */

import { currentRecorder, withGrad } from "../core/context.ts";
import { flushDenormals } from "../core/denormals.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { checkStateDict, type StateDict } from "../nn/module.ts";
import { check } from "../runtime/arguments.ts";
import { requireFraction } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";

/** Options for EMA. */
export interface EMAOptions {
  /** The fraction of the average that each update keeps, between 0 and 1. Default 0.999. */
  readonly decay?: number;
}

/**
 * Keeps an exponential moving average of parameters: each `update()` computes ā ← d·ā + (1 − d)·p. You can call it
 * inside a compiled step.
 *
 * ```ts
 * const ema = new optim.EMA(model.parameters(), { decay: 0.99 });
 * optimizer.minimize(() => losses.mse(model.forward(x), y));
 * ema.update();
 * ema.average(() => model.forward(x));   // with the averaged weights
 * ```
 * @throws TypeError if params are not tensors; RangeError if decay is not between 0 and 1
 */
export class EMA {
  static readonly kind: string = "EMA";
  /** The averaged parameters. */
  readonly params: readonly Tensor[];
  /** The averages, in the order of the parameters and with the same shapes. */
  readonly averages: readonly Tensor[];
  private readonly decay: number;

  constructor(params: Iterable<Tensor>, options: EMAOptions = {}) {
    check("EMA", arguments, "params:list {decay:number}");
    const { decay = 0.999 } = options;
    requireFraction("EMA", { decay });
    this.params = [...params];
    requireKind("EMA", "params", "tensors", this.params);
    this.decay = decay;
    this.averages = withGrad(false, () => tidy(() => this.params.map((p) => p.detach().clone().keep())));
  }

  /** Moves the averages towards the current parameters. */
  update(): void {
    currentRecorder()?.addFixed?.([...this.params, ...this.averages]);
    const updateAll = (): void =>
      this.params.forEach((p, i) => {
        const average = this.averages[i]!;
        average.copyFrom(flushDenormals(average.add(p.sub(average).mul(1 - this.decay))));
      });
    withGrad(false, () => withUndo(() => tidy(updateAll)));
  }

  /**
   * Runs f with the averages in place of the parameters, then restores the parameters.
   * @returns f's result
   * @throws TypeError if f is asynchronous
   */
  average<T>(f: () => T): T {
    const saved = this.params.map((p) => p.data);
    const assign = (values: readonly (Tensor | ArrayLike<number>)[]): void =>
      withGrad(false, () => this.params.forEach((p, i) => void p.copyFrom(values[i]!)));
    assign(this.averages);
    try {
      const result = f();
      requireSynchronous("EMA.average", result);
      return result;
    } finally {
      assign(saved);
    }
  }

  /** The averages, keyed by index, for saving. The tensors change with each update; clone() them to keep a snapshot. */
  stateDict(): StateDict {
    return Object.fromEntries(this.averages.map((average, i) => [String(i), average]));
  }

  /**
   * Loads averages. Checks everything first, so an error changes nothing.
   * @throws ShapeError if the averages do not fit the parameters
   */
  loadStateDict(state: StateDict): void {
    this.checkState(state)();
  }
  /** Checks saved averages. @returns a function that loads the averages and cannot fail @internal */
  checkState(state: StateDict): () => void {
    return checkStateDict(this.stateDict(), state).copy;
  }

  /** Frees the averages, but not the parameters. */
  dispose(): void {
    for (const average of this.averages) average.dispose();
  }
}
