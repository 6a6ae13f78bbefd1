/** What a kernel's oracle is: the op in float64, and the samples that the generated suites draw. */
import type { DType, Shape } from "../../../src/ops/definition/value.ts";

/** An array in float64. */
export interface Reference {
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
}

/** One input of a sample: values drawn uniformly from [low, high), at least 0.05 from any kink. */
export interface SampleInput {
  readonly shape: Shape;
  readonly dtype?: DType;
  readonly low?: number;
  readonly high?: number;
  readonly kinks?: readonly number[];
  /** Added to the diagonals of the last two dimensions, in turns. */
  readonly diagonal?: readonly number[];
  /** A large value: the tests of edges compare the op at ±extreme. */
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

/** An oracle without its attributes' type. */
// biome-ignore lint/suspicious/noExplicitAny: a reference reads its attributes, so nothing narrower fits all
export type AnyOracle = Oracle<any>;

/** In place of an oracle, for ops whose results no formula gives: the test that checks them. */
export interface TestedBy {
  readonly testedBy: string;
}
