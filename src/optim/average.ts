/** Averages of weights over training. */

import { currentRecorder, withGrad } from "../core/context.ts";
import { flushDenormals } from "../core/denormals.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { fitted, type StateDict } from "../nn/module.ts";
import { check } from "../runtime/arguments.ts";
import { requireFraction } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";

/**
 * An exponential moving average of parameters: ā ← d·ā + (1 − d)·p at each `update()`, which may stand inside a compiled step.
 *
 * ```ts
 * const ema = new optim.EMA(model.parameters(), { decay: 0.99 });
 * optimizer.minimize(() => losses.mse(model.forward(x), y));
 * ema.update();
 * ema.average(() => model.forward(x));   // by the averaged weights
 * ```
 */
export class EMA {
  static readonly kind: string = "EMA";
  /** The tensors that are averaged. */
  readonly params: readonly Tensor[];
  /** In the parameters' order. */
  readonly averages: readonly Tensor[];
  private readonly decay: number;

  constructor(
    params: Iterable<Tensor>,
    options: {
      /** How much of the average each update keeps, from 0 to 1. Default 0.999. */
      readonly decay?: number;
    } = {},
  ) {
    check("EMA", arguments, "params:list {decay:number}");
    const { decay = 0.999 } = options;
    requireFraction("EMA", { decay });
    this.params = [...params];
    requireKind("EMA", "params", "tensors", this.params);
    this.decay = decay;
    this.averages = withGrad(false, () => tidy(() => this.params.map((p) => p.detach().clone().keep())));
  }

  /** Moves each average towards its parameter: a ← decay·a + (1 − decay)·p. */
  update(): void {
    currentRecorder()?.addFixed?.([...this.params, ...this.averages]);
    const work = (): void =>
      this.params.forEach((p, i) => {
        const average = this.averages[i]!;
        average.copyFrom(flushDenormals(average.add(p.sub(average).mul(1 - this.decay))));
      });
    withGrad(false, () => withUndo(() => tidy(work)));
  }

  /** Runs f with the averages in the parameters' place, and puts the parameters back. */
  average<T>(f: () => T): T {
    const kept = this.params.map((p) => p.data);
    const put = (values: readonly (Tensor | ArrayLike<number>)[]): void =>
      withGrad(false, () => this.params.forEach((p, i) => void p.copyFrom(values[i]!)));
    put(this.averages);
    try {
      const result = f();
      requireSynchronous("EMA.average", result);
      return result;
    } finally {
      put(kept);
    }
  }

  /** The averages by their place, for saving: they are its own, clone() what is to stay as it is. */
  stateDict(): StateDict {
    return Object.fromEntries(this.averages.map((average, i) => [String(i), average]));
  }

  /** Loads averages. Everything is checked before anything is changed. @throws ShapeError where they do not fit */
  loadStateDict(state: StateDict): void {
    this.checkState(state)();
  }
  /** @internal */
  checkState(state: StateDict): () => void {
    return fitted(this.stateDict(), state).copy;
  }

  /** Frees the averages. Using them afterwards throws a DisposedError. */
  dispose(): void {
    for (const average of this.averages) average.dispose();
  }
}
