/** L-BFGS: Newton's method with a curvature learnt from the last steps. For smooth losses of a whole data set. */

import { withGrad } from "../core/context.ts";
import { tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { markListed } from "../nn/parameter.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, RangeError, requireRange, requireWhole } from "../runtime/errors.ts";
import { type LinePoint, RESOLUTION, strongWolfe } from "./lineSearch.ts";
import { foreign, given, lossOf, type OptimizerState } from "./optimizer.ts";
import { concatenated, dot, packed, savedOptions, unpacked } from "./vectors.ts";

/** Options of LBFGS. */
export interface LBFGSOptions {
  /** The length of the first step that a line search tries, or of every step without one. Default 1. */
  readonly lr?: number;
  /** Iterations of one minimize. Default 20. */
  readonly maxIter?: number;
  /** Evaluations of the loss in one minimize. Default 1.25·maxIter. */
  readonly maxEval?: number;
  /** It ends where no gradient is larger. Default 1e-7. */
  readonly toleranceGrad?: number;
  /** Or where the step or the loss change by less. Default 1e-9. */
  readonly toleranceChange?: number;
  /** Steps remembered. Default 100. */
  readonly historySize?: number;
  /** "strongWolfe", or null (default): every step of size lr. */
  readonly lineSearchFn?: "strongWolfe" | null;
}

const OPTIONS =
  "params:list {lr:number maxIter:number maxEval:number toleranceGrad:number toleranceChange:number historySize:number " +
  "lineSearchFn:string|null}";

const largest = (a: Float64Array): number => a.reduce((top, v) => Math.max(top, Math.abs(v)), 0);

/** A step s and the change of gradient y along it. */
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
    throw new RangeError(`LBFGS: lineSearchFn is "${lineSearchFn}", but must be "strongWolfe" or null.`);
}

/** −H·g by the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4), H starting from `scale`. */
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
 * L-BFGS (Liu and Nocedal 1989), as PyTorch's: each `minimize` takes up to maxIter iterations, for which it evaluates the loss as often
 * as it needs. Its vectors are float64 in JavaScript. It has neither groups nor schedules, and its loss runs eagerly.
 *
 * ```ts
 * const x = tensor([-1.2, 1], { requiresGrad: true });
 * const optimizer = new optim.LBFGS([x], { lineSearchFn: "strongWolfe", maxIter: 100 });
 * optimizer.minimize(() => rosenbrock(x));   // x is [1, 1]
 * ```
 */
export class LBFGS {
  static readonly kind: string = "LBFGS";
  /** The tensors that step moves. */
  readonly params: readonly Tensor[];
  private options: Required<LBFGSOptions>;
  /** What it has learnt from earlier steps. */
  private pairs: Pair[] = [];
  private scale = 1;
  private last: { d: Float64Array; t: number; g: Float64Array } | undefined;

  constructor(params: Iterable<Tensor>, options: LBFGSOptions = {}) {
    check("LBFGS", arguments, OPTIONS);
    this.params = [...params];
    if (!this.params.length || this.params.some((p) => !(p instanceof Tensor)))
      throw new Error("LBFGS: no parameters given, or not tensors. Pass model.parameters(); groups are not supported.");
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
      ...given(options),
    };
    validate(this.options);
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const p of this.params) p.clearGrad();
  }

  /** Moves the parameters towards the loss's minimum; if the loss throws, they stay where they were. @returns the loss before */
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
    for (let i = 1; i <= maxIter && largest(now.gradient) > toleranceGrad; i++) {
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
        const found = strongWolfe(at, start, first, toleranceChange / largest(d));
        evaluations += found.evaluations;
        t = found.point.t;
        now = found.point;
        this.moveTo(origin, d, t);
      } else if (i < maxIter) {
        now = at(t);
        evaluations++;
      } else this.moveTo(origin, d, t);
      this.last = { d, t, g: previous.gradient };
      if (evaluations >= maxEval || largest(d) * t <= toleranceChange) break;
      // A float32 loss may stand still long before its gradient does.
      const resolved = toleranceChange > RESOLUTION * Math.abs(now.loss) && (lineSearchFn || i < maxIter);
      if (resolved && Math.abs(now.loss - previous.loss) < toleranceChange) break;
    }
    return before;
  }

  /** Options and what earlier steps taught, for saving: vectors in float64, as bytes. The tensors are new. */
  stateDict(): OptimizerState {
    const { pairs, scale, last } = this;
    const vectors = {
      s: pairs.map(({ s }) => s),
      y: pairs.map(({ y }) => y),
      last: last ? [last.d, last.g] : [],
      numbers: [Float64Array.of(scale, last?.t ?? 0)],
    };
    return { groups: [{ ...this.options }], state: [packed(this.params, vectors)] };
  }

  /** Loads options and what was learnt. Everything is checked before anything is changed. @throws Error where they do not fit */
  loadStateDict(saved: OptimizerState): void {
    this.checkState(saved)();
  }
  /** @internal */
  checkState(saved: OptimizerState): () => void {
    const options = savedOptions("LBFGS", saved, this.options, 1);
    validate(options);
    const n = this.params.reduce((total, { size }) => total + size, 0);
    const lengths = { s: n, y: n, last: n, numbers: 2 };
    const { s, y, last, numbers } = unpacked("LBFGS", this.params, saved.state[0]!, lengths);
    const pairs = s.map((step, i) => ({ s: step, y: y[i]!, rho: 1 / dot(y[i] ?? [], step) }));
    const [scale = 0, t = 0] = numbers[0] ?? [];
    const isWhole =
      s.length === y.length &&
      s.length <= options.historySize &&
      (last.length === 0 || last.length === 2) &&
      [scale, ...pairs.map(({ rho }) => rho)].every((v) => v > 0 && v < Number.POSITIVE_INFINITY);
    if (!isWhole) throw foreign("LBFGS", "is not whole");
    return () => {
      this.options = options;
      this.pairs = pairs;
      this.scale = scale;
      this.last = last.length ? { d: last[0]!, t, g: last[1]! } : undefined;
    };
  }

  /** The next direction, and the step to try first, with what the last step taught. */
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

  /** The loss, and its gradient by all parameters as one vector. */
  private evaluate(loss: () => Tensor): { loss: number; gradient: Float64Array } {
    return tidy(() => {
      this.zeroGrad();
      const value = lossOf("LBFGS.minimize", withGrad(true, loss));
      value.backward();
      const parts = this.params.map((p) => p.grad?.data ?? new Float32Array(p.size));
      return { loss: value.item(), gradient: concatenated(parts) };
    });
  }
  private values(): Float64Array {
    return concatenated(this.params.map((p) => p.data));
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
