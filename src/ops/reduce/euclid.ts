/**
 * Entries for the sum of squares and the Euclidean norm along the middle dim of [outer, n, inner]. statistics.ts has
 * the public functions.
 */
import { Op, Type } from "../../../assembly/opcodes.ts";
import { encodeAlone } from "../../runtime/encoder.ts";
import { encodeReduce, type ReduceCode } from "../../runtime/instructions.ts";
import type { OpDefinition } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { div, mul } from "../pointwise/arithmetic.ts";
import { eq, where } from "../pointwise/comparison.ts";
import { reshape } from "../shape/reshape.ts";
import type { Middle } from "./fold.ts";

export interface SquaresAttributes extends Middle {
  /** The number that the sum of squares is divided by. */
  readonly divisor: number;
}

/** If there are fewer than FEW results, threads share pieces of PIECE elements instead of whole results. */
const [FEW, PIECE] = [64, 8192];

/**
 * Reduces n with `code`, which also divides by the divisor. If there are few results and n is large, reduces n in
 * pieces, which threads can share, and then combines the pieces' results with `finish`.
 */
const encodeFold: (code: ReduceCode, finish: ReduceCode) => OpDefinition<SquaresAttributes>["encode"] =
  (code, finish) =>
  (encoder, { inputs: [x], outputs: [y], attributes: { outer, n, inner, divisor }, address }) => {
    const length = Math.max(32, Math.floor(PIECE / inner));
    const pieces = outer * Math.ceil(inner / 4) < FEW && n >= 8 * length ? Math.ceil(n / length) : 0;
    const [out, from, type, reverse] = [address(y!), address(x!), Type.Float32, 0];
    if (!pieces)
      return encodeReduce(encoder, code, { out, x: from, outer, n, inner, divisor, reverse, type, piece: 0 });
    const partial = encoder.workspace(4 * outer * pieces * inner);
    encodeReduce(encoder, code, { out: partial, x: from, outer, n, inner, divisor, reverse, type, piece: length });
    const all = { out, x: partial, outer, n: pieces, inner, divisor: 1, reverse, type, piece: 0 };
    encodeAlone(encoder, () => encodeReduce(encoder, finish, all));
  };

/** Views x as [outer, n, inner], and values of the result's shape as [outer, 1, inner]. */
const seen = (x: Value, { outer, n, inner }: Middle): Value => reshape(x, [outer, n, inner]);
const seenResult = (y: Value, { outer, inner }: Middle): Value => reshape(y, [outer, 1, inner]);

/** √(Σ x² / d), with squares in float64 so that none of them overflows. dx = dy·x/(d·y), 0 where y = 0. */
export const normDefinition: OpDefinition<SquaresAttributes> = {
  code: Op.Norm,
  name: "norm",
  cost: 0.15,
  saves: "both",
  infer: (_, { shape }) => [{ shape, dtype: "float32" }],
  encode: encodeFold(Op.Norm, Op.Norm),
  vjp(dy, { inputs: [x], outputs: [y], attributes }) {
    const size = seenResult(y!, attributes);
    const isZero = eq(size, 0);
    // Divide x by y first: |x/y| is at most √d, even if x or y is very large or very small.
    const direction = div(seen(x!, attributes), where(isZero, 1, size));
    const d = seenResult(attributes.divisor === 1 ? dy : div(dy, attributes.divisor), attributes);
    return [reshape(mul(direction, where(isZero, 0, d)), x!.shape)];
  },
};

/** Σ x² / d, with squares in float64 so that none of them overflows or underflows. dx = dy·2x/d. */
export const squaresDefinition: OpDefinition<SquaresAttributes> = {
  code: Op.Squares,
  name: "squares",
  cost: 0.15,
  saves: "input",
  infer: (_, { shape }) => [{ shape, dtype: "float32" }],
  encode: encodeFold(Op.Squares, Op.Sum),
  vjp: (dy, { inputs: [x], attributes }) => [
    reshape(mul(seen(x!, attributes), seenResult(div(dy, attributes.divisor / 2), attributes)), x!.shape),
  ],
};
