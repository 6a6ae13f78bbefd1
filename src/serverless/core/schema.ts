/** Schemas of options and requests, and the messages for values that do not match. */

import type { DType } from "nabla";
import * as v from "valibot";
import type { JsonLimits } from "../../formats/nesting.ts";
import { checkOptions } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { Problem, quote } from "./problems.ts";

/** Describes a tensor that a function receives or returns. */
export interface TensorSpec {
  /** The size of each dimension; null for any size. If the first size is null, it is the batch dimension. Required. */
  readonly shape: readonly (number | null)[];
  /** The type of the elements. Default "float32". */
  readonly dtype?: DType;
  /** The smallest allowed element, such as 0 for indices. Default: the smallest number of the dtype. */
  readonly min?: number;
  /** The largest allowed element, such as the number of classes − 1 for labels. Default: the largest number of the dtype. */
  readonly max?: number;
}

/** Limits on what a request may cost. */
export interface Limits {
  /**
   * The maximum size of a request's body in bytes. Default: the size of `batch` samples as JSON, but at least 64 KiB,
   * and at most 4 MiB (16 MiB for training) or, if that is more, the size of one sample. If a dimension
   * of a tensor's shape other than the batch dimension is null, the default is 4 MiB.
   */
  readonly bytes: number;
  /** The maximum number of samples per request. Default 1024 for inference, 65,536 for training. */
  readonly batch: number;
  /**
   * For inference, the time limit for the body to arrive, and the same limit again for the model to load, in
   * milliseconds (default 10,000). For training, the time limit for the whole request, in milliseconds (default
   * 60,000).
   */
  readonly milliseconds: number;
  /**
   * The maximum number of requests processed at once. A request counts as soon as its body has arrived. If the limit is
   * reached, further requests get a 503 with Retry-After. Default 64 for inference, 1 for training.
   */
  readonly concurrency: number;
  /**
   * The maximum total size, in bytes, of all bodies that are still arriving. Each body counts as 16 KiB larger than it is. Above the limit,
   * the request that has been arriving the longest gets a 503. Default 64 MiB, or `bytes` if that is more.
   */
  readonly unfinished: number;
}

/** Options for combining requests into batches. */
export interface Batching {
  /** The largest number of samples in a batch. Larger requests run alone. Default 64, or `limits.batch` if that is less. */
  readonly size: number;
  /**
   * The time that a request waits for others, in milliseconds. Default 0, which combines requests that arrive in the
   * same turn of the event loop.
   */
  readonly wait: number;
}

/** The options of a training request. */
export interface TrainingParameters {
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  /** If undefined, the optimizer keeps its own learning rate. */
  readonly lr: number | undefined;
}

/** The schema of an integer in a range. */
const integer = (max = Number.MAX_SAFE_INTEGER, min = 1) => {
  const message =
    max === Number.MAX_SAFE_INTEGER
      ? `must be an integer of at least ${min}`
      : `must be an integer from ${min} to ${max}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(min, message), v.maxValue(max, message));
};

const spec = v.strictObject({
  shape: v.pipe(
    v.array(v.nullable(integer(2 ** 31 - 1)), "must be an array of sizes, with null for any size"),
    v.minLength(1, "must have at least one dimension, such as null for the batch"),
  ),
  dtype: v.optional(
    v.picklist(["float32", "int32", "bool", "uint8"], 'must be "float32", "int32", "bool" or "uint8"'),
    "float32",
  ),
  min: v.optional(v.number("must be a number"), Number.NEGATIVE_INFINITY),
  max: v.optional(v.number("must be a number"), Number.POSITIVE_INFINITY),
});

const path = v.pipe(
  v.string("must be a string"),
  v.regex(
    /^\/(?:[\w~.-]+(?:\/[\w~.-]+)*)?$/,
    'must start with "/", not end with "/", and contain only letters, digits and _ ~ . - /',
  ),
);

/** The location of an issue, such as ".shape[1]". */
const placeOf = (issue: v.BaseIssue<unknown>): string =>
  (issue.path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");

/** The message for an issue at `place`. Missing and unknown keys get nabla's own messages instead of valibot's. */
function explain(issue: v.BaseIssue<unknown>, place: string): string {
  if (issue.type !== "strict_object") return `${place} ${issue.message}, got ${describe(issue.input)}.`;
  return issue.path ? `${place} is missing. Add it.` : `${place} must be an object, got ${describe(issue.input)}.`;
}

/** Validates an option of a handler and returns it. @throws TypeError that says what is wrong */
function read<S extends v.GenericSchema>(what: string, schema: S, value: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  const [issue] = issues!;
  throw new TypeError(explain(issue, what + placeOf(issue)));
}

/** A spec with defaults filled in. */
export type FullSpec = Required<TensorSpec>;

export function readSpec(what: string, value: unknown): FullSpec {
  checkOptions(what, value, "{shape dtype min max}");
  return read(what, spec, value);
}
export const readPath = (what: string, value: unknown = "/"): string => read(`${what}: path`, path, value);

/** The longest time that setTimeout accepts. */
const MAX_MILLISECONDS = 2 ** 31 - 1;
const DURATIONS = ["milliseconds", "writeTimeout", "wait"];

/** Validates integer options and returns them. @throws TypeError if an option is out of range or unknown */
function readCounts<K extends string>(what: string, given: object, defaults: Record<K, number>): Record<K, number> {
  checkOptions(what, given, `{${Object.keys(defaults).join(" ")}}`);
  const counts = { ...defaults };
  const options: Partial<Record<K, unknown>> = given;
  for (const key in defaults) {
    const schema = integer(DURATIONS.includes(key) ? MAX_MILLISECONDS : undefined, key === "wait" ? 0 : 1);
    if (options[key] !== undefined) counts[key] = read(`${what}.${key}`, schema, options[key]);
  }
  return counts;
}

/** The maximum number of characters per element in JSON, including a comma and some space. */
const DIGITS: Record<DType, number> = { float32: 32, int32: 20, uint8: 12, bool: 14 };
/**
 * The number of bytes that a body may take in addition to its elements: names, brackets, options, and a file's header.
 */
const FRAME_BYTES = 2 ** 12;
const MIN_BYTES = 2 ** 16;
/**
 * The default of `bytes` if a size is open. It is low, because small arrays parsed from JSON take many times the memory
 * of their text.
 */
const OPEN_BYTES = 2 ** 22;

/** The size of a JSON body with `batch` samples of these specs, in bytes; Infinity if a size is open. */
function bytesOf(specs: readonly FullSpec[], batch: number): number {
  return specs.reduce((sum, { shape, dtype }) => {
    const sizes = shape.map((size, i) => size ?? (i ? Number.POSITIVE_INFINITY : batch));
    const [elements, rows] = [sizes, sizes.slice(0, -1)].map((part) => part.reduce((a, b) => a * b, 1)) as [
      number,
      number,
    ];
    return sum + DIGITS[dtype] * (elements + rows);
  }, FRAME_BYTES);
}

/** The number of arrays in a nested array that matches a spec. */
function arraysOf({ shape }: FullSpec, batch: number): number {
  const sizes = shape.map((size, i) => size ?? (i ? Number.POSITIVE_INFINITY : batch));
  return sizes.slice(0, -1).reduceRight((inner, size) => 1 + size * inner, 1);
}

/**
 * Limits on the nesting of a JSON body. Allows over twice as many arrays as a batch of the maximum size needs, so that
 * the error for a batch that is too large can say how large it is.
 */
export function nestingOf(specs: readonly FullSpec[], batch: number): JsonLimits {
  const arrays = specs.reduce((sum, spec) => sum + arraysOf(spec, batch), 0);
  return { depth: Math.max(...specs.map(({ shape }) => shape.length)) + 2, containers: 2 * arrays + 64, names: 64 };
}

/**
 * The defaults of limits. The default of `unfinished` is derived from the other limits. The default of `bytes` is
 * derived too, and the value here is its maximum.
 */
type LimitDefaults<K extends string> = Record<K | Exclude<keyof Limits, "unfinished">, number>;

/**
 * Limits, with defaults filled in. The default of `bytes` is derived from the specs of the body.
 * @throws TypeError if a limit is not an integer above 0, or is unknown
 */
export function readLimits<K extends string>(
  what: string,
  given: object | undefined,
  defaults: LimitDefaults<K>,
  specs: readonly FullSpec[],
): Record<K | keyof Limits, number> {
  // 0 marks a limit that is derived from others.
  const derived: Record<K | keyof Limits, number> = { ...defaults, bytes: 0, unfinished: 0 };
  const limits = readCounts(what, given ?? {}, derived);
  const oneSample = bytesOf(specs, 1);
  const largest = Number.isFinite(oneSample)
    ? Math.min(bytesOf(specs, limits.batch), Math.max(defaults.bytes, oneSample))
    : OPEN_BYTES;
  const bytes = limits.bytes || Math.max(MIN_BYTES, largest);
  const unfinished = limits.unfinished || Math.max(2 ** 26, bytes);
  if (unfinished < bytes)
    throw new TypeError(`${what}.unfinished must be at least limits.bytes, which is ${bytes}, got ${unfinished}.`);
  return { ...limits, bytes, unfinished };
}

/**
 * Batching options, with defaults filled in; undefined if batching is off.
 * @throws TypeError if an option is invalid, or if the input has no batch dimension
 */
export function readBatching(
  what: string,
  given: unknown,
  { input, limits }: { readonly input: FullSpec; readonly limits: Limits },
): Batching | undefined {
  if (given === undefined || given === false) return undefined;
  if (input.shape[0] !== null)
    throw new TypeError(`${what}: batching needs a batch dimension. Set the first size of input.shape to null.`);
  const options = given === true ? {} : isObject(given) ? given : undefined;
  if (!options) throw new TypeError(`${what}: batching must be true, false or { size, wait }, got ${describe(given)}.`);
  const defaults = { size: Math.min(64, limits.batch), wait: 0 };
  const { size, wait } = readCounts(`${what}: batching`, options, defaults);
  if (size > limits.batch)
    throw new TypeError(
      `${what}: batching.size must be at most limits.batch, which is ${limits.batch}, got ${size}. Raise the limit.`,
    );
  return { size, wait };
}

/** nodeListener's options, with defaults filled in. @throws TypeError if an option is not an integer above 0, or is unknown */
export const readNodeOptions = (what: string, given: object): { writeTimeout: number; unsent: number } =>
  readCounts(what, given, { writeTimeout: 10_000, unsent: 2 ** 26 });

/** @throws Problem 422 if an object that a client sent has names that are not allowed */
function refuseUnknown(value: object, allowed: readonly string[], valid = allowed): void {
  const unknown = Object.keys(value).find((name) => !allowed.includes(name));
  if (unknown !== undefined)
    throw new Problem(422, `The name ${quote(unknown)} is unknown. Valid names: ${valid.join(", ")}.`);
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Checks that a body is an object of named nested arrays, such as `{ "inputs": […] }`, and returns it. The arrays'
 * elements are checked later.
 * @param options the names of options, which the message for an unknown name lists as valid too
 * @throws Problem 422
 */
export function acceptArrays(
  names: readonly string[],
  body: unknown,
  options: readonly string[] = [],
): Record<string, unknown> {
  if (!isObject(body)) throw new Problem(422, `The body must be a JSON object with ${names.map(quote).join(" and ")}.`);
  refuseUnknown(body, names, [...names, ...options]);
  const missing = names.find((name) => !Object.hasOwn(body, name));
  if (missing !== undefined) throw new Problem(422, `${quote(missing)} is missing. Add it.`);
  return body;
}

/** The names of a training request's options. */
export const TRAINING_PARAMETERS = ["epochs", "batchSize", "shuffle", "lr"] as const;

/** Checks a training request's options. @throws Problem 422 */
export function acceptParameters(
  options: object,
  limits: { readonly epochs: number; readonly batchSize: number },
): TrainingParameters {
  refuseUnknown(options, TRAINING_PARAMETERS);
  const rate = "must be a number above 0 and at most 1000";
  const schema = v.strictObject({
    epochs: v.optional(integer(limits.epochs), 1),
    batchSize: v.optional(integer(limits.batchSize), Math.min(32, limits.batchSize)),
    shuffle: v.optional(v.boolean("must be true or false"), true),
    lr: v.optional(v.pipe(v.number(rate), v.gtValue(0, rate), v.maxValue(1000, rate))),
  });
  const { success, output, issues } = v.safeParse(schema, options, { abortEarly: true });
  if (success) return { lr: undefined, ...output };
  const [issue] = issues;
  throw new Problem(422, explain(issue, quote(placeOf(issue).slice(1))));
}

/** A spec in the form that /metadata shows, without infinite bounds. */
export const describeSpec = ({ shape, dtype, min, max }: FullSpec): TensorSpec => ({
  shape,
  dtype,
  ...(Number.isFinite(min) && { min }),
  ...(Number.isFinite(max) && { max }),
});
