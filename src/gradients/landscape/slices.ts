/** Pictures of a landscape: the loss along a direction, and over a plane of two. */
import { check } from "../../runtime/arguments.ts";
import { randomVector } from "../math/eigen.ts";
import { norm, plus, scale, unit, type Vector, vector } from "../math/vector.ts";
import type { Objective, Point } from "../objective.ts";
import { hessianExtremes } from "./landscape.ts";

/** The range of coordinates of a slice through the loss. */
export interface SliceOptions {
  /** How far to go, in lengths of the direction. Default −1 … 1. */
  readonly from?: number;
  /** The last coordinate of the grid. Default 1. */
  readonly to?: number;
  /** Points along each coordinate. Default 41 for a line, 21 for a plane. */
  readonly points?: number;
}

const grid = ({ from = -1, to = 1 }: SliceOptions, points: number): number[] =>
  Array.from({ length: points }, (_, i) => from + ((to - from) * i) / Math.max(1, points - 1));

/** The loss along θ + t·direction, from where the parameters are: [t, L]. They are put back. */
export function slice(objective: Objective, direction: Point, options: SliceOptions = {}): [t: number, loss: number][] {
  check("slice", arguments, "objective:objective direction:numbers {from:number to:number points:number}");
  objective.requireSize(direction);
  const [origin, d] = [objective.theta, vector(direction)];
  return grid(options, options.points ?? 41).map((t) => [t, objective.value(plus(origin, d, t))]);
}

/** A plane of losses. */
export interface Plane {
  /** Steps along both directions. */
  readonly ticks: readonly number[];
  /** losses[j][i] at θ + ticks[i]·u + ticks[j]·v. */
  readonly losses: readonly (readonly number[])[];
}

/** The loss over θ + a·u + b·v. The parameters are put back. */
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

/**
 * A random direction. "filter": each filter (the part of a weight that makes one output) as long as the filter of the model itself,
 * and none for biases and scales, so that pictures of different networks can be compared (Li et al. 2018, §4); "unit": of length 1.
 */
export function randomDirection(
  objective: Objective,
  options: {
    /** Scale the direction to its parameters, filter by filter, or to length 1 ("unit"). Default "filter". */
    normalize?: "filter" | "unit";
  } = {},
): Vector {
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

/** The two directions of the largest curvatures: what a plane of the steepest valleys is spanned by. */
export function topHessianDirections(objective: Objective): [Vector, Vector] {
  check("topHessianDirections", arguments, "objective:objective");
  const { largest } = hessianExtremes(objective, { count: 2 });
  return [largest[0]!.direction, largest.at(-1)!.direction];
}
