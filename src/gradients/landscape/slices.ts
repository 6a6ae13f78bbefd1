/** Slices of the loss landscape for plots: along one direction, or over the plane that two directions span. */
import { check } from "../../runtime/arguments.ts";
import { randomVector } from "../math/eigen.ts";
import { norm, plus, scale, unit, type Vector, vector } from "../math/vector.ts";
import type { Objective, Point } from "../objective.ts";
import { hessianExtremes } from "./landscape.ts";

/** The coordinate range of a slice through the loss. */
export interface SliceOptions {
  /** The first step, in units of the direction's length. Default -1. */
  readonly from?: number;
  /** The last step, in units of the direction's length. Default 1. */
  readonly to?: number;
  /** The number of points along each direction. Default 41 for a line, 21 for a plane. */
  readonly points?: number;
}

const grid = ({ from = -1, to = 1 }: SliceOptions, points: number): number[] =>
  Array.from({ length: points }, (_, i) => from + ((to - from) * i) / Math.max(1, points - 1));

/**
 * The loss along θ + t·direction, where θ are the current parameters, which keep their values.
 * @returns pairs [t, loss]
 * @throws ShapeError
 */
export function slice(objective: Objective, direction: Point, options: SliceOptions = {}): [t: number, loss: number][] {
  check("slice", arguments, "objective:objective direction:numbers {from:number to:number points:number}");
  objective.requireSize(direction);
  const [origin, d] = [objective.theta, vector(direction)];
  return grid(options, options.points ?? 41).map((t) => [t, objective.value(plus(origin, d, t))]);
}

/** The losses at the points of a grid on a plane. */
export interface Plane {
  /** The steps along both directions. */
  readonly ticks: readonly number[];
  /** losses[j][i] at θ + ticks[i]·u + ticks[j]·v. */
  readonly losses: readonly (readonly number[])[];
}

/**
 * The loss over θ + a·u + b·v, where θ are the current parameters, which keep their values.
 * @param u [n]
 * @param v [n]
 * @throws ShapeError
 */
export function plane(objective: Objective, u: Point, v: Point, options: SliceOptions = {}): Plane {
  check("plane", arguments, "objective:objective u:numbers v:numbers {from:number to:number points:number}");
  for (const direction of [u, v]) objective.requireSize(direction);
  const origin = objective.theta;
  const [a, b] = [vector(u), vector(v)];
  const ticks = grid(options, options.points ?? 21);
  return {
    ticks,
    losses: ticks.map((t) => ticks.map((s) => objective.value(plus(plus(origin, a, s), b, t)))),
  };
}

export interface DirectionOptions {
  /**
   * "filter" scales each filter (the weights of one output) to the norm of the same filter in the model, and zeroes
   * biases and scales, so that plots of different networks are comparable (Li et al. 2018, §4). "unit" scales the
   * direction to length 1. Default "filter".
   */
  normalize?: "filter" | "unit";
}

/** A random Gaussian direction in the space of θ: [n]. */
export function randomDirection(objective: Objective, options: DirectionOptions = {}): Vector {
  check("randomDirection", arguments, "objective:objective {normalize:string}");
  const { normalize = "filter" } = options;
  const d = randomVector(objective.size);
  if (normalize === "unit") return unit(d);
  const theta = objective.theta;
  objective.parameters.forEach(({ shape, size }, i) => {
    const offset = objective.offsets[i]!;
    if (shape.length < 2) {
      d.fill(0, offset, offset + size);
      return;
    }
    const width = size / shape[0]!;
    for (let from = offset; from < offset + size; from += width) {
      const own = d.subarray(from, from + width);
      own.set(scale(unit(own), norm(theta.subarray(from, from + width))));
    }
  });
  return d;
}

/** The eigenvectors for the Hessian's two largest eigenvalues, each [n]. They span the plane of highest curvature. */
export function topHessianDirections(objective: Objective): [Vector, Vector] {
  check("topHessianDirections", arguments, "objective:objective");
  const { largest } = hessianExtremes(objective, { count: 2 });
  return [largest[0]!.direction, largest.at(-1)!.direction];
}
