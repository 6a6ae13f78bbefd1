/**
 * Compares two trees by alternating runs, A B A B … A. Ratios cancel the machine's drift, and comparing A with itself
 * measures the noise. All functions are pure: they turn rows into comparisons, and comparisons into text.
 */
import { median, type Row } from "./measure.ts";
import { figure, table } from "./report.ts";

/** The rows that one process of a tree printed. */
export type Rows = readonly Row[];

/** The comparison of a row that both trees print. Ratios compare times, so B is slower if a ratio is above 1. */
export interface Comparison {
  readonly suite: string;
  readonly case: string;
  readonly impl: string;
  readonly unit: string;
  /** A's median over all turns, in the row's unit. */
  readonly a: number;
  /** B's median over all turns, in the row's unit. */
  readonly b: number;
  /** B's time divided by the geometric mean of A's times in the turns before and after: the median over B's turns. */
  readonly ratio: number;
  /** A's time divided by A's time in the previous turn: the median over A's turns, which is 1 apart from noise. */
  readonly self: number;
  /** The largest deviation of `self` from 1, at 95 % confidence. */
  readonly noise: number;
  /** The relative slowdown of B to tolerate, in addition to the noise. */
  readonly allowed: number;
  readonly verdict: "slower" | "faster" | "";
}

/** The relative slowdown to tolerate, in addition to the noise. */
const ALLOWED = 0.03;
/** The difference in process startup time to tolerate, in microseconds, in addition to the noise. */
const ALLOWED_START = 1000;
/** The suite whose rows time whole processes. */
export const START = "start";

/**
 * The 95 % confidence interval of a median, by order statistics: for 15 values, from the fourth to the twelfth. For fewer than six
 * values, the interval spans all of them.
 */
export function medianInterval(values: readonly number[]): [low: number, high: number] {
  const sorted = [...values].sort((x, y) => x - y);
  const n = sorted.length;
  // Find the largest k for which P(fewer than k of n values lie below the median) = Σ C(n, i)/2ⁿ, over i < k, is at most 2.5 %.
  let k = 0;
  let term = 0.5 ** n;
  for (let sum = term; sum <= 0.025; sum += term) {
    k++;
    term *= (n - k + 1) / k;
  }
  const at = Math.max(0, k - 1);
  return [sorted[at]!, sorted[n - 1 - at]!];
}

const keyOf = ({ suite, case: name, impl }: Row): string => JSON.stringify([suite, name, impl]);

/** A row's time per call, up to a constant factor. For a rate, returns the inverse. */
const timeOf = ({ unit, median: value }: Row): number => (unit === "GFLOP/s" ? 1 / value : value);

/** The rows of all turns, grouped by case and contender. Leaves out rows that are missing in any turn. */
function byRow(turns: readonly Rows[]): Map<string, Row[]> {
  const all = new Map<string, Row[]>();
  for (const rows of turns) {
    for (const row of rows) {
      const key = keyOf(row);
      all.set(key, [...(all.get(key) ?? []), row]);
    }
  }
  return new Map([...all].filter(([, rows]) => rows.length === turns.length));
}

/**
 * Compares the rows of two trees. A runs first and last, so `a` must have one more turn than `b`.
 * @throws RangeError if `a` does not have one more turn than `b`, or if `b` is empty
 */
export function compare(a: readonly Rows[], b: readonly Rows[]): Comparison[] {
  if (a.length !== b.length + 1 || !b.length)
    throw new RangeError(`compare: A must have one more turn than B, got ${a.length} and ${b.length}.`);
  const others = byRow(b);
  return [...byRow(a)].flatMap(([key, rows]) => {
    const theirs = others.get(key);
    const first = rows[0]!;
    // Leave the row out if its unit has changed: a time and a rate cannot be compared.
    if (!theirs || theirs[0]!.unit !== first.unit) return [];
    const [own, other] = [rows.map(timeOf), theirs.map(timeOf)];
    const ratio = median(other.map((time, i) => time / Math.sqrt(own[i]! * own[i + 1]!)));
    const selves = other.map((_, i) => own[i + 1]! / own[i]!);
    const noise = Math.max(...medianInterval(selves).map((v) => Math.abs(v - 1)));
    const allowed = first.suite === START ? ALLOWED_START / median(own) : ALLOWED;
    const verdict = ratio > 1 + allowed + noise ? "slower" : ratio < 1 - allowed - noise ? "faster" : "";
    const { suite, case: name, impl, unit } = first;
    const [medianA, medianB] = [rows, theirs].map((list) => median(list.map((row) => row.median))) as [number, number];
    return [
      { suite, case: name, impl, unit, a: medianA, b: medianB, ratio, self: median(selves), noise, allowed, verdict },
    ];
  });
}

/** The rows that only one of the trees prints, as `suite case impl`. */
export function unmatched(a: readonly Rows[], b: readonly Rows[]): { a: string[]; b: string[] } {
  const [own, others] = [byRow(a), byRow(b)];
  const only = (x: Map<string, Row[]>, y: Map<string, Row[]>): string[] =>
    [...x].filter(([key]) => !y.has(key)).map(([, [row]]) => `${row!.suite} ${row!.case} ${row!.impl}`);
  return { a: only(own, others), b: only(others, own) };
}

const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;
const signedPercent = (v: number): string => `${v >= 1 ? "+" : "−"}${percent(Math.abs(v - 1))}`;

/** A suite's table. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  let last = "";
  const lines = comparisons.map((c) => {
    const name = c.case === last ? "" : c.case;
    last = c.case;
    return [
      name,
      c.impl,
      figure(c.a),
      figure(c.b),
      c.unit,
      signedPercent(c.ratio),
      signedPercent(c.self),
      `±${percent(c.noise)}`,
      c.verdict,
    ];
  });
  return table([["case", "impl", "A", "B", "unit", "B/A time", "A/A time", "noise", ""], ...lines]);
}

/** Summarizes all rows: how many are slower, and which. */
export function summaryLine(comparisons: readonly Comparison[]): string {
  const slower = comparisons.filter(({ verdict }) => verdict === "slower");
  const rule = "slower by more than 3 % (a start: 1 ms) plus noise";
  if (!slower.length) return `None of ${comparisons.length} rows is ${rule}.`;
  const names = slower.map((c) => `${c.suite} ${c.case} ${c.impl} (${signedPercent(c.ratio)})`);
  return `${slower.length} of ${comparisons.length} rows are ${rule}:\n  ${names.join("\n  ")}`;
}
