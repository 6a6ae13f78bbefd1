/**
 * Defines an experiment: a claim from the article, parameters, and a run that returns curves, tables, pictures and
 * findings, which are compared with theory. The command and the page use experiments only through this file.
 * Experiments do not depend on the command or the page. `stream` in stream.ts defines experiments that train.
 */
import type { Digits } from "../cli/mnist/packed.ts";

/** A numeric parameter. */
export interface NumberParameter {
  readonly kind: "number";
  readonly label: string;
  readonly min: number;
  readonly max: number;
  readonly default: number;
  /** The step of the slider; ignored on a log scale. Default: 1 for integers, otherwise a hundredth of the range. */
  readonly step?: number;
  readonly integer?: boolean;
  readonly scale?: "linear" | "log";
}
/** A parameter with a fixed set of values. */
export interface ChoiceParameter<T extends string = string> {
  readonly kind: "choice";
  readonly label: string;
  readonly options: readonly T[];
  readonly default: T;
}
export type Parameter = NumberParameter | ChoiceParameter;
export type Parameters = Readonly<Record<string, Parameter>>;
/** The values of an experiment's parameters, keyed by name. */
export type Values<P extends Parameters> = {
  readonly [K in keyof P]: P[K] extends ChoiceParameter<infer T> ? T : number;
};

/** A measured number, and what theory predicts for it. */
export interface Finding {
  /** The measured quantity, such as "gradient at the first layer divided by the gradient at the last". */
  readonly text: string;
  readonly measured: number;
  /** The number that theory predicts, with a tolerance, or a bound. */
  readonly expected: Expectation;
  /** The source of the prediction: a formula or a paper. */
  readonly theory: string;
}
export type Expectation =
  | { readonly equals: number; readonly within: number }
  | { readonly atMost: number }
  | { readonly atLeast: number };

/** Whether a finding agrees with theory. NaN and ±∞ never agree. */
export function holds({ measured, expected }: Finding): boolean {
  if (!Number.isFinite(measured)) return false;
  if ("equals" in expected) return Math.abs(measured - expected.equals) <= expected.within;
  return "atMost" in expected ? measured <= expected.atMost : measured >= expected.atLeast;
}

/**
 * Formats a number: integers below a million in full, other numbers with four significant digits. Numbers below a
 * thousandth, and numbers of at least a million, get an exponent, such as 1.69e-5 or 6.07e8.
 */
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
  /** Whether ticks are integers, because the axis counts something, such as steps or layers. */
  readonly integer?: boolean;
  /** Whether a linear axis starts at 0 even if all points are above 0, so that heights can be compared. */
  readonly zero?: boolean;
}
/** A series of points. Points that an axis cannot show (NaN, or ≤ 0 on a log scale) are not drawn. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /**
   * "theory" is dashed and shows the prediction; "reference" is thin and shows a measurement for comparison; "arrow" points from the
   * first point to the second, from the third to the fourth, and so on. Default "line".
   */
  readonly style?: "line" | "dots" | "theory" | "reference" | "bars" | "path" | "arrow";
  /**
   * The index of an earlier series whose colour this series shares. This series then has no legend entry, unless its
   * style is "theory".
   */
  readonly sameAs?: number;
  /** Whether the points follow one another in time, so that the page can play them. */
  readonly grows?: boolean;
}
/** A point that the reader drags to set parameters. The parameters must be numbers; their ranges limit the point. */
export interface Handle {
  /** The name of the point, such as "the point θ". */
  readonly name: string;
  readonly at: readonly [x: number, y: number];
  /**
   * The parameters that the point's coordinates set, or the parameter that its direction from `around` sets, in degrees
   * from the x axis.
   */
  readonly sets:
    | { readonly x?: string; readonly y?: string }
    | { readonly angle: string; readonly around: readonly [x: number, y: number] };
}
export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** Whether one unit has the same length on both axes, so that angles are not distorted. */
  readonly equal?: boolean;
  readonly handles?: readonly Handle[];
  /** The parameters that do not affect this plot. The page disables these parameters while it shows the plot. */
  readonly ignores?: readonly string[];
  /** A field of values behind the curves, on a grid whose rows go from the smallest y to the largest. */
  readonly field?: {
    readonly x: readonly [from: number, to: number];
    readonly y: readonly [from: number, to: number];
    readonly columns: number;
    readonly values: readonly number[];
    /** The name of the quantity that the values measure. Default "loss". */
    readonly label?: string;
    /**
     * The values of the lightest and the darkest shade. Default: the smallest and the largest value. Plots that are
     * meant to be compared need the same range.
     */
    readonly range?: readonly [lightest: number, darkest: number];
  };
}
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  /** The parameters that do not affect this table. */
  readonly ignores?: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}
/**
 * A picture of numbers, row by row. Shades of grey show numbers from 0 to 1; two colours show negative and positive
 * numbers.
 */
export interface Picture {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly values: readonly number[];
  readonly colours: "grey" | "diverging";
  /**
   * The side length of one value's cell, in pixels. Set it to align the rows and columns of several pictures. Default:
   * all pictures are equally wide.
   */
  readonly cell?: number;
}

/** A number in a computation graph: an input, or the result of one operation. */
export interface GraphNode {
  readonly id: string;
  readonly label: string;
  /** The column: values flow from smaller to larger x. */
  readonly x: number;
  /** The row: 0 for the main line, negative above it. */
  readonly y: number;
  readonly value: number;
  /** ∂L/∂(this node's value), where L is the value of the last node. */
  readonly gradient: number;
  /** Whether the gradient is wrong because a local derivative is wrong. */
  readonly wrong?: boolean;
}
/** An input of an operation, and the operation's local derivative with respect to it. */
export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly derivative: number;
  /** Whether the derivative was replaced with a wrong one. */
  readonly wrong?: boolean;
}
/** A computation graph, with the values of the forward pass and the gradients of the backward pass. */
export interface Graph {
  readonly title: string;
  /** The parameters that do not affect the graph. */
  readonly ignores?: readonly string[];
  /** The nodes in the order of the forward pass: every node comes after its inputs, and the last is the loss. */
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** Everything that an experiment shows except its findings. */ export interface Drawing {
  readonly plots: readonly Plot[];
  readonly tables?: readonly Table[];
  readonly pictures?: readonly Picture[];
  /** The title of the tab that shows all pictures. Default "Pictures". */
  readonly gallery?: string;
  readonly graphs?: readonly Graph[];
}
/** What an experiment shows when it ends, including the findings, which compare measurements with theory. */
export interface Result extends Drawing {
  readonly findings: readonly Finding[];
}

/** A training run that has started: its state, and the fraction of its steps that it has taken. */
export interface Training {
  readonly state: unknown;
  done: number;
}

/** The functions and data that the command or the page provides to an experiment. */
export interface Context {
  /**
   * Reports progress from 0 to 1, and lets the event loop run. An experiment that trains calls this after every step,
   * with a function that draws the state so far. The promise rejects if nobody is waiting for the result anymore, which
   * ends the run.
   */
  progress(fraction: number, what?: string, draw?: () => Drawing): Promise<void>;
  /** The first handwritten digits of MNIST. */
  digits(): Promise<{ readonly train: Digits; readonly test: Digits }>;
  /**
   * The training runs that earlier calls of this experiment started, keyed by their parameters. A later call continues
   * them. Without this map, every call starts from the beginning.
   */
  readonly trainings?: Map<string, Training>;
}

/** Everything about an experiment except its `run` function. */
export interface Definition<P extends Parameters = Parameters> {
  /** The name of the experiment, which is also the name of its file without .ts. */
  readonly name: string;
  readonly title: string;
  /** The section of the article. */
  readonly section: string;
  /** The article's claim, in one or two sentences. */
  readonly claim: string;
  /** The formula, as TeX. */
  readonly formula: string;
  /** The functions of nabla/gradients that the experiment uses. */
  readonly functions: readonly string[];
  readonly parameters: P;
  /** Whether the experiment takes more than two seconds with its defaults. */
  readonly long?: boolean;
}
export interface Experiment<P extends Parameters = Parameters> extends Definition<P> {
  run(values: Values<P>, context: Context): Result | Promise<Result>;
}

/** Defines an experiment. The types of the experiment's own parameters are checked here, then erased. */
export const experiment = <const P extends Parameters>(definition: Experiment<P>): AnyExperiment =>
  definition as unknown as AnyExperiment; // run receives only values that were checked against these parameters

/** An experiment whose parameters are known only at run time. `run` takes the result of `valuesOf`. */
export interface AnyExperiment extends Definition {
  /** Whether the experiment trains step by step. */
  readonly isStream?: boolean;
  run(values: Readonly<Record<string, string | number>>, context: Context): Result | Promise<Result>;
}

/**
 * The values of all parameters: the given values, validated, and defaults for the rest.
 * @throws RangeError that lists the valid values
 */
export function valuesOf(
  parameters: Parameters,
  given: Readonly<Record<string, unknown>> = {},
): Record<string, string | number> {
  const unknown = Object.keys(given).filter((key) => !(key in parameters));
  if (unknown.length)
    throw new RangeError(
      `unknown parameter "${unknown[0]}". Valid parameters: ${Object.keys(parameters).join(", ") || "none"}.`,
    );
  return Object.fromEntries(
    Object.entries(parameters).map(([key, parameter]) => [key, valueOf(key, parameter, given[key])]),
  );
}

/** The given value, or the default. @throws RangeError if the value is invalid */
function valueOf(key: string, parameter: Parameter, value: unknown): string | number {
  if (value === undefined) return parameter.default;
  if (parameter.kind === "choice") {
    if (parameter.options.includes(value as string)) return value as string;
    throw new RangeError(`${key} must be one of ${parameter.options.join(", ")}, got "${String(value)}".`);
  }
  const number = typeof value === "string" && value.trim() === "" ? Number.NaN : Number(value);
  const { min, max, integer } = parameter;
  if (number >= min && number <= max && (!integer || Number.isInteger(number))) return number;
  throw new RangeError(
    `${key} must be a ${integer ? "whole number" : "number"} from ${min} to ${max}, got ${JSON.stringify(value)}.`,
  );
}
