/** The stability of a critical point under the flow, the heavy ball and their discrete steps, and how fast a path leaves it. */

import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { Complex } from "../math/complex.ts";
import type { Trajectory } from "../math/ode.ts";
import { minus, norm, slope, vector } from "../math/vector.ts";
import type { Point } from "../objective.ts";
import { heavyBallOf, momentumOf } from "./flow.ts";

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
