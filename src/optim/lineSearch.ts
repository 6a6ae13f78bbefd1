/** A line search for the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 3.5 and 3.6). */

/** A point along a line: the step, the loss and its gradient there, and the slope. */
export interface LinePoint {
  readonly t: number;
  readonly loss: number;
  readonly gradient: Float64Array;
  readonly slope: number;
}

/** Sufficient decrease, and how flat it must get (equations 3.7). */
const [C1, C2] = [1e-4, 0.9];
const MAX_STEPS = 25;

/**
 * Differences of a float32 loss that say nothing, relatively: where losses agree to so much, slopes decide (the approximate
 * Wolfe conditions of Hager and Zhang 2005).
 */
export const RESOLUTION = 2 ** -22;

/** Where the cubic through two points with their slopes is least, kept within bounds (equation 3.59). */
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
 * A step along the line that satisfies the strong Wolfe conditions, or the best of what was tried.
 * @param at the loss and its gradient at a step
 * @param start the point of step 0
 * @param first the step to try first
 * @param smallest changes of the step below this end the search
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
  const tooHigh = (p: LinePoint): boolean => !(p.loss <= start.loss + C1 * p.t * start.slope + slack);
  const flat = (p: LinePoint): boolean => Math.abs(p.slope) <= -C2 * start.slope;
  /** The interval that holds a good step; undefined while it grows. */
  let interval: [LinePoint, LinePoint] | undefined;
  while (!interval && steps < MAX_STEPS) {
    if (tooHigh(now) || (steps > 1 && now.loss >= before.loss + slack)) interval = [before, now];
    else if (flat(now)) return { point: now, evaluations };
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
    // Twice near an end, or outside: a tenth away from it, so that the interval shrinks.
    const margin = 0.1 * (high - low);
    if (Math.min(high - t, t - low) < margin) {
      if (stuck || t >= high || t <= low) {
        t = Math.abs(t - high) < Math.abs(t - low) ? high - margin : low + margin;
        stuck = false;
      } else stuck = true;
    } else stuck = false;
    // Beyond where the loss is a number, its cubic says nothing.
    if (!Number.isFinite(t)) t = (low + high) / 2;
    const tried = at(t);
    evaluations++;
    steps++;
    if (tooHigh(tried) || tried.loss >= best.loss)
      [best, other] = tried.loss < best.loss ? [tried, best] : [best, tried];
    else {
      if (flat(tried)) return { point: tried, evaluations };
      if (tried.slope * (other.t - best.t) >= 0) other = best;
      best = tried;
    }
  }
  return { point: best, evaluations };
}
