/**
 * Gradients as a dynamical system: the flow that gradient descent follows with small steps, the heavy ball that momentum makes of it,
 * how far the discrete optimizers are from both, and what decides whether a critical point holds or lets go.
 */

import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { Complex } from "../math/complex.ts";
import { blowUp, type IntegrateOptions, integrate, type Trajectory } from "../math/ode.ts";
import { concatenate, minus, norm, plus, slope, type Vector, vector } from "../math/vector.ts";
import { Objective, type Point } from "../objective.ts";
import { logSlope } from "../sensitivities/differences.ts";

/** What flows fall in: a loss by its gradient. An objective (which reckons in float32), or a closed form in float64. */
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

/** Whether a small push dies out, stays, or grows. */
export type StabilityVerdict = "stable" | "marginal" | "unstable";

/** What happens near a critical point. */
export interface Behaviour {
  /** Whether steps near the critical point converge, oscillate or escape. */
  readonly verdict: StabilityVerdict;
  /** How fast the logarithm of the distance grows along the fastest direction: per unit of time, or per step. 0 if none grows. */
  readonly escapeRate: number;
}
/** What a discrete optimizer does there. */
export interface DiscreteBehaviour extends Behaviour {
  /** The lr from which on the direction of the largest curvature is no longer stable. Infinity where no curvature is above 0. */
  readonly largestStep: number;
}

/** One of the Hessian's eigenvalues h, and what becomes of a push along its direction. */
export interface Mode {
  /** λ, the eigenvalue of the Hessian along this direction. */
  readonly curvature: number;
  /** e^{rate·t} under gradient flow: −h. */
  readonly flow: number;
  /** e^{λt} under the heavy ball: both roots of λ² + γλ + h = 0, that of larger real part first. */
  readonly heavyBall: readonly [Complex, Complex];
  /** The factor of each step of gradient descent: 1 − lr·h. NaN without lr. */
  readonly descent: number;
  /** The factors of SGD with momentum: both roots of z² − (1 + μ − lr·h)·z + μ = 0, the larger first. Undefined without lr. */
  readonly momentum: readonly [Complex, Complex] | undefined;
}

/** What a critical point does to the flow, to a heavy ball and to their discrete steps. */
export interface Stability {
  /** One for each direction of curvature. */
  readonly modes: readonly Mode[];
  /** The behaviour of gradient flow. */
  readonly flow: Behaviour;
  /** The behaviour of a heavy ball. */
  readonly heavyBall: Behaviour;
  /** Per step, with lr; undefined without. */
  readonly descent: DiscreteBehaviour | undefined;
  /** The behaviour of SGD with momentum; undefined without lr. */
  readonly momentum: DiscreteBehaviour | undefined;
}

/** Options of stability. */
export interface StabilityOptions {
  /** γ of the heavy ball of mass 1. Default: that of lr and momentum, by heavyBallOf. */
  readonly friction?: number;
  /** The learning rate of the discrete steps. Default: only the flow and the ball are examined. */
  readonly lr?: number;
  /** μ. Default: that of friction and lr, by momentumOf. */
  readonly momentum?: number;
  /** Growth of this size or less, per unit of time or per step, counts as none. Default 10⁻¹². */
  readonly tolerance?: number;
}

/**
 * The stability of a critical point by its Hessian's eigenvalues, under the flow, the heavy ball, and (given lr) the discrete optimizers.
 *
 * A direction of curvature h < 0 is left at the rate |h| by gradient flow and at the positive root of λ² + γλ − |h| = 0 by the heavy
 * ball; per unit of their own times the ball is faster only if |h| + γ < 1. But a step of SGD without momentum is lr of the flow's
 * time, one with momentum √lr of the ball's: per step and at the same lr, momentum μ > 0 is faster for every h < 0.
 * Along h > 0, gradient descent is stable for lr < 2/h, momentum for lr < 2(1 + μ)/h.
 *
 * ```ts
 * stability([2, -2], { lr: 0.01, momentum: 0.9 }).flow;        // unstable, at rate 2
 * stability([2, -2], { friction: 1 }).heavyBall.escapeRate;    // 1
 * ```
 * @throws RangeError, TypeError
 */
export function stability(curvatures: Point, options: StabilityOptions): Stability {
  check("stability", arguments, "curvatures:numbers {friction:number lr:number momentum:number tolerance:number}");
  const { lr, tolerance = 1e-12 } = options;
  const { friction, momentum } = ratesOf(options);
  if (!curvatures.length) throw new RangeError("stability: there are no curvatures. Pass the Hessian's eigenvalues.");
  const modes = Array.from(
    curvatures,
    (h): Mode => ({
      curvature: h,
      flow: -h,
      heavyBall: roots(friction, h, ({ re }) => re),
      descent: lr === undefined ? Number.NaN : 1 - lr * h,
      momentum: lr === undefined ? undefined : roots(-(1 + momentum - lr * h), momentum, modulus),
    }),
  );
  const behaviour = (growth: (mode: Mode) => number): Behaviour => {
    const fastest = Math.max(...modes.map(growth));
    const verdict = fastest > tolerance ? "unstable" : fastest < -tolerance ? "stable" : "marginal";
    return { verdict, escapeRate: Math.max(0, fastest) };
  };
  const steepest = Math.max(...modes.map((mode) => mode.curvature));
  const discrete = (limit: number, growth: (mode: Mode) => number): DiscreteBehaviour | undefined =>
    lr === undefined
      ? undefined
      : { ...behaviour(growth), largestStep: steepest > 0 ? limit / steepest : Number.POSITIVE_INFINITY };
  return {
    modes,
    flow: behaviour((mode) => mode.flow),
    heavyBall: behaviour((mode) => mode.heavyBall[0].re),
    descent: discrete(2, (mode) => Math.log(Math.abs(mode.descent))),
    momentum: discrete(2 * (1 + momentum), (mode) => Math.log(modulus(mode.momentum![0]))),
  };
}

const modulus = ({ re, im }: Complex): number => Math.hypot(re, im);

function ratesOf({ lr, friction, momentum }: StabilityOptions): { friction: number; momentum: number } {
  if (friction !== undefined && !(friction >= 0))
    throw new RangeError(`stability: friction is ${friction}, but must be 0 or more.`);
  if (lr === undefined) {
    if (friction === undefined) throw new TypeError("stability: pass { friction }, or { lr, momentum }.");
    return { friction, momentum: momentum ?? Number.NaN };
  }
  if (momentum === undefined && friction !== undefined)
    return { friction, momentum: momentumOf({ step: Math.sqrt(lr), friction }).momentum };
  const ofMomentum = heavyBallOf({ lr, momentum: momentum ?? 0 });
  return { friction: friction ?? ofMomentum.friction, momentum: momentum ?? 0 };
}

/** Both roots of x² + px + q = 0, that of larger `size` first, neither as a difference of near numbers. */
function roots(p: number, q: number, size: (z: Complex) => number): [Complex, Complex] {
  const discriminant = p * p - 4 * q;
  const half = Math.sqrt(Math.abs(discriminant)) / 2;
  if (discriminant < 0) return [new Complex(-p / 2, half), new Complex(-p / 2, -half)];
  const far = p >= 0 ? -p / 2 - half : -p / 2 + half;
  const pair: [Complex, Complex] = [new Complex(far), new Complex(far ? q / far : 0)];
  return size(pair[0]) >= size(pair[1]) ? pair : [pair[1], pair[0]];
}

/** Options of escapeRate. */
export interface EscapeRateOptions {
  /** The critical point. */
  readonly from: Point;
  /** The part of the path to look at: after what dies out, and before the curvature is another. Default: its second half. */
  readonly within?: readonly [from: number, to: number];
}

/**
 * How fast a path leaves a point: the slope of log ‖θ − point‖ against time, by least squares. Near a saddle it is `stability`'s
 * escapeRate, once the other directions have died out.
 *
 * ```ts
 * escapeRate(gradientFlow(saddle, { start: [1, 1e-6], duration: 5 }), { from: [0, 0] });
 * ```
 * @throws RangeError where fewer than two distances above 0 are left
 */
export function escapeRate(trajectory: Pick<Trajectory, "times" | "states">, options: EscapeRateOptions): number {
  check("escapeRate", arguments, "trajectory:object {from!:numbers within:pair}");
  const { times, states } = trajectory;
  const { from, within: [first, last] = [times.at(-1)! / 2, times.at(-1)!] } = options;
  const points = times.flatMap((t, i): [number, number][] => {
    const distance = norm(minus(states[i]!, vector(from)));
    return t >= first && t <= last && distance > 0 ? [[t, Math.log(distance)]] : [];
  });
  if (points.length < 2)
    throw new RangeError(
      `escapeRate: ${points.length} of ${times.length} states are away from the point within ${first} … ${last}. ` +
        "Ask for more times, and start beside the point.",
    );
  return slope(points);
}
