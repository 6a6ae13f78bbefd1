/** Derivatives by finite differences with a step h, their errors, and the step with the smallest error. */

import { check } from "../../runtime/arguments.ts";
import { quote, RangeError, TypeError } from "../../runtime/errors.ts";
import { Complex } from "../math/complex.ts";
import { slope } from "../math/vector.ts";

/** Machine epsilon: the distance from 1 to the next float64 or float32. */
export const EPSILON64 = 2 ** -52;
export const EPSILON32 = 2 ** -23;

/** Options for finite differences. */
export interface DifferenceOptions {
  /** "forward": (f(x + h) − f(x))/h, error O(h); "central": (f(x + h) − f(x − h))/2h, error O(h²). Default "central". */
  readonly method?: "forward" | "central";
  /** The step h, above 0. Default: the step that `bestStep` returns. */
  readonly step?: number;
  /** The relative error of f's values, from which the default step is computed. Default 2⁻⁵² (float64). For a float32 f, pass 2⁻²³. */
  readonly epsilon?: number;
}

/** @throws RangeError */
function requireMethod(op: string, method: string, methods: readonly string[] = ["forward", "central"]): void {
  if (!methods.includes(method))
    throw new RangeError(`${op}: method must be one of ${methods.join(", ")}, got ${quote(method)}.`);
}

/**
 * The step that balances truncation and rounding errors, relative to max(1, |x|): √ε for forward differences, ∛ε for central ones (Press
 * et al. 2007, §5.7), rounded so that (x + h) − x = h.
 * @throws RangeError for an unknown method
 */
export function bestStep(x: number, options: DifferenceOptions = {}): number {
  check("bestStep", arguments, "x:number {method:string epsilon:number step:number}");
  const { method = "central", epsilon = EPSILON64 } = options;
  requireMethod("bestStep", method);
  const h = epsilon ** (method === "forward" ? 1 / 2 : 1 / 3) * Math.max(1, Math.abs(x));
  return x + h - x;
}

/**
 * f′(x) by finite differences.
 *
 * ```ts
 * finiteDifference(Math.exp, 0);   // 1.00000000001
 * ```
 * @throws RangeError for an unknown method or a step that is not above 0
 */
export function finiteDifference(f: (x: number) => number, x: number, options: DifferenceOptions = {}): number {
  check("finiteDifference", arguments, "f:function x:number {method:string step:number epsilon:number}");
  const { method = "central", step = bestStep(x, options) } = options;
  requireMethod("finiteDifference", method);
  if (!(step > 0)) throw new RangeError(`finiteDifference: step must be above 0, got ${step}.`);
  return method === "forward" ? (f(x + step) - f(x)) / step : (f(x + step) - f(x - step)) / (2 * step);
}

export interface ComplexStepOptions {
  /** The step h. Default 1e-20. */
  step?: number;
}

/**
 * f′(x) by the complex step: Im f(x + ih)/h has error O(h²) and no cancellation, so h can be as small as 10⁻²⁰ (Squire and Trapp 1998).
 * f must be analytic and take complex numbers, so it cannot use abs, max or comparisons.
 *
 * ```ts
 * complexStep((z) => z.exp().mul(z.sin()), 1);
 * ```
 */
export function complexStep(f: (z: Complex) => Complex, x: number, options: ComplexStepOptions = {}): number {
  check("complexStep", arguments, "f:function x:number {step:number}");
  const { step = 1e-20 } = options;
  return f(new Complex(x, step)).im / step;
}

/** The error of an approximate derivative as a function of the step h. */
export interface ErrorCurve {
  /** The method that was measured. */
  readonly method: "forward" | "central" | "complex";
  /** Pairs [h, |error|]. */
  readonly points: readonly (readonly [h: number, error: number])[];
  /**
   * The slope of log |error| against log h where truncation dominates: about 1 for "forward", 2 for "central" and
   * "complex".
   */
  readonly truncationSlope: number;
  /** The same slope where rounding dominates: about −1; NaN for "complex", which has no rounding error. */
  readonly roundingSlope: number;
  /** The step with the smallest error. */
  readonly best: number;
}

/** Options for errorCurve. */
export interface ErrorCurveOptions {
  /** The method to measure. Default "central". */
  readonly method?: ErrorCurve["method"];
  /** The steps h. Default: 61 steps from 10⁰ to 10⁻¹⁵, four per decade. */
  readonly steps?: readonly number[];
  /** f for complex numbers. Required for method "complex". */
  readonly complex?: (z: Complex) => Complex;
}

/**
 * Measures the error of a finite difference for many steps h: for large h, truncation dominates (h·|f″|/2 or
 * h²·|f‴|/6); for small h, rounding does (ε·|f|/h). The complex step has only truncation errors.
 * @param derivative the exact f′(x)
 * @throws RangeError for an unknown method; TypeError if `complex` is missing
 */
export function errorCurve(
  f: (x: number) => number,
  x: number,
  derivative: number,
  options: ErrorCurveOptions = {},
): ErrorCurve {
  check(
    "errorCurve",
    arguments,
    "f:function x:number derivative:number {method:string steps:numbers complex:function}",
  );
  const { method = "central", steps = defaultSteps(), complex } = options;
  requireMethod("errorCurve", method, ["forward", "central", "complex"]);
  if (method === "complex" && !complex)
    throw new TypeError(
      'errorCurve: method "complex" needs a version of f for complex numbers. Pass { complex: (z) => … }.',
    );
  const points = steps.map((h): [number, number] => {
    const d =
      method === "complex" ? complexStep(complex!, x, { step: h }) : finiteDifference(f, x, { method, step: h });
    return [h, Math.abs(d - derivative)];
  });
  const best = points.reduce((a, b) => (b[1] < a[1] || Number.isNaN(a[1]) ? b : a))[0];
  const order = method === "forward" ? 2 : 3;
  // Fit each branch away from the step at which the two branches meet, and only to errors above float64's resolution.
  const meeting = EPSILON64 ** (1 / order);
  const floor = EPSILON64 * Math.abs(derivative);
  const truncated = points.filter(([h, e]) => h > 30 * meeting && h < 0.1 && e > 4 * floor);
  const rounded = points.filter(([h, e]) => h < meeting / 30 && e > 0);
  return {
    method,
    points,
    truncationSlope: logSlope(truncated),
    roundingSlope: method === "complex" ? Number.NaN : logSlope(rounded),
    best,
  };
}

function defaultSteps(): number[] {
  return Array.from({ length: 61 }, (_, i) => 10 ** (-i / 4));
}

/** The least-squares slope of log y against log x; NaN for fewer than two points with x, y > 0. */
export function logSlope(points: readonly (readonly [x: number, y: number])[]): number {
  check("logSlope", arguments, "points:array");
  const usable = points.filter(([x, y]) => x > 0 && y > 0);
  return usable.length < 2 ? Number.NaN : slope(usable.map(([x, y]) => [Math.log(x), Math.log(y)]));
}
