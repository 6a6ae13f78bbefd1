/** A line search for the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 3.5 and 3.6). */

/** A point along a line. */
export interface LinePoint {
  /** The step. */
  readonly t: number;
  readonly loss: number;
  readonly gradient: Float64Array;
  /** The directional derivative along the line. */
  readonly slope: number;
}

/** The constants of the sufficient decrease condition and the curvature condition (equations 3.7). */
const [C1, C2] = [1e-4, 0.9];
const MAX_STEPS = 25;

/**
 * The relative resolution of a float32 loss. Smaller differences between losses are rounding noise, so the slopes decide (the
 * approximate Wolfe conditions of Hager and Zhang 2005).
 */
export const RESOLUTION = 2 ** -22;

/** The minimizer of the cubic that interpolates two points and their slopes, clamped to bounds (equation 3.59). */
function cubicMinimum(a: LinePoint, b: LinePoint, low = Math.min(a.t, b.t), high = Math.max(a.t, b.t)): number {
  const d1 = a.slope + b.slope - (3 * (a.loss - b.loss)) / (a.t - b.t);
  const square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return (low + high) / 2;
  const d2 = Math.sqrt(square);
  const [p, q] = a.t <= b.t ? [a, b] : [b, a];
  const t = q.t - ((q.t - p.t) * (q.slope + d2 - d1)) / (q.slope - p.slope + 2 * d2);
  return Math.min(high, Math.max(low, t));
}

/**
 * Finds a step along the line that satisfies the strong Wolfe conditions, or else the best step tried.
 * @param at evaluates the loss and its gradient at a step
 * @param start the point at step 0
 * @param first the step to try first
 * @param smallest the search ends once the interval is shorter than this
 */
export function strongWolfe(
  at: (t: number) => LinePoint,
  start: LinePoint,
  first: number,
  smallest: number,
): { point: LinePoint; evaluations: number } {
  let steps = 0;
  let now = at(first);
  let evaluations = 1;
  let before = start;
  const slack = RESOLUTION * Math.abs(start.loss);
  const isTooHigh = (p: LinePoint): boolean => !(p.loss <= start.loss + C1 * p.t * start.slope + slack);
  const isFlat = (p: LinePoint): boolean => Math.abs(p.slope) <= -C2 * start.slope;
  /** An interval containing a step that satisfies the strong Wolfe conditions; undefined during bracketing. */
  let interval: [LinePoint, LinePoint] | undefined;
  while (!interval && steps < MAX_STEPS) {
    if (isTooHigh(now) || (steps > 1 && now.loss >= before.loss + slack)) interval = [before, now];
    else if (isFlat(now)) return { point: now, evaluations };
    else if (now.slope >= 0) interval = [before, now];
    else {
      const t = cubicMinimum(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10);
      before = now;
      now = at(t);
      evaluations++;
      steps++;
    }
  }
  interval ??= [start, now];

  let [best, other] = !(interval[1].loss < interval[0].loss) ? interval : [interval[1], interval[0]];
  let stuck = false;
  while (steps < MAX_STEPS && Math.abs(best.t - other.t) >= smallest) {
    const [low, high] = [Math.min(best.t, other.t), Math.max(best.t, other.t)];
    let t = cubicMinimum(best, other);
    // If t is near an end twice in a row, or outside the interval, move it inside by a tenth of the interval, so that
    // the interval shrinks.
    const margin = 0.1 * (high - low);
    if (Math.min(high - t, t - low) < margin) {
      if (stuck || t >= high || t <= low) {
        t = Math.abs(t - high) < Math.abs(t - low) ? high - margin : low + margin;
        stuck = false;
      } else stuck = true;
    } else stuck = false;
    // If the loss at an end is not finite, the cubic has no finite minimum: bisect instead.
    if (!Number.isFinite(t)) t = (low + high) / 2;
    const tried = at(t);
    evaluations++;
    steps++;
    if (isTooHigh(tried) || tried.loss >= best.loss)
      [best, other] = tried.loss < best.loss ? [tried, best] : [best, tried];
    else {
      if (isFlat(tried)) return { point: tried, evaluations };
      if (tried.slope * (other.t - best.t) >= 0) other = best;
      best = tried;
    }
  }
  return { point: best, evaluations };
}
