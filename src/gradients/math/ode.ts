/**
 * Solves θ̇ = f(t, θ) in float64 with explicit Runge–Kutta methods: a table of methods, and one driver that takes fixed
 * steps or, if the method estimates its error, adaptive ones. This file does not depend on losses.
 */
import { check } from "../../runtime/arguments.ts";
import { quote, RangeError, ShapeError } from "../../runtime/errors.ts";
import type { Point } from "../objective.ts";
import { minus, type Vector, vector } from "./vector.ts";

/** A function f(t, θ) that returns the velocity θ̇. The function must not modify θ. */
export type VectorField = (t: number, theta: Vector) => Point;

/** Euler's method, the classical Runge–Kutta method, or Dormand and Prince's method with adaptive steps. */
export type IntegrationMethod = "euler" | "rk4" | "dopri5";

/** The error that an adaptive step may make. */
export interface Tolerance {
  /** The error allowed for an element in each step, regardless of the element's size. */
  readonly absolute: number;
  /** The additional error allowed, relative to the element's size. */
  readonly relative: number;
}

/** Options for integrate. */
export interface IntegrateOptions {
  /**
   * euler: order 1, one evaluation per step. rk4: the classical method of order 4, four evaluations per step. dopri5: order 5 with steps
   * as large as the tolerance allows (Dormand and Prince 1980), six evaluations per step. Default dopri5.
   */
  readonly method?: IntegrationMethod;
  /** The time at which the path ends, above 0. The path starts at t = 0. */
  readonly duration: number;
  /**
   * The step size of euler and rk4; the last step is shorter if the duration is not a multiple of this size. For
   * dopri5, the first step to try.
   */
  readonly step?: number;
  /** The error that dopri5 may make in each step. A number sets both the absolute and the relative tolerance. Default 10⁻⁸. */
  readonly tolerance?: number | Partial<Tolerance>;
  /** The maximum number of steps, including rejected ones. Default 100,000. */
  readonly maxSteps?: number;
  /**
   * The times at which to return states, in ascending order, between 0 and the duration. States inside a step are
   * interpolated. Default: the start and the end of each step.
   */
  readonly times?: readonly number[];
}

/** A path: its states over time, and the cost of computing them. */
export interface Trajectory {
  /** The time of each state. */
  readonly times: readonly number[];
  /** θ at each time. */
  readonly states: readonly Vector[];
  /** The number of calls to f. */
  readonly evaluations: number;
  /** The number of accepted steps. */
  readonly steps: number;
  /** The number of steps that exceeded the tolerance and were retried with a smaller step size. */
  readonly rejected: number;
}

/** Stage s is kₛ = f(t + cₛ·h, θ + h·Σⱼ aₛⱼ·kⱼ); the step ends at θ + h·Σ bₛ·kₛ. */
interface Tableau {
  readonly c: readonly number[];
  readonly a: readonly (readonly number[])[];
  readonly b: readonly number[];
  /** The step's error is h·Σ eₛ·kₛ. The last k is f at the end of the step, which is the first k of the next step. */
  readonly e?: readonly number[];
  /** The interpolant's term beyond the cubic: h·Σ dₛ·kₛ. */
  readonly d?: readonly number[];
}

const tableaus: Readonly<Record<IntegrationMethod, Tableau>> = {
  euler: { c: [0], a: [[]], b: [1] },
  rk4: { c: [0, 1 / 2, 1 / 2, 1], a: [[], [1 / 2], [0, 1 / 2], [0, 0, 1]], b: [1 / 6, 1 / 3, 1 / 3, 1 / 6] },
  dopri5: {
    c: [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1],
    a: [
      [],
      [1 / 5],
      [3 / 40, 9 / 40],
      [44 / 45, -56 / 15, 32 / 9],
      [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
      [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    b: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    e: [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40],
    d: [
      -12715105075 / 11282082432,
      0,
      87487479700 / 32700410799,
      -10690763975 / 1880347072,
      701980252875 / 199316789632,
      -1453857185 / 822651844,
      69997945 / 29380423,
    ],
  },
};

/** base + h·Σ factorsⱼ·kⱼ. */
function addWeighted(base: Vector, h: number, factors: readonly number[], k: readonly Vector[]): Vector {
  const sum = base.slice();
  factors.forEach((factor, j) => {
    if (factor) for (let i = 0; i < sum.length; i++) sum[i]! += h * factor * k[j]![i]!;
  });
  return sum;
}

const allFinite = (v: Vector): boolean => v.every(Number.isFinite);

type Slope = (t: number, theta: Vector) => Vector;

/**
 * A step from the state `from` at time `t` to the state `to` at time `end`. Evaluates the slope at the end on first
 * use.
 */
class Step {
  readonly to: Vector;
  private readonly k: Vector[];
  private readonly h: number;

  constructor(
    private readonly tableau: Tableau,
    private readonly slope: Slope,
    readonly t: number,
    readonly end: number,
    readonly from: Vector,
    first: Vector,
  ) {
    const { a, b, c } = tableau;
    this.h = end - t;
    this.k = [first];
    for (let s = 1; s < c.length; s++) this.k.push(slope(t + c[s]! * this.h, addWeighted(from, this.h, a[s]!, this.k)));
    this.to = addWeighted(from, this.h, b, this.k);
  }

  get slopeAtEnd(): Vector {
    return (this.k[this.tableau.c.length] ??= this.slope(this.end, this.to));
  }

  /**
   * The estimated error divided by the tolerance. The step is acceptable if this is at most 1. Infinity if θ or its
   * slope is not finite.
   */
  error(tolerance: Tolerance): number {
    if (!allFinite(this.to) || !allFinite(this.slopeAtEnd)) return Number.POSITIVE_INFINITY;
    const error = addWeighted(new Float64Array(this.to.length), this.h, this.tableau.e!, this.k);
    return scaledNorm(error, this.from, this.to, tolerance);
  }

  /**
   * θ at a time within the step: the cubic that matches the values and slopes at both ends, plus a term for dopri5 that
   * makes the interpolation accurate to order 4 (Hairer, Nørsett and Wanner 1993, §II.6).
   */
  at(time: number): Vector {
    const { from, to, h, slopeAtEnd, k, tableau } = this;
    const beyond = addWeighted(new Float64Array(to.length), h, tableau.d ?? [], k);
    const s = (time - this.t) / h;
    return from.map((y, i) => {
      const change = to[i]! - y;
      const left = h * k[0]![i]! - change;
      const right = change - h * slopeAtEnd[i]! - left;
      return y + s * (change + (1 - s) * (left + s * (right + (1 - s) * beyond[i]!)));
    });
  }
}

/** The root mean square of vᵢ/(absolute + relative·max(|fromᵢ|, |toᵢ|)). */
function scaledNorm(v: Vector, from: Vector, to: Vector, { absolute, relative }: Tolerance): number {
  let total = 0;
  for (let i = 0; i < v.length; i++)
    total += (v[i]! / (absolute + relative * Math.max(Math.abs(from[i]!), Math.abs(to[i]!)))) ** 2;
  return Math.sqrt(total / (v.length || 1));
}

/**
 * Chooses the next step's size from the errors of this step and, with less weight, the previous one: PI control (Hairer
 * et al. 1993, §II.4).
 */
class StepControl {
  private static readonly BETA = 0.04;
  private static readonly ALPHA = 1 / 5 - 0.75 * StepControl.BETA;
  private last = 1e-4;
  private rejected = false;

  constructor(public size: number) {}

  /** Updates the step size, given the error of a step of length h. @returns whether to accept that step */
  accepts(error: number, h: number): boolean {
    const { ALPHA, BETA } = StepControl;
    const wasRejected = this.rejected;
    this.rejected = !(error <= 1);
    const factor = (0.9 * (this.rejected ? 1 : this.last ** BETA)) / error ** ALPHA;
    this.size = h * Math.min(wasRejected ? 1 : 10, Math.max(0.2, factor));
    if (!this.rejected) this.last = Math.max(error, 1e-4);
    return !this.rejected;
  }
}

/**
 * A first step size at which the error of Euler's method is about a hundredth of the tolerance (Hairer et al. 1993,
 * §II.4).
 */
function firstStep(slope: Slope, theta: Vector, first: Vector, tolerance: Tolerance, duration: number): number {
  const normOf = (v: Vector): number => scaledNorm(v, theta, theta, tolerance);
  const [size, speed] = [normOf(theta), normOf(first)];
  const guess = Math.min(duration, size < 1e-5 || speed < 1e-5 ? 1e-6 : (0.01 * size) / speed);
  const there = slope(guess, addWeighted(theta, guess, [1], [first]));
  const steepest = Math.max(speed, normOf(minus(there, first)) / guess);
  if (!Number.isFinite(steepest)) return guess;
  const byOrder = steepest <= 1e-15 ? Math.max(1e-6, guess * 1e-3) : (0.01 / steepest) ** (1 / 5);
  return Math.min(duration, 100 * guess, byOrder);
}

/**
 * Integrates θ̇ = f(t, θ) from θ(0) = start.
 *
 * ```ts
 * integrate((_, x) => x.map((v) => -v), [1], { duration: 1 }).states.at(-1);                     // [0.36787944…]
 * integrate((t) => [Math.cos(t)], [0], { duration: 3, method: "rk4", step: 0.1, times: [1, 2] });
 * ```
 * @param start [n]
 * @throws RangeError if an option is out of range, θ becomes infinite or NaN, or maxSteps is too small
 * @throws ShapeError if f's result is not as long as θ
 */
export function integrate(field: VectorField, start: Point, options: IntegrateOptions): Trajectory {
  check(
    "integrate",
    arguments,
    "field:function start:numbers {duration!:number method:string step:number tolerance:any maxSteps:number times:numbers}",
  );
  const { method = "dopri5", duration, maxSteps = 100_000 } = options;
  const tableau = requireOptions(options);
  const tolerance = toleranceOf(options);
  const count = { evaluations: 0, steps: 0, rejected: 0 };
  const slope: Slope = (t, theta) => {
    count.evaluations++;
    const velocity = vector(field(t, theta));
    if (velocity.length !== theta.length)
      throw new ShapeError(
        `integrate: the field must return as many numbers as θ has (${theta.length}), got ${velocity.length} at t = ${t}.`,
      );
    return velocity;
  };
  let [t, theta] = [0, vector(start)];
  let first = slope(t, theta);
  if (!allFinite(theta) || !allFinite(first))
    throw new RangeError("integrate: the start, or the field there, is not finite. Start where the field is defined.");
  const path = new Path(options.times, theta);
  const fixed = tableau.e ? undefined : options.step;
  const control = new StepControl(options.step ?? firstStep(slope, theta, first, tolerance, duration));
  while (t < duration) {
    if (count.steps + count.rejected >= maxSteps) throw tooManySteps(method, maxSteps, t, duration);
    const h = control.size;
    const next = fixed === undefined ? t + h : (count.steps + 1) * fixed;
    // Extend this step to the end if only a rounding error would remain.
    const end = next + 1e-10 * h >= duration ? duration : next;
    // If t barely advances (by less than Hairer's limit of 10 rounding units), the steps are shrinking towards a
    // singularity.
    if (end < duration && !(end - t > 10 * 2 ** -52 * t)) throw blowUp(method, count.steps, t, h);
    const step = new Step(tableau, slope, t, end, theta, first);
    if (fixed === undefined) {
      if (!control.accepts(step.error(tolerance), end - t)) {
        count.rejected++;
        continue;
      }
    } else if (!allFinite(step.to)) throw blowUp(method, count.steps, end, h);
    count.steps++;
    path.record(step);
    [t, theta] = [end, step.to];
    if (t < duration) first = step.slopeAtEnd;
  }
  return { times: path.times, states: path.states, ...count };
}

/** Collects the states that integrate returns. */
class Path {
  readonly times: number[] = [];
  readonly states: Vector[] = [];

  constructor(
    private readonly wanted: readonly number[] | undefined,
    start: Vector,
  ) {
    if (!wanted) this.add(0, start);
    else while (this.next === 0) this.add(0, start);
  }

  record(step: Step): void {
    if (!this.wanted) this.add(step.end, step.to);
    else while (this.next <= step.end) this.add(this.next, this.next < step.end ? step.at(this.next) : step.to);
  }

  private get next(): number {
    return this.wanted?.[this.times.length] ?? Number.POSITIVE_INFINITY;
  }
  private add(time: number, state: Vector): void {
    this.times.push(time);
    this.states.push(state);
  }
}

function tooManySteps(method: IntegrationMethod, maxSteps: number, t: number, duration: number): RangeError {
  const adaptive = tableaus[method].e !== undefined;
  return new RangeError(
    `integrate: ${method} took ${maxSteps} steps and reached only t = ${t} of ${duration}. Raise maxSteps, or ` +
      `${adaptive ? "loosen the tolerance: stiff or rough fields need small steps" : "take a larger step"}.`,
  );
}

/** The error for a path whose values become infinite or NaN. */
export function blowUp(method: string, steps: number, t: number, step: number): RangeError {
  return new RangeError(
    `${method}: θ is not finite after ${steps} steps, near t = ${t} (step ${step}). ` +
      "Take smaller steps. If that does not help, the path itself diverges: stop earlier.",
  );
}

function toleranceOf({ tolerance = 1e-8 }: IntegrateOptions): Tolerance {
  const both = typeof tolerance === "number" ? { absolute: tolerance, relative: tolerance } : tolerance;
  const { absolute = 1e-8, relative = 1e-8 } = both;
  if (!(absolute > 0 && relative >= 0))
    throw new RangeError(
      `integrate: tolerance must be above 0 (absolute) and at least 0 (relative), got ${absolute} and ${relative}.`,
    );
  return { absolute, relative };
}

function requireOptions({ method = "dopri5", duration, step, times, maxSteps = 100_000 }: IntegrateOptions): Tableau {
  const tableau: Tableau | undefined = tableaus[method];
  if (!tableau)
    throw new RangeError(`integrate: method must be one of ${Object.keys(tableaus).join(", ")}, got ${quote(method)}.`);
  if (!(duration > 0 && Number.isFinite(duration)))
    throw new RangeError(`integrate: duration must be finite and above 0, got ${duration}.`);
  if (step === undefined ? !tableau.e : !(step > 0))
    throw new RangeError(
      `integrate: step must be above 0 for ${method}, got ${step}. Pass a step, or use dopri5, which chooses its steps.`,
    );
  if (!(maxSteps >= 1)) throw new RangeError(`integrate: maxSteps must be at least 1, got ${maxSteps}.`);
  times?.forEach((time, i) => {
    if (!(time >= (times[i - 1] ?? 0) && time <= duration))
      throw new RangeError(`integrate: times must ascend within 0 … ${duration}, got ${time} at index ${i}.`);
  });
  return tableau;
}
