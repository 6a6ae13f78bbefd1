/**
 * What an experiment is: a claim of the article, parameters that can be turned, and a run that gives curves, tables, images and
 * findings, each held against what theory says. The command and the page know experiments by this file alone; experiments know
 * neither terminals nor pages.
 */
import type { Digits } from "../cli/mnist/packed.ts";

/** A number that can be turned. */
export interface NumberParameter {
  readonly kind: "number";
  readonly label: string;
  readonly min: number;
  readonly max: number;
  readonly default: number;
  /** The slider's step; on a log scale, ignored. Default: 1 for integers, else a hundredth of the range. */
  readonly step?: number;
  readonly integer?: boolean;
  readonly scale?: "linear" | "log";
}
/** One of several words. */
export interface ChoiceParameter<T extends string = string> {
  readonly kind: "choice";
  readonly label: string;
  readonly options: readonly T[];
  readonly default: T;
}
export type Parameter = NumberParameter | ChoiceParameter;
export type Parameters = Readonly<Record<string, Parameter>>;
/** The values that parameters were given. */
export type Values<P extends Parameters> = {
  readonly [K in keyof P]: P[K] extends ChoiceParameter<infer T> ? T : number;
};

/** A number that was measured, held against what theory says of it. */
export interface Finding {
  /** What was measured, in words: "gradient of the first layer by that of the last". */
  readonly text: string;
  readonly measured: number;
  /** What theory says: a number with a tolerance, or a bound. */
  readonly expected: Expectation;
  /** Where the expectation comes from: a formula in words or a paper. */
  readonly theory: string;
}
export type Expectation =
  | { readonly equals: number; readonly within: number }
  | { readonly atMost: number }
  | { readonly atLeast: number };

/** Whether a finding is as theory says. */
export function holds({ measured, expected }: Finding): boolean {
  if ("equals" in expected) return Math.abs(measured - expected.equals) <= expected.within;
  return "atMost" in expected ? measured <= expected.atMost : measured >= expected.atLeast;
}

/** A whole number below a million in full, others in four digits; below a thousandth and from a million on, with a power of ten: 1.69e-5, 6.07e8. */
export function showNumber(value: number): string {
  const rounded = Number.isInteger(value) && Math.abs(value) < 1e6 ? value : Number(value.toPrecision(4));
  const size = Math.abs(rounded);
  return size === 0 || (size >= 1e-3 && size < 1e6) || !Number.isFinite(size)
    ? String(rounded)
    : rounded.toExponential().replace("+", "");
}

/** `≈ 3 ± 0.1`, `≤ 3` or `≥ 3`. */
export function showExpectation(expected: Expectation): string {
  if ("equals" in expected) return `≈ ${showNumber(expected.equals)} ± ${showNumber(expected.within)}`;
  return "atMost" in expected ? `≤ ${showNumber(expected.atMost)}` : `≥ ${showNumber(expected.atLeast)}`;
}

export interface Axis {
  readonly label: string;
  readonly scale?: "linear" | "log";
}
/** Points that belong together. Those that an axis cannot show (NaN, or ≤ 0 on a log scale) are left out by who draws. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** "theory": dashed, what was expected; "reference": thin, what was measured to compare with. Default "line". */
  readonly style?: "line" | "dots" | "theory" | "reference" | "bars" | "path";
}
export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** A field of values behind the curves, on a grid: rows from y's least to its greatest. */
  readonly field?: {
    readonly x: readonly [from: number, to: number];
    readonly y: readonly [from: number, to: number];
    readonly columns: number;
    readonly values: readonly number[];
  };
}
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}
/** A picture of numbers, row by row: grey from 0 to 1, or diverging around 0 (what is negative in one colour, positive in another). */
export interface Picture {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly values: readonly number[];
  readonly colours: "grey" | "diverging";
}

export interface Result {
  readonly findings: readonly Finding[];
  readonly plots: readonly Plot[];
  readonly tables?: readonly Table[];
  readonly pictures?: readonly Picture[];
}

/** What an experiment may ask of where it runs. */
export interface Context {
  /** How far it has come, 0 … 1; gives the page or the terminal a breath. */
  progress(fraction: number, what?: string): Promise<void>;
  /** Handwritten digits: the first of MNIST's. */
  digits(): Promise<{ readonly train: Digits; readonly test: Digits }>;
}

export interface Experiment<P extends Parameters = Parameters> {
  /** As its file is called. */
  readonly name: string;
  readonly title: string;
  /** The article's section. */
  readonly section: string;
  /** What the article says, in a sentence or two. */
  readonly claim: string;
  /** The mathematics, as TeX. */
  readonly formula: string;
  /** What of nabla/gradients it shows. */
  readonly functions: readonly string[];
  readonly parameters: P;
  /** Whether it takes more than a second or two with its defaults. */
  readonly long?: boolean;
  run(values: Values<P>, context: Context): Result | Promise<Result>;
}

/** An experiment as others see it: types of its own parameters checked here, then forgotten. */
export const experiment = <const P extends Parameters>(definition: Experiment<P>): AnyExperiment =>
  definition as unknown as AnyExperiment; // run is only ever given values checked against these parameters

/** An experiment whose parameters are known at run time only: `run` takes what `valuesOf` returns. */
export interface AnyExperiment extends Omit<Experiment, "run"> {
  run(values: Readonly<Record<string, string | number>>, context: Context): Result | Promise<Result>;
}

/** Values for all parameters: those given, checked, and defaults. @throws RangeError that says what is allowed */
export function valuesOf(
  parameters: Parameters,
  given: Readonly<Record<string, unknown>> = {},
): Record<string, string | number> {
  const unknown = Object.keys(given).filter((key) => !(key in parameters));
  if (unknown.length)
    throw new RangeError(
      `"${unknown[0]}" is not a parameter. Valid parameters: ${Object.keys(parameters).join(", ") || "none"}.`,
    );
  return Object.fromEntries(
    Object.entries(parameters).map(([key, parameter]) => [key, checked(key, parameter, given[key])]),
  );
}

function checked(key: string, parameter: Parameter, value: unknown): string | number {
  if (value === undefined) return parameter.default;
  if (parameter.kind === "choice") {
    if (parameter.options.includes(value as string)) return value as string;
    throw new RangeError(`${key} is "${String(value)}", but must be one of ${parameter.options.join(", ")}.`);
  }
  const number = typeof value === "string" && value.trim() === "" ? Number.NaN : Number(value);
  const { min, max, integer } = parameter;
  if (number >= min && number <= max && (!integer || Number.isInteger(number))) return number;
  throw new RangeError(
    `${key} is ${JSON.stringify(value)}, but must be a ${integer ? "whole number" : "number"} from ${min} to ${max}.`,
  );
}
