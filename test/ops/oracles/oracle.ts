/** The type of a kernel's oracle: the op in float64, and the samples for the generated suites. */
import type { DType, Shape } from "../../../src/ops/definition/value.ts";

/** An array in float64. */
export interface Reference {
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
}

/** One input of a sample. Its values are uniform in [low, high) and at least 0.05 away from any kink. */
export interface SampleInput {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly low?: number;
  readonly high?: number;
  readonly kinks?: readonly number[];
  /** Whether the input has no gradient although it is float32. */
  readonly constant?: boolean;
  /** Values that are added to the diagonal of the last two dims, repeated as needed. */
  readonly diagonal?: readonly number[];
  /** A large value. Edge-case tests also compare the op with its oracle at ±extreme. */
  readonly extreme?: number;
}

/** One call of an op. */
export interface Sample<A> {
  readonly inputs: readonly SampleInput[];
  readonly attributes: A;
}

export interface Oracle<A> {
  /** The op in float64. */
  readonly reference: (inputs: readonly Reference[], attributes: A) => Reference[];
  readonly samples: readonly Sample<A>[];
}

/** An oracle for attributes of any type. */
// biome-ignore lint/suspicious/noExplicitAny: a reference reads its attributes, so nothing narrower fits all
export type AnyOracle = Oracle<any>;

/** Names the test that checks an op without an oracle. */
export interface TestedBy {
  readonly testedBy: string;
}
