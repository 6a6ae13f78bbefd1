/** The stability of a critical point under gradient flow, the heavy ball and the discrete optimizers, and how fast a path leaves it. */

import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { Complex } from "../math/complex.ts";
import type { Trajectory } from "../math/ode.ts";
import { minus, norm, slope, vector } from "../math/vector.ts";
import type { Point } from "../objective.ts";
import { heavyBallOf, momentumOf } from "./flow.ts";

/** Whether a small perturbation decays, persists or grows. */
export type StabilityVerdict = "stable" | "marginal" | "unstable";

/** The behaviour of a path near a critical point. */
export interface Behaviour {
  /** Whether the critical point is stable. */
  readonly verdict: StabilityVerdict;
  /**
   * How fast the logarithm of the distance grows along the direction of fastest growth, per unit of time or per step. 0
   * if the distance grows in no direction.
   */
  readonly escapeRate: number;
}
/** The behaviour of a discrete optimizer near a critical point. */
export interface DiscreteBehaviour extends Behaviour {
  /** The lr at which the direction of largest curvature becomes unstable. Infinity if no curvature is above 0. */
  readonly largestStep: number;
}

/** One eigenvalue h of the Hessian, and the growth of a perturbation along its eigenvector. */
export interface Mode {
  /** The eigenvalue h. */
  readonly curvature: number;
  /** The growth rate under gradient flow, −h: the perturbation is proportional to e^{−ht}. */
  readonly flow: number;
  /** The growth rates λ under the heavy ball: both roots of λ² + γλ + h = 0, with the larger real part first. */
  readonly heavyBall: readonly [Complex, Complex];
  /** The factor by which each step of gradient descent multiplies the perturbation, 1 − lr·h. NaN without lr. */
  readonly descent: number;
  /**
   * The corresponding factors for SGD with momentum: both roots of z² − (1 + μ − lr·h)·z + μ = 0, with the larger
   * modulus first. Undefined without lr.
   */
  readonly momentum: readonly [Complex, Complex] | undefined;
}

/** The stability of a critical point under gradient flow, the heavy ball and the discrete optimizers. */
export interface Stability {
  /** One mode for each eigenvalue. */
  readonly modes: readonly Mode[];
  /** The behaviour of gradient flow. */
  readonly flow: Behaviour;
  /** The behaviour of a heavy ball. */
  readonly heavyBall: Behaviour;
  /** The behaviour of gradient descent; undefined without lr. */
  readonly descent: DiscreteBehaviour | undefined;
  /** The behaviour of SGD with momentum; undefined without lr. */
  readonly momentum: DiscreteBehaviour | undefined;
}

/** Options for stability. */
export interface StabilityOptions {
  /** The friction γ of the heavy ball, whose mass is 1. Default: computed from lr and momentum with heavyBallOf. */
  readonly friction?: number;
  /** The learning rate of the discrete optimizers. If you omit it, only the flow and the ball are analysed. */
  readonly lr?: number;
  /** The momentum μ. Default: computed from friction and lr with momentumOf. */
  readonly momentum?: number;
  /** Growth rates of at most this magnitude, per unit of time or per step, count as 0. Default 10⁻¹². */
  readonly tolerance?: number;
}

/**
 * Determines the stability of a critical point from its Hessian's eigenvalues, under gradient flow, the heavy ball and,
 * if you pass lr, the discrete optimizers.
 *
 * Along a direction of curvature h < 0, gradient flow escapes at the rate |h|, and the heavy ball at the positive root
 * of λ² + γλ − |h| = 0. Measured in the time of the differential equations, the ball is faster only if |h| + γ < 1. But
 * one step of SGD covers a time of lr without momentum (gradient flow) and of √lr with momentum (the ball). At the same
 * lr, any momentum μ > 0 therefore escapes in fewer steps for every h < 0. Along h > 0, gradient descent is stable for
 * lr < 2/h, and momentum for lr < 2(1 + μ)/h.
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
  if (!curvatures.length) throw new RangeError("stability: curvatures is empty. Pass the Hessian's eigenvalues.");
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
    throw new RangeError(`stability: friction must be 0 or more, got ${friction}.`);
  if (lr === undefined) {
    if (friction === undefined)
      throw new TypeError("stability: friction and lr are both missing. Pass { friction }, or { lr, momentum }.");
    return { friction, momentum: momentum ?? Number.NaN };
  }
  if (momentum === undefined && friction !== undefined)
    return { friction, momentum: momentumOf({ step: Math.sqrt(lr), friction }).momentum };
  const ofMomentum = heavyBallOf({ lr, momentum: momentum ?? 0 });
  return { friction: friction ?? ofMomentum.friction, momentum: momentum ?? 0 };
}

/** Both roots of x² + px + q = 0, computed without cancellation. The root with the larger `size` comes first. */
function roots(p: number, q: number, size: (z: Complex) => number): [Complex, Complex] {
  const discriminant = p * p - 4 * q;
  const half = Math.sqrt(Math.abs(discriminant)) / 2;
  if (discriminant < 0) return [new Complex(-p / 2, half), new Complex(-p / 2, -half)];
  const far = p >= 0 ? -p / 2 - half : -p / 2 + half;
  const pair: [Complex, Complex] = [new Complex(far), new Complex(far ? q / far : 0)];
  return size(pair[0]) >= size(pair[1]) ? pair : [pair[1], pair[0]];
}

/** Options for escapeRate. */
export interface EscapeRateOptions {
  /** The critical point. */
  readonly from: Point;
  /**
   * The time span to fit. It should start after the path's components along all other directions have decayed, and end
   * before the curvature changes. Default: the second half of the path.
   */
  readonly within?: readonly [from: number, to: number];
}

/**
 * The speed at which a path leaves a point: the least-squares slope of log ‖θ − point‖ against time. Near a saddle,
 * this equals the escapeRate of `stability` once the path's components along all other directions have decayed.
 *
 * ```ts
 * escapeRate(gradientFlow(saddle, { start: [1, 1e-6], duration: 5 }), { from: [0, 0] });
 * ```
 * @throws RangeError if fewer than two states in the time span differ from the point
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
      `escapeRate: at least two states within ${first} … ${last} must differ from the point, got ${points.length} of ` +
        `${times.length}. Sample more times, and start near the point, not on it.`,
    );
  return slope(points);
}
