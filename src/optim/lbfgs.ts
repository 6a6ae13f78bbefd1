/**
 * L-BFGS: a quasi-Newton method that estimates curvature from recent steps. Use it for smooth losses over a whole data
 * set.
 */

import { withGrad } from "../core/context.ts";
import { tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { markListed } from "../nn/parameter.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, RangeError, requireRange, requireWhole } from "../runtime/errors.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { type LinePoint, RESOLUTION, strongWolfe } from "./lineSearch.ts";
import { requireLoss } from "./loss.ts";
import { type OptimizerState, stateError } from "./optimizerState.ts";
import { concatenate, dot, packVectors, readOptions, unpackVectors } from "./vectors.ts";

/** Options for LBFGS. */
export interface LBFGSOptions {
  /** The learning rate, above 0: the step size, or the first step size that the line search tries. Default 1. */
  readonly lr?: number;
  /** The maximum number of iterations per call to minimize. Default 20. */
  readonly maxIter?: number;
  /** Iteration stops once a call to minimize has evaluated the loss this many times. Default ⌊1.25·maxIter⌋. */
  readonly maxEval?: number;
  /** Iteration stops once no element of the gradient has a magnitude above this number, which must be ≥ 0. Default 1e-7. */
  readonly toleranceGrad?: number;
  /** Iteration stops once the step or the change in the loss is smaller than this number, which must be ≥ 0. Default 1e-9. */
  readonly toleranceChange?: number;
  /** The number of past steps that the curvature estimate uses. Default 100. */
  readonly historySize?: number;
  /** "strongWolfe" searches along each direction; null takes steps of size lr. Default null. */
  readonly lineSearchFn?: "strongWolfe" | null;
}

const OPTIONS =
  "params:list {lr:number maxIter:number maxEval:number toleranceGrad:number toleranceChange:number historySize:number " +
  "lineSearchFn:string|null}";

const maxAbs = (a: Float64Array): number => a.reduce((top, v) => Math.max(top, Math.abs(v)), 0);

/** A step s, the change y of the gradient along it, and ρ = 1/(yᵀs). */
interface Pair {
  readonly s: Float64Array;
  readonly y: Float64Array;
  readonly rho: number;
}

function validate({
  lr,
  maxIter,
  maxEval,
  historySize,
  toleranceGrad,
  toleranceChange,
  lineSearchFn,
}: Required<LBFGSOptions>): void {
  requireRange("LBFGS", { lr }, (v) => v > 0, "a number above 0");
  requireWhole("LBFGS", { maxIter, historySize });
  requireRange("LBFGS", { maxEval }, (v) => v >= 1, "at least 1");
  requireRange("LBFGS", { toleranceGrad, toleranceChange }, (v) => v >= 0, "≥ 0");
  if (lineSearchFn !== null && lineSearchFn !== "strongWolfe")
    throw new RangeError(`LBFGS: lineSearchFn must be "strongWolfe" or null, got "${lineSearchFn}".`);
}

/** −H·g, computed with the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4), starting from H = scale·I. */
function direction(g: Float64Array, pairs: readonly Pair[], scale: number): Float64Array {
  const q = g.map((v) => -v);
  const alphas = new Array<number>(pairs.length);
  for (let i = pairs.length - 1; i >= 0; i--) {
    const { s, y, rho } = pairs[i]!;
    alphas[i] = rho * dot(s, q);
    for (let j = 0; j < q.length; j++) q[j]! -= alphas[i]! * y[j]!;
  }
  for (let j = 0; j < q.length; j++) q[j]! *= scale;
  pairs.forEach(({ s, y, rho }, i) => {
    const beta = rho * dot(y, q);
    for (let j = 0; j < q.length; j++) q[j]! += s[j]! * (alphas[i]! - beta);
  });
  return q;
}

/**
 * L-BFGS (Liu and Nocedal 1989), as in PyTorch: each `minimize` takes up to maxIter iterations and can evaluate the
 * loss several times per iteration. Vectors are float64 arrays in JavaScript. Groups and schedules are not supported,
 * and the loss runs in eager mode.
 *
 * ```ts
 * const x = tensor([-1.2, 1], { requiresGrad: true });
 * const optimizer = new optim.LBFGS([x], { lineSearchFn: "strongWolfe", maxIter: 100 });
 * optimizer.minimize(() => rosenbrock(x));   // x is [1, 1]
 * ```
 * @throws Error if params are not tensors; RangeError for an invalid option
 */
export class LBFGS {
  static readonly kind: string = "LBFGS";
  /** The optimized parameters. */
  readonly params: readonly Tensor[];
  private options: Required<LBFGSOptions>;
  /** The history of steps, oldest first. */
  private pairs: Pair[] = [];
  private scale = 1;
  private last: { d: Float64Array; t: number; g: Float64Array } | undefined;

  constructor(params: Iterable<Tensor>, options: LBFGSOptions = {}) {
    check("LBFGS", arguments, OPTIONS);
    this.params = [...params];
    if (!this.params.length || this.params.some((p) => !(p instanceof Tensor)))
      throw new Error("LBFGS: params must be a list of tensors. Pass model.parameters(); groups are not supported.");
    markListed(this.params);
    const { maxIter = 20 } = options;
    this.options = {
      lr: 1,
      maxIter,
      maxEval: Math.floor(1.25 * maxIter),
      toleranceGrad: 1e-7,
      toleranceChange: 1e-9,
      historySize: 100,
      lineSearchFn: null,
      ...withoutUndefined(options),
    };
    validate(this.options);
  }

  /** Clears the gradients of all parameters. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const p of this.params) p.clearGrad();
  }

  /**
   * Moves the parameters towards a minimum of the loss. If the loss function throws, parameters and history are unchanged.
   * @param loss computes the loss, a tensor with shape []
   * @returns the loss before the first step
   * @throws TypeError, ShapeError or Error if the loss is not a single number that depends on parameters
   */
  minimize(loss: () => Tensor): number {
    check("LBFGS.minimize", arguments, "loss:function");
    const [values, pairs, scale, last] = [this.values(), [...this.pairs], this.scale, this.last];
    try {
      return withUndo(() => this.iterate(loss));
    } catch (error) {
      this.moveTo(values, new Float64Array(values.length), 0);
      Object.assign(this, { pairs, scale, last });
      this.zeroGrad();
      throw error;
    }
  }

  private iterate(loss: () => Tensor): number {
    const { lr, maxIter, maxEval, toleranceGrad, toleranceChange, historySize, lineSearchFn } = this.options;
    let now = this.evaluate(loss);
    const before = now.loss;
    let evaluations = 1;
    for (let i = 1; i <= maxIter && maxAbs(now.gradient) > toleranceGrad; i++) {
      const { d, t: first } = this.next(now.gradient, historySize, lr);
      const slope = dot(now.gradient, d);
      if (!(slope <= -toleranceChange)) {
        this.last = { d, t: first, g: now.gradient };
        break;
      }
      const start: LinePoint = { ...now, t: 0, slope };
      const origin = this.values();
      const at = (t: number): LinePoint => {
        this.moveTo(origin, d, t);
        const { loss: value, gradient } = this.evaluate(loss);
        return { t, loss: value, gradient, slope: dot(gradient, d) };
      };
      let t = first;
      const previous = now;
      if (lineSearchFn) {
        const found = strongWolfe(at, start, first, toleranceChange / maxAbs(d));
        evaluations += found.evaluations;
        t = found.point.t;
        now = found.point;
        this.moveTo(origin, d, t);
      } else if (i < maxIter) {
        now = at(t);
        evaluations++;
      } else this.moveTo(origin, d, t);
      this.last = { d, t, g: previous.gradient };
      if (evaluations >= maxEval || maxAbs(d) * t <= toleranceChange) break;
      // A float32 loss can stop changing long before its gradient vanishes, so skip this check if the tolerance is
      // below the loss's resolution.
      const resolved = toleranceChange > RESOLUTION * Math.abs(now.loss) && (lineSearchFn || i < maxIter);
      if (resolved && Math.abs(now.loss - previous.loss) < toleranceChange) break;
    }
    return before;
  }

  /** Options and history, for saving. The history's float64 vectors are stored as bytes, in new tensors. */
  stateDict(): OptimizerState {
    const { pairs, scale, last } = this;
    const vectors = {
      s: pairs.map(({ s }) => s),
      y: pairs.map(({ y }) => y),
      last: last ? [last.d, last.g] : [],
      numbers: [Float64Array.of(scale, last?.t ?? 0)],
    };
    return { groups: [{ ...this.options }], state: [packVectors(this.params, vectors)] };
  }

  /**
   * Loads options and history. Checks everything first, so an error changes nothing.
   * @throws Error if the options or the history do not fit the optimizer
   */
  loadStateDict(saved: OptimizerState): void {
    this.checkState(saved)();
  }
  /** Checks a saved state. @returns a function that loads the state and cannot fail @internal */
  checkState(saved: OptimizerState): () => void {
    const options = readOptions("LBFGS", saved, this.options, 1);
    validate(options);
    const n = this.params.reduce((total, { size }) => total + size, 0);
    const lengths = { s: n, y: n, last: n, numbers: 2 };
    const { s, y, last, numbers } = unpackVectors("LBFGS", this.params, saved.state[0]!, lengths);
    const pairs = s.map((step, i) => ({ s: step, y: y[i]!, rho: 1 / dot(y[i] ?? [], step) }));
    const [scale = 0, t = 0] = numbers[0] ?? [];
    const isComplete =
      s.length === y.length &&
      s.length <= options.historySize &&
      (last.length === 0 || last.length === 2) &&
      [scale, ...pairs.map(({ rho }) => rho)].every((v) => v > 0 && v < Number.POSITIVE_INFINITY);
    if (!isComplete) throw stateError("LBFGS", "is incomplete");
    return () => {
      this.options = options;
      this.pairs = pairs;
      this.scale = scale;
      this.last = last.length ? { d: last[0]!, t, g: last[1]! } : undefined;
    };
  }

  /** Adds the last step to the history. @returns the next direction, and the step to try first */
  private next(g: Float64Array, historySize: number, lr: number): { d: Float64Array; t: number } {
    if (!this.last) {
      const sum = g.reduce((total, v) => total + Math.abs(v), 0);
      return { d: g.map((v) => -v), t: Math.min(1, 1 / sum) * lr };
    }
    const { d, t, g: before } = this.last;
    const y = g.map((v, i) => v - before[i]!);
    const s = d.map((v) => v * t);
    const ys = dot(y, s);
    if (ys > 1e-10) {
      if (this.pairs.length === historySize) this.pairs.shift();
      this.pairs.push({ s, y, rho: 1 / ys });
      this.scale = ys / dot(y, y);
    }
    return { d: direction(g, this.pairs, this.scale), t: lr };
  }

  /** The loss, and its gradient with respect to all parameters as one vector. */
  private evaluate(loss: () => Tensor): { loss: number; gradient: Float64Array } {
    return tidy(() => {
      this.zeroGrad();
      const value = requireLoss("LBFGS.minimize", withGrad(true, loss));
      value.backward();
      const parts = this.params.map((p) => p.grad?.data ?? new Float32Array(p.size));
      return { loss: value.item(), gradient: concatenate(parts) };
    });
  }
  private values(): Float64Array {
    return concatenate(this.params.map((p) => p.data));
  }
  private moveTo(origin: Float64Array, d: Float64Array, t: number): void {
    let from = 0;
    withGrad(false, () => {
      for (const p of this.params) {
        const start = from;
        p.copyFrom(Float32Array.from({ length: p.size }, (_, i) => origin[start + i]! + t * d[start + i]!));
        from += p.size;
      }
    });
  }
}
