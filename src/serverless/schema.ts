/** What options and bodies must look like, as schemas; and what is said where they do not. */
import type { DType } from "nabla";
import * as v from "valibot";
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
  /** Bytes of a body. */
  readonly bytes: number;
  /** Samples in a request. */
  readonly batch: number;
  /** Milliseconds. */
  readonly milliseconds: number;
  /** Requests at once; one more is answered 503 with Retry-After. */
  readonly concurrency: number;
}

/** What a training's request says besides its examples. */
export interface Course {
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  /** undefined: as the optimizer has it. */
  readonly lr: number | undefined;
}

const count = (most = Number.MAX_SAFE_INTEGER) => {
  const message = `must be a whole number in 1 … ${most}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(1, message), v.maxValue(most, message));
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
  v.string("must be a text"),
  v.regex(/^\/(?:[\w~.-]+(?:\/[\w~.-]+)*)?$/, 'must begin with "/", not end with one, and have plain letters'),
);

/** Where an issue lies: `limits.batch`. */
const placeOf = (issue: v.BaseIssue<unknown>): string => issue.path?.map(({ key }) => String(key)).join(".") ?? "";

/** What is wrong, for people. Schemas bring their own messages; keys that lack or are not known are valibot's. */
function explain(issue: v.BaseIssue<unknown>): string {
  const place = placeOf(issue);
  if (issue.type !== "strict_object") return place ? `${quote(place)} ${issue.message}` : issue.message;
  if (issue.expected === "never") return `${quote(place)} is not known here`;
  return issue.path ? `${quote(place)} is missing` : "must be an object";
}

/** Reads a handler's options. @throws TypeError that says which is wrong */
function read<S extends v.GenericSchema>(what: string, schema: S, value: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  throw new TypeError(`${what}: ${explain(issues![0])}.`);
}

/** A spec with its defaults. */
export type FullSpec = Required<TensorSpec>;

export const readSpec = (what: string, value: unknown): FullSpec => read(what, spec, value);
export const readPath = (what: string, value: unknown = "/"): string => read(what, path, value);

/** Limits with defaults where none are given. @throws TypeError where one is not a whole number ≥ 1, or not known */
export function readLimits<L extends Limits>(what: string, given: object = {}, defaults: L): L {
  // Timers count no further.
  const most = (key: string) => (key === "milliseconds" ? 2 ** 31 - 1 : undefined);
  const entries = Object.entries(defaults).map(([key, value]) => [key, v.optional(count(most(key)), value)] as const);
  return read(what, v.strictObject(Object.fromEntries(entries)), given) as unknown as L; // entries are those of L, which fromEntries forgets
}

/** Reads what a client sent. @throws Problem 422 that says what is wrong with it */
function accept<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, value, { abortEarly: true });
  if (success) return output;
  throw new Problem(
    422,
    `${explain(issues![0])}.`.replace(/^./, (first) => first.toUpperCase()),
  );
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
export function acceptCourse(options: object, most: { readonly epochs: number; readonly batch: number }): Course {
  const rate = "must be a number > 0 and at most 1000";
  const schema = v.strictObject({
    epochs: v.optional(count(most.epochs), 1),
    batchSize: v.optional(count(most.batch), Math.min(32, most.batch)),
    shuffle: v.optional(v.boolean("must be true or false"), true),
    lr: v.optional(v.pipe(v.number(rate), v.gtValue(0, rate), v.maxValue(1000, rate))),
  });
  return { lr: undefined, ...accept(schema, options) };
}
