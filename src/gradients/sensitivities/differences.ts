/** The derivative by its definition: differences with a step h, what they err by, and the step where they err least. */

import { check } from "../../runtime/arguments.ts";
import { quote, RangeError, TypeError } from "../../runtime/errors.ts";
import { Complex } from "../math/complex.ts";
import { slope } from "../math/vector.ts";

/** Float64's and float32's distance from 1 to the next number. */
export const EPSILON64 = 2 ** -52;
export const EPSILON32 = 2 ** -23;

/** Options of finite differences. */
export interface DifferenceOptions {
  /** forward: (f(x + h) − f(x))/h, errs by h; central: (f(x + h) − f(x − h))/2h, errs by h². Default central. */
  readonly method?: "forward" | "central";
  /** h. Default: `bestStep`. */
  readonly step?: number;
  /** The relative error of f's values, for the default step. Default float64's 2⁻⁵²; float32's is 2⁻²³. */
  readonly epsilon?: number;
}

/** @throws RangeError */
function requireMethod(op: string, method: string, methods: readonly string[] = ["forward", "central"]): void {
  if (!methods.includes(method))
    throw new RangeError(`${op}: method is ${quote(method)}, but must be one of ${methods.join(", ")}.`);
}

/**
 * The step at which truncation and rounding are about equal, in proportion to x: √ε for forward differences, ∛ε for central ones
 * (Press et al. 2007, §5.7), rounded so that x + h − x is h.
 */
export function bestStep(x: number, options: DifferenceOptions = {}): number {
  check("bestStep", arguments, "x:number {method:string epsilon:number step:number}");
  const { method = "central", epsilon = EPSILON64 } = options;
  requireMethod("bestStep", method);
  const h = epsilon ** (method === "forward" ? 1 / 2 : 1 / 3) * Math.max(1, Math.abs(x));
  return x + h - x;
}

/**
 * f′(x) by differences.
 *
 * ```ts
 * finiteDifference(Math.exp, 0);   // 1.00000000001
 * ```
 */
export function finiteDifference(f: (x: number) => number, x: number, options: DifferenceOptions = {}): number {
  check("finiteDifference", arguments, "f:function x:number {method:string step:number epsilon:number}");
  const { method = "central", step = bestStep(x, options) } = options;
  requireMethod("finiteDifference", method);
  if (!(step > 0)) throw new RangeError(`finiteDifference: the step is ${step}, but must be above 0.`);
  return method === "forward" ? (f(x + step) - f(x)) / step : (f(x + step) - f(x - step)) / (2 * step);
}

/**
 * f′(x) = Im f(x + ih)/h, which errs by h² and subtracts nothing, so h may be as small as 10⁻²⁰ (Squire and Trapp 1998). f must be
 * analytic, and written for complex numbers: abs, max and comparisons are not.
 *
 * ```ts
 * complexStep((z) => z.exp().mul(z.sin()), 1);
 * ```
 */
export function complexStep(
  f: (z: Complex) => Complex,
  x: number,
  options: {
    /** h, the imaginary step. Default 1e-20. */
    step?: number;
  } = {},
): number {
  check("complexStep", arguments, "f:function x:number {step:number}");
  const { step = 1e-20 } = options;
  return f(new Complex(x, step)).im / step;
}

/** How far an approximation of a derivative is off, by step, with what theory says of both branches. */
export interface ErrorCurve {
  /** The formula of the difference. */
  readonly method: "forward" | "central" | "complex";
  /** [h, |error|]. */
  readonly points: readonly (readonly [h: number, error: number])[];
  /** The fitted slope of log |error| against log h where truncation rules: 1 for forward, 2 for central and complex. */
  readonly truncationSlope: number;
  /** The same where rounding rules: −1; NaN for the complex step, which has no such branch. */
  readonly roundingSlope: number;
  /** Where the error is least. */
  readonly best: number;
}

/** Options of differenceErrors. */
export interface ErrorCurveOptions {
  /** The formula whose error is measured. Default "central". */
  readonly method?: ErrorCurve["method"];
  /** Steps. Default 10⁰ … 10⁻¹⁵, four to a decade. */
  readonly steps?: readonly number[];
  /** f for complex numbers: for the complex step. */
  readonly complex?: (z: Complex) => Complex;
}

/**
 * The error of a difference against h: for large h it falls with truncation (h·|f″|/2 or h²·|f‴|/6), for small h it rises with
 * rounding (ε·|f|/h); the complex step only falls.
 * @param derivative the exact f′(x)
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
    throw new TypeError("errorCurve: the complex step needs f for complex numbers. Pass { complex: (z) => … }.");
  const points = steps.map((h): [number, number] => {
    const d =
      method === "complex" ? complexStep(complex!, x, { step: h }) : finiteDifference(f, x, { method, step: h });
    return [h, Math.abs(d - derivative)];
  });
  const best = points.reduce((least, point) => (point[1] < least[1] || Number.isNaN(least[1]) ? point : least))[0];
  const order = method === "forward" ? 2 : 3;
  // Each branch two decades and more away from where they meet, and above what float64 resolves.
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

/** The least-squares slope of log y against log x; NaN for fewer than two points. */
export function logSlope(points: readonly (readonly [x: number, y: number])[]): number {
  check("logSlope", arguments, "points:array");
  const usable = points.filter(([x, y]) => x > 0 && y > 0);
  return usable.length < 2 ? Number.NaN : slope(usable.map(([x, y]) => [Math.log(x), Math.log(y)]));
}
