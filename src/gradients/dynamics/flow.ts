/**
 * Gradients as a dynamical system: the flow that gradient descent follows with small steps, the heavy ball that follows SGD with
 * momentum, and how far the discrete optimizers are from both.
 */

import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { blowUp, type IntegrateOptions, integrate, type Trajectory } from "../math/ode.ts";
import { concatenate, minus, norm, plus, type Vector, vector } from "../math/vector.ts";
import { Objective, type Point } from "../objective.ts";
import { logSlope } from "../sensitivities/differences.ts";

/** What flows fall in: a loss by its gradient. An objective (computed in float32) or a closed form in float64. */
export interface Potential {
  /** ∇L at θ. */
  gradient(theta: Vector): Point;
  /** Where it starts, if nothing else is said. */
  readonly theta?: Point;
}

interface Start {
  /** θ(0). Default: where the objective's parameters are, which stay there. */
  readonly start?: Point;
}

function startOf(name: string, { theta }: Potential, { start = theta }: Start): Vector {
  if (!start) throw new TypeError(`${name}: there is no start. Pass { start: [...] }, or an objective.`);
  return vector(start);
}

/**
 * Gradient flow θ̇ = −∇L(θ), which gradient descent with a rate η follows by Euler's steps of size η.
 *
 * ```ts
 * const { times, states } = gradientFlow(objective(model, loss), { duration: 5 });
 * gradientFlow({ gradient: (theta) => theta }, { start: [1, 2], duration: 1 }).states.at(-1);   // [1/e, 2/e]
 * ```
 * @throws TypeError without a start; what `integrate` throws
 */
export function gradientFlow(potential: Potential, options: IntegrateOptions & Start): Trajectory {
  check(
    "gradientFlow",
    arguments,
    "potential:potential {start:numbers duration!:number method:string step:number tolerance:any maxSteps:number times:numbers}",
  );
  const downhill = (_: number, theta: Vector): Vector => vector(potential.gradient(theta)).map((g) => -g);
  const { start: _, ...how } = options;
  return integrate(downhill, startOf("gradientFlow", potential, options), how);
}

/** Options of heavyBall. */
export interface HeavyBallOptions extends IntegrateOptions, Start {
  /** γ, 0 or more. */
  readonly friction: number;
  /** m, above 0. Default 1. */
  readonly mass?: number;
  /** θ̇(0). Default: at rest. */
  readonly velocity?: Point;
}

/** A path with the velocities on it. */
export interface HeavyBallTrajectory extends Trajectory {
  /** The velocity at each time. */
  readonly velocities: readonly Vector[];
}

/**
 * A ball with mass and friction in the landscape of the loss, m·θ̈ + γ·θ̇ = −∇L(θ), as the first-order system of θ and θ̇ (Polyak
 * 1964). Its energy ½m‖θ̇‖² + L falls by γ‖θ̇‖² per unit of time.
 *
 * ```ts
 * heavyBall(objective(model, loss), { friction: 0.5, duration: 10 }).states.at(-1);
 * ```
 * @throws RangeError, TypeError
 */
export function heavyBall(potential: Potential, options: HeavyBallOptions): HeavyBallTrajectory {
  check(
    "heavyBall",
    arguments,
    "potential:potential {start:numbers duration!:number friction!:number mass:number velocity:numbers method:string step:number tolerance:any maxSteps:number times:numbers}",
  );
  const { friction, mass = 1, velocity: push, start: _, ...how } = options;
  const start = startOf("heavyBall", potential, options);
  const n = start.length;
  const velocity = vector(push ?? new Float64Array(n));
  if (!(friction >= 0 && mass > 0))
    throw new RangeError(`heavyBall: friction ${friction} must be 0 or more, and mass ${mass} above 0.`);
  if (velocity.length !== n)
    throw new RangeError(`heavyBall: the velocity has ${velocity.length} numbers, but θ has ${n}.`);
  const field = (_: number, state: Vector): Vector => {
    const v = state.subarray(n);
    const g = potential.gradient(state.slice(0, n));
    return concatenate([v, v.map((vi, i) => -(friction * vi + g[i]!) / mass)]);
  };
  const { states, ...rest } = integrate(field, concatenate([start, velocity]), how);
  return { ...rest, states: states.map((s) => s.slice(0, n)), velocities: states.map((s) => s.slice(n)) };
}

/**
 * The heavy ball (of mass 1) that SGD with momentum follows. SGD's b ← μb + g, θ ← θ − lr·b is, without b,
 *
 *     θₖ₊₁ − 2θₖ + θₖ₋₁ = −(1 − μ)(θₖ − θₖ₋₁) − lr·∇L(θₖ);
 *
 * divided by h² = lr it is θ̈ = −γ·θ̇ − ∇L(θ) by differences with step h, where γ = (1 − μ)/h. So step k is at time k·√lr. Both
 * differ by O(h) as h → 0 with γ fixed (Polyak 1964; Qian 1999).
 * @param lr above 0 @param momentum μ in 0 … 1
 *
 * ```ts
 * heavyBallOf({ lr: 0.01, momentum: 0.9 });   // { step: 0.1, friction: 1 }
 * ```
 * @throws RangeError
 */
export function heavyBallOf(options: {
  /** SGD's learning rate. */
  lr: number;
  /** SGD's momentum. */
  momentum: number;
}): {
  /** The time that one step of SGD stands for, √lr. */
  step: number;
  /** The friction γ of the ball. */
  friction: number;
} {
  check("heavyBallOf", arguments, "{lr!:number momentum!:number}");
  const { lr, momentum } = options;
  requireRates("heavyBallOf", lr, momentum);
  const step = Math.sqrt(lr);
  return { step, friction: (1 - momentum) / step };
}

/**
 * SGD's arguments by which it follows a heavy ball of mass 1 with a given step: lr = h², μ = 1 − γh. See heavyBallOf.
 * @throws RangeError where γh is beyond 1: momentum would be negative
 */
export function momentumOf(options: {
  /** The time h of one step. */
  step: number;
  /** The ball's friction γ. */
  friction: number;
}): {
  /** The learning rate h² of SGD. */
  lr: number;
  /** The momentum 1 − γh of SGD. */
  momentum: number;
} {
  check("momentumOf", arguments, "{step!:number friction!:number}");
  const { step, friction } = options;
  if (!(step > 0 && friction >= 0 && step * friction <= 1))
    throw new RangeError(
      `momentumOf: step ${step} · friction ${friction} must be in 0 … 1. Take a step of at most ${1 / friction}.`,
    );
  return { lr: step ** 2, momentum: 1 - step * friction };
}

function requireRates(name: string, lr: number, momentum: number): void {
  if (!(lr > 0 && Number.isFinite(lr) && momentum >= 0 && momentum <= 1))
    throw new RangeError(`${name}: lr ${lr} must be above 0, and momentum ${momentum} in 0 … 1.`);
}

/** Options of discrete gradient descent. */
export interface DescentOptions extends Start {
  /** The learning rate. */
  readonly lr: number;
  /** μ. Default 0. */
  readonly momentum?: number;
  /** The number of steps to take. */
  readonly steps: number;
}

/**
 * What optim.SGD does, in float64: θ ← θ − lr·b, b ← μb + ∇L. Times are those of the flow that it follows: k·lr without momentum,
 * k·√lr with.
 *
 * ```ts
 * gradientDescent({ gradient: (theta) => theta }, { start: [1], lr: 0.5, steps: 2 }).states;   // [1], [0.5], [0.25]
 * ```
 * @throws RangeError where lr is so large that θ leaves the finite numbers
 */
export function gradientDescent(potential: Potential, options: DescentOptions): Trajectory {
  check("gradientDescent", arguments, "potential:potential {start:numbers lr!:number momentum:number steps!:number}");
  const { lr, momentum = 0, steps } = options;
  requireRates("gradientDescent", lr, momentum);
  if (!(Number.isInteger(steps) && steps >= 0))
    throw new RangeError(`gradientDescent: steps is ${steps}, but must be a whole number, 0 or more.`);
  const step = momentum ? Math.sqrt(lr) : lr;
  const states = [startOf("gradientDescent", potential, options)];
  let b: Vector = new Float64Array(states[0]!.length);
  for (let k = 0; k < steps; k++) {
    b = plus(vector(potential.gradient(states[k]!)), b, momentum);
    states.push(plus(states[k]!, b, -lr));
    if (!states[k + 1]!.every(Number.isFinite)) throw blowUp("gradientDescent", k, k * step, lr);
  }
  return { times: states.map((_, k) => k * step), states, evaluations: steps, steps, rejected: 0 };
}

/** Options of discretizationError. */
export interface DiscretizationOptions extends Start {
  /** The time that the flow is followed for. */
  readonly duration: number;
  /** Into how many steps the duration is cut. */
  readonly steps: readonly number[];
  /** euler: gradient descent, where there is no friction. rk4. momentum: SGD with momentum, against the heavy ball. */
  readonly method: "euler" | "rk4" | "momentum";
  /** With it the path is the heavy ball's, without it gradient flow's. `momentum` needs it. */
  readonly friction?: number;
  /**
   * Errors below it are of the arithmetic and do not count for the order. Default 10⁻⁵·(1 + ‖θ‖) for objectives, which are float32,
   * 10⁻¹¹·(1 + ‖θ‖) for closed forms.
   */
  readonly floor?: number;
}

/** The error of a method of steps against the exact flow. */
export interface DiscretizationError {
  /** [h, the largest distance from the exact path at any step]. */
  readonly points: readonly (readonly [step: number, error: number])[];
  /** The fitted slope of log error against log h: 1 for euler and momentum, 4 for rk4. NaN for fewer than two errors above the floor. */
  readonly order: number;
  /** The error below which rounding dominates. */
  readonly floor: number;
}

/**
 * How far a discrete path is from the continuous one, by step: against dopri5 with a tolerance below the floor.
 *
 * ```ts
 * discretizationError({ gradient: (x) => x }, { start: [1], duration: 1, steps: [10, 20, 40], method: "euler" }).order;   // 1.0
 * ```
 * @throws RangeError, TypeError
 */
export function discretizationError(potential: Potential, options: DiscretizationOptions): DiscretizationError {
  check(
    "discretizationError",
    arguments,
    "potential:potential {start:numbers duration!:number steps!:numbers method!:string friction:number floor:number}",
  );
  const { duration, steps, method, friction } = options;
  const start = startOf("discretizationError", potential, options);
  if (method === "momentum" && friction === undefined)
    throw new TypeError("discretizationError: momentum is held against the heavy ball. Pass { friction: … }.");
  const { floor = (potential instanceof Objective ? 1e-5 : 1e-11) * (1 + norm(start)) } = options;
  const solve = (how: Omit<IntegrateOptions, "duration">): Trajectory =>
    friction === undefined
      ? gradientFlow(potential, { start, duration, ...how })
      : heavyBall(potential, { start, duration, friction, ...how });
  const points = steps.map((count): [number, number] => {
    const step = duration / count;
    const { states } =
      method === "momentum"
        ? gradientDescent(potential, { start, steps: count, ...momentumOf({ step, friction: friction! }) })
        : solve({ method, step });
    const times = states.map((_, k) => (k < count ? k * step : duration));
    const exact = solve({ times, tolerance: floor / (potential instanceof Objective ? 100 : 1000) });
    return [step, Math.max(...states.map((state, k) => norm(minus(state, exact.states[k]!))))];
  });
  return { points, order: logSlope(points.filter(([, error]) => error > floor)), floor };
}
