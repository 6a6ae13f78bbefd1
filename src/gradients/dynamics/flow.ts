/**
 * Gradients as a dynamical system: the flow that gradient descent approximates, the heavy ball that SGD with momentum approximates, and
 * the errors of both approximations.
 */

import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { blowUp, type IntegrateOptions, integrate, type Trajectory } from "../math/ode.ts";
import { concatenate, minus, norm, plus, type Vector, vector } from "../math/vector.ts";
import { Objective, type Point } from "../objective.ts";
import { logSlope } from "../sensitivities/differences.ts";

/** A loss, given by its gradient: an objective (computed in float32) or a closed form in float64. */
export interface Potential {
  /** ∇L at θ. */
  gradient(theta: Vector): Point;
  /** The default start of a path. */
  readonly theta?: Point;
}

interface Start {
  /** θ(0). Default: the objective's parameters, which do not change. */
  readonly start?: Point;
}

function startOf(name: string, { theta }: Potential, { start = theta }: Start): Vector {
  if (!start) throw new TypeError(`${name}: the start is missing. Pass { start: [...] }, or an objective.`);
  return vector(start);
}

/**
 * Gradient flow θ̇ = −∇L(θ). Gradient descent with learning rate η is Euler's method for this equation, with step size
 * η.
 *
 * ```ts
 * const { times, states } = gradientFlow(objective(model, loss), { duration: 5 });
 * gradientFlow({ gradient: (theta) => theta }, { start: [1, 2], duration: 1 }).states.at(-1);   // [1/e, 2/e]
 * ```
 * @throws TypeError without a start; RangeError and ShapeError as in `integrate`
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

/** Options for heavyBall. */
export interface HeavyBallOptions extends IntegrateOptions, Start {
  /** The friction γ, 0 or more. */
  readonly friction: number;
  /** The mass m, above 0. Default 1. */
  readonly mass?: number;
  /** The initial velocity θ̇(0). Default: zeros. */
  readonly velocity?: Point;
}

/** A path, and the velocities along it. */
export interface HeavyBallTrajectory extends Trajectory {
  /** The velocity at each time. */
  readonly velocities: readonly Vector[];
}

/**
 * Computes the path of a ball with mass and friction in the loss landscape: m·θ̈ + γ·θ̇ = −∇L(θ), solved as a
 * first-order system in θ and θ̇ (Polyak 1964). Its energy ½m‖θ̇‖² + L falls by γ‖θ̇‖² per unit of time.
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
    throw new RangeError(`heavyBall: friction must be 0 or more and mass above 0, got ${friction} and ${mass}.`);
  if (velocity.length !== n)
    throw new RangeError(`heavyBall: velocity must have as many numbers as θ (${n}), got ${velocity.length}.`);
  const field = (_: number, state: Vector): Vector => {
    const v = state.subarray(n);
    const g = potential.gradient(state.slice(0, n));
    return concatenate([v, v.map((vi, i) => -(friction * vi + g[i]!) / mass)]);
  };
  const { states, ...rest } = integrate(field, concatenate([start, velocity]), how);
  return { ...rest, states: states.map((s) => s.slice(0, n)), velocities: states.map((s) => s.slice(n)) };
}

/**
 * The heavy ball of mass 1 that SGD with momentum approximates. Eliminating b from SGD's update b ← μb + g, θ ← θ − lr·b gives
 *
 *     θₖ₊₁ − 2θₖ + θₖ₋₁ = −(1 − μ)(θₖ − θₖ₋₁) − lr·∇L(θₖ).
 *
 * Divided by h² = lr, this is a finite-difference form of θ̈ = −γ·θ̇ − ∇L(θ) with step h and γ = (1 − μ)/h. Step k is
 * therefore at time k·√lr. The two paths differ by O(h) as h → 0 with γ fixed (Polyak 1964; Qian 1999).
 *
 * ```ts
 * heavyBallOf({ lr: 0.01, momentum: 0.9 });   // { step: 0.1, friction: 1 }
 * ```
 * @throws RangeError
 */
export function heavyBallOf(options: {
  /** SGD's learning rate, above 0. */
  lr: number;
  /** SGD's momentum μ, between 0 and 1. */
  momentum: number;
}): {
  /** The time √lr that one step of SGD covers. */
  step: number;
  /** The ball's friction γ. */
  friction: number;
} {
  check("heavyBallOf", arguments, "{lr!:number momentum!:number}");
  const { lr, momentum } = options;
  requireRates("heavyBallOf", lr, momentum);
  const step = Math.sqrt(lr);
  return { step, friction: (1 - momentum) / step };
}

/**
 * The learning rate and momentum with which SGD approximates a heavy ball of mass 1 with time step h: lr = h², μ = 1 −
 * γh. This is the inverse of heavyBallOf.
 * @throws RangeError if γh is above 1, because the momentum would be negative
 */
export function momentumOf(options: {
  /** The time h of one step. */
  step: number;
  /** The ball's friction γ. */
  friction: number;
}): {
  /** SGD's learning rate h². */
  lr: number;
  /** SGD's momentum 1 − γh. */
  momentum: number;
} {
  check("momentumOf", arguments, "{step!:number friction!:number}");
  const { step, friction } = options;
  if (!(step > 0 && friction >= 0 && step * friction <= 1))
    throw new RangeError(
      `momentumOf: step · friction must be in 0 … 1, got ${step} · ${friction}. Take a step of at most ${1 / friction}.`,
    );
  return { lr: step ** 2, momentum: 1 - step * friction };
}

function requireRates(name: string, lr: number, momentum: number): void {
  if (!(lr > 0 && Number.isFinite(lr) && momentum >= 0 && momentum <= 1))
    throw new RangeError(`${name}: lr must be above 0 and momentum in 0 … 1, got ${lr} and ${momentum}.`);
}

/** Options for discrete gradient descent. */
export interface DescentOptions extends Start {
  /** The learning rate. */
  readonly lr: number;
  /** The momentum μ. Default 0. */
  readonly momentum?: number;
  /** The number of steps to take. */
  readonly steps: number;
}

/**
 * Takes the steps of optim.SGD in float64: b ← μb + ∇L, θ ← θ − lr·b. Step k is at time k·lr without momentum, because
 * the steps approximate gradient flow, and at time k·√lr with momentum, because they approximate the heavy ball.
 *
 * ```ts
 * gradientDescent({ gradient: (theta) => theta }, { start: [1], lr: 0.5, steps: 2 }).states;   // [1], [0.5], [0.25]
 * ```
 * @throws RangeError if an option is out of range, or if lr is so large that θ becomes infinite or NaN
 */
export function gradientDescent(potential: Potential, options: DescentOptions): Trajectory {
  check("gradientDescent", arguments, "potential:potential {start:numbers lr!:number momentum:number steps!:number}");
  const { lr, momentum = 0, steps } = options;
  requireRates("gradientDescent", lr, momentum);
  if (!(Number.isInteger(steps) && steps >= 0))
    throw new RangeError(`gradientDescent: steps must be a whole number, 0 or more, got ${steps}.`);
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

/** Options for discretizationError. */
export interface DiscretizationOptions extends Start {
  /** The time at which the paths end. */
  readonly duration: number;
  /** The step counts to measure. Each divides the duration into that many steps. */
  readonly steps: readonly number[];
  /** euler: gradient descent, without friction. rk4: the Runge–Kutta method. momentum: SGD with momentum. */
  readonly method: "euler" | "rk4" | "momentum";
  /** The friction of the heavy ball. Without it, the exact path is gradient flow. Required for method "momentum". */
  readonly friction?: number;
  /**
   * Errors below this count as rounding errors, and `order` ignores them. Default 10⁻⁵·(1 + ‖θ‖) for objectives, which
   * use float32, and 10⁻¹¹·(1 + ‖θ‖) for closed forms.
   */
  readonly floor?: number;
}

/** The error of a discrete method compared with the exact path. */
export interface DiscretizationError {
  /** [h, error] pairs, where the error is the largest distance from the exact path at any step. */
  readonly points: readonly (readonly [step: number, error: number])[];
  /**
   * The fitted slope of log error against log h: 1 for euler and momentum, 4 for rk4. NaN if fewer than two errors are
   * above the floor.
   */
  readonly order: number;
  /** The error below which rounding dominates. */
  readonly floor: number;
}

/**
 * Measures how far a discrete path is from the continuous one, for several step sizes. Computes the continuous path
 * with dopri5 and a tolerance below the floor.
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
    throw new TypeError(
      'discretizationError: method "momentum" needs the friction of the heavy ball. Pass { friction: … }.',
    );
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
