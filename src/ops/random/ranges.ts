/** Computes the elements of arange and linspace in float64, and checks their arguments. */
import { RangeError, requireRange } from "../../runtime/errors.ts";

/** More elements than this never fit into linear memory. */
const TOO_MANY = 2 ** 32;

function formula(op: string, n: number, value: (i: number) => number): Float64Array {
  if (n > TOO_MANY) throw new RangeError(`${op}: ${n} elements do not fit in memory. Request fewer.`);
  const values = new Float64Array(n);
  for (let i = 0; i < n; i++) values[i] = value(i);
  return values;
}

/**
 * The numbers `from`, `from + step`, … below `to` (above `to` for a negative step). There are ⌈(to − from)/step⌉ of
 * them. A quotient within rounding error of an integer counts as that integer: from 1 to 1.3 in steps of 0.1, there are
 * three numbers.
 * @throws RangeError if the steps never reach `to`
 */
export function rangeValues(op: string, from: number, to: number, step: number): Float64Array {
  requireRange(op, { start: from, end: to }, Number.isFinite, "finite");
  const quotient = (to - from) / step;
  if (!Number.isFinite(quotient)) throw new RangeError(`${op}: step ${step} never reaches ${to} from ${from}.`);
  const nearest = Math.round(quotient);
  const rounding = Number.EPSILON * ((Math.abs(from) + Math.abs(to)) / Math.abs(step) + Math.abs(quotient));
  const n = Math.abs(quotient - nearest) <= rounding ? nearest : Math.ceil(quotient);
  return formula(op, Math.max(0, n), (i) => from + i * step);
}

/**
 * n evenly spaced numbers from start to end. The first half is computed from start and the second half from end, so
 * both ends are exact. The formula multiplies before it divides, so that whole numbers are exact.
 * @throws RangeError
 */
export function evenValues(op: string, start: number, end: number, n: number): Float64Array {
  requireRange(op, { start, end }, Number.isFinite, "finite");
  requireRange(op, { n }, (v) => Number.isInteger(v) && v >= 0, "a whole number, at least 0");
  const [length, last] = [end - start, n - 1];
  return formula(op, n, (i) =>
    i < n / 2 || n === 1 ? start + (i && (length * i) / last) : end - (i < last ? (length * (last - i)) / last : 0),
  );
}
