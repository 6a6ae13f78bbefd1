/** What options and bodies must look like, as schemas; and what is said where they do not. */

import type { DType } from "nabla";
import * as v from "valibot";
import type { Nesting } from "../../formats/nesting.ts";
import { checkOptions } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { Problem, quote } from "./problems.ts";

/** The tensors that a function takes or gives. */
export interface TensorSpec {
  /** Sizes; null stands for any. A first null is the batch: so many samples. */
  readonly shape: readonly (number | null)[];
  /** Element type. Default "float32". */
  readonly dtype?: DType;
  /** The least that an element may be, such as 0 for indices. Default: whatever the type holds. */
  readonly min?: number;
  /** The most that an element may be, such as classes − 1 for labels. Default: whatever the type holds. */
  readonly max?: number;
}

/** What a request may cost. */
export interface Limits {
  /**
   * Bytes of a body. Default: what `batch` samples take as JSON, but at least 64 KiB, and at most 4 MiB (16 MiB for a training), or what
   * one sample takes if that is more. If a size is open: 4 MiB.
   */
  readonly bytes: number;
  /** Samples in a request. */
  readonly batch: number;
  /** Milliseconds. */
  readonly milliseconds: number;
  /** Requests at once whose bodies have arrived; one more is answered 503 with Retry-After. */
  readonly concurrency: number;
  /**
   * Bytes of bodies that are still arriving, all requests together. Each counts 16 KiB more. Beyond that, the request that has been
   * sending for longest is answered 503. Default 64 MiB, or `bytes` if that is more.
   */
  readonly unfinished: number;
}

/** How requests are joined. */
export interface Batching {
  /** Samples of a call at most. A request with more of them runs alone. Default 64, or `limits.batch` if that is less. */
  readonly size: number;
  /** Milliseconds that a request waits for others. Default 0: it is joined with those of the same turn of the event loop. */
  readonly wait: number;
}

/** What a training's request says besides its examples. */
export interface Course {
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  /** undefined: as the optimizer has it. */
  readonly lr: number | undefined;
}

const count = (most = Number.MAX_SAFE_INTEGER, least = 1) => {
  const message = `must be a whole number in ${least} … ${most === Number.MAX_SAFE_INTEGER ? "2^53-1" : most}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(least, message), v.maxValue(most, message));
};

const spec = v.strictObject({
  shape: v.pipe(
    v.array(v.nullable(count(2 ** 31 - 1)), "must be an array of sizes, null for any"),
    v.minLength(1, "must have at least one dimension, null for the batch"),
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
  v.regex(/^\/(?:[\w~.-]+(?:\/[\w~.-]+)*)?$/, 'must begin with "/", not end with one, and have plain letters'),
);

/** Where an issue lies: ".shape[1]". */
const placeOf = (issue: v.BaseIssue<unknown>): string =>
  (issue.path ?? []).map(({ key }) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");

/** What is wrong at `place`, for people. Schemas bring their own messages; keys that are missing or unknown are valibot's. */
function explain(issue: v.BaseIssue<unknown>, place: string): string {
  if (issue.type !== "strict_object") return `${place} ${issue.message}, got ${describe(issue.input)}`;
  if (issue.expected === "never") return `${place} is not known here`;
  return issue.path ? `${place} is missing` : `${place} must be an object, got ${describe(issue.input)}`;
}

/** Reads a handler's options. @throws TypeError that says which is wrong */
function read<S extends v.GenericSchema>(what: string, schema: S, value: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  const [issue] = issues!;
  throw new TypeError(`${explain(issue, what + placeOf(issue))}.`);
}

/** A spec with its defaults. */
export type FullSpec = Required<TensorSpec>;

export function readSpec(what: string, value: unknown): FullSpec {
  checkOptions(what, value, "{shape dtype min max}");
  return read(what, spec, value);
}
export const readPath = (what: string, value: unknown = "/"): string => read(`${what}: path`, path, value);

/** Timers count no further. */
const MOST_MILLISECONDS = 2 ** 31 - 1;

/** @throws TypeError if an option is not a whole number in its range, or is unknown */
function readCounts<L extends object>(what: string, given: object, defaults: L): L {
  checkOptions(what, given, `{${Object.keys(defaults).join(" ")}}`);
  const entries = Object.entries(defaults).map(([key, value]) => {
    const most = key === "milliseconds" || key === "writeTimeout" || key === "wait" ? MOST_MILLISECONDS : undefined;
    const number = count(most, key === "wait" ? 0 : 1);
    return [key, value === undefined ? v.optional(number) : v.optional(number, value)] as const;
  });
  return read(what, v.strictObject(Object.fromEntries(entries)), given) as unknown as L; // entries are those of L, which fromEntries forgets
}

/** Characters of an element in JSON at most, with its comma and some space around it. */
const DIGITS: Record<DType, number> = { float32: 32, int32: 20, uint8: 12, bool: 14 };
/** Bytes of a body's frame: names, brackets, options, the header of a file. */
const FRAME_BYTES = 2 ** 12;
const LEAST_BYTES = 2 ** 16;
/** If a size is open. Small arrays take many times the memory of their text. */
const OPEN_BYTES = 2 ** 22;

/** Bytes of a JSON body of `batch` samples, by the specs of what is in it; Infinity if a size is open. */
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

/** Arrays that a spec's nested arrays consist of. */
function arraysOf({ shape }: FullSpec, batch: number): number {
  const sizes = shape.map((size, i) => size ?? (i ? Number.POSITIVE_INFINITY : batch));
  return sizes.slice(0, -1).reduceRight((inner, size) => 1 + size * inner, 1);
}

/** How a JSON body may be nested. Twice the arrays that fit: a body with too many samples is told how many it has. */
export function nestingOf(specs: readonly FullSpec[], batch: number): Nesting {
  const arrays = specs.reduce((sum, spec) => sum + arraysOf(spec, batch), 0);
  return { depth: Math.max(...specs.map(({ shape }) => shape.length)) + 2, containers: 2 * arrays + 64, names: 64 };
}

/**
 * Limits with their defaults. Bytes follow from what `specs` say of a body.
 * @param defaults its `bytes` are the most that is derived
 * @throws TypeError if one is not a whole number above 0, or is unknown
 */
export function readLimits<L extends Limits>(
  what: string,
  given: object | undefined,
  defaults: Omit<L, "unfinished">,
  specs: readonly FullSpec[],
): L {
  const limits = readCounts(what, given ?? {}, {
    ...defaults,
    bytes: undefined,
    unfinished: undefined,
  } as unknown as L);
  const one = bytesOf(specs, 1);
  const derived = Number.isFinite(one)
    ? Math.min(bytesOf(specs, limits.batch), Math.max(defaults.bytes, one))
    : OPEN_BYTES;
  const bytes = limits.bytes ?? Math.max(LEAST_BYTES, derived);
  const unfinished = limits.unfinished ?? Math.max(2 ** 26, bytes);
  if (unfinished < bytes)
    throw new TypeError(`${what}.unfinished is ${unfinished}, but must be at least limits.bytes, which is ${bytes}.`);
  return { ...limits, bytes, unfinished };
}

/**
 * Batching with its defaults; undefined if it is off.
 * @throws TypeError if an option is wrong, or if the input has no batch
 */
export function readBatching(
  what: string,
  given: unknown,
  { input, limits }: { readonly input: FullSpec; readonly limits: Limits },
): Batching | undefined {
  if (given === undefined || given === false) return undefined;
  if (input.shape[0] !== null)
    throw new TypeError(`${what}: batching needs an input whose first size is null, for the samples.`);
  const options = given === true ? {} : isObject(given) ? given : undefined;
  if (!options) throw new TypeError(`${what}: batching must be true, false or { size, wait }, got ${describe(given)}.`);
  const defaults = { size: Math.min(64, limits.batch), wait: 0 };
  const { size, wait } = readCounts(`${what}: batching`, options, defaults);
  if (size > limits.batch)
    throw new TypeError(`${what}: batching.size is ${size}, but limits.batch is ${limits.batch}. Raise the limit.`);
  return { size, wait };
}

/** nodeListener's options with their defaults. @throws TypeError if one is not a whole number above 0, or is unknown */
export const readNodeOptions = (what: string, given: object): { writeTimeout: number; unsent: number } =>
  readCounts(what, given, { writeTimeout: 10_000, unsent: 2 ** 26 });

/** Reads what a client sent. @throws Problem 422 that says what is wrong with it */
function accept<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  const [issue] = issues!;
  throw new Problem(422, `${explain(issue, quote(placeOf(issue).slice(1)))}.`);
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A body of named nested arrays: `{ "inputs": […] }`, each to be looked at by whoever knows its shape. @throws Problem 422 */
export function acceptArrays(names: readonly string[], body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw new Problem(422, `The body must be a JSON object with ${names.map(quote).join(" and ")}.`);
  return accept(v.strictObject(Object.fromEntries(names.map((name) => [name, v.unknown()]))), body);
}

/** The options of a training's request. */
export const COURSE = ["epochs", "batchSize", "shuffle", "lr"] as const;

/** Checks them. @throws Problem 422 */
export function acceptCourse(options: object, most: { readonly epochs: number; readonly batchSize: number }): Course {
  const rate = "must be a number > 0 and at most 1000";
  const schema = v.strictObject({
    epochs: v.optional(count(most.epochs), 1),
    batchSize: v.optional(count(most.batchSize), Math.min(32, most.batchSize)),
    shuffle: v.optional(v.boolean("must be true or false"), true),
    lr: v.optional(v.pipe(v.number(rate), v.gtValue(0, rate), v.maxValue(1000, rate))),
  });
  return { lr: undefined, ...accept(schema, options) };
}
