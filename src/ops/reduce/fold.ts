/** Entries for the reductions along the middle dim of [outer, n, inner], and for running sums. */
import { Op, Type } from "../../../assembly/opcodes.ts";
import { encodeAlone } from "../../runtime/encoder.ts";
import { encodeReduce, type ReduceCode } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { type Shape, typeCode, type Value } from "../definition/value.ts";
import { div, mul } from "../pointwise/arithmetic.ts";
import { eq } from "../pointwise/comparison.ts";
import { reshape } from "../shape/reshape.ts";
import { broadcastTo, cast } from "../shape/shape.ts";

/** The dims of a reduction: kernels view their operand as [outer, n, inner] and reduce the middle dim. */
export interface Middle {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  /** The result's shape. */
  readonly shape: Shape;
}

export interface FoldAttributes extends Middle {
  /** The number that a float32 sum is divided by. */
  readonly divisor: number;
  /** For cumsum: sum from the end. */
  readonly reverse: boolean;
}

/** If there are fewer than FEW results, threads share pieces of PIECE elements instead of whole results. */
const PIECE = 4096;
const FEW = 64;

/**
 * The length of the pieces in which n is reduced, so that threads can share even a sum with a single result; 0 for a
 * single pass. The length depends only on the shape, so results are bit-identical for any number of threads.
 */
function pieceOf({ outer, n, inner }: Middle): number {
  const piece = Math.max(32, 2 ** Math.floor(Math.log2(PIECE / inner)));
  return outer * Math.ceil(inner / 4) < FEW && n >= 16 * piece ? piece : 0;
}

function fold(
  code: ReduceCode,
  name: string,
  rest: Pick<OpDefinition<FoldAttributes>, "cost" | "vjp" | "saves" | "below" | "units"> & {
    /** Whether n may be reduced in two stages: first in pieces, and then over the pieces' results. */
    pieces?: boolean;
    dtype?: "int32";
  },
): OpDefinition<FoldAttributes> {
  return {
    code,
    name,
    cost: rest.cost,
    ...(rest.vjp ? { vjp: rest.vjp } : {}),
    ...(rest.below ? { below: rest.below } : {}),
    saves: rest.saves ?? "none",
    ...(rest.units ? { units: rest.units } : {}),
    infer: ([x], { shape }) => [{ shape, dtype: rest.dtype ?? x!.dtype }],
    encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
      const { outer, n, inner, divisor } = attributes;
      const inexact = code === Op.Sum && x!.dtype === "float32";
      const piece = rest.pieces ? pieceOf(attributes) : 0;
      const type = typeCode[x!.dtype];
      const reverse = Number(attributes.reverse);
      const [to, from] = [address(out!), address(x!)];
      if (!piece)
        return encodeReduce(encoder, code, { out: to, x: from, outer, n, inner, divisor, reverse, type, piece });
      const pieces = Math.ceil(n / piece);
      const partial = encoder.workspace((inexact ? 8 : 4) * outer * pieces * inner);
      encodeReduce(encoder, code, { out: partial, x: from, outer, n, inner, divisor, reverse, type, piece });
      const elements = inexact ? Type.Float64 : type;
      const all = { out: to, x: partial, outer, n: pieces, inner, divisor, reverse, type: elements, piece: 0 };
      encodeAlone(encoder, () => encodeReduce(encoder, code, all));
    },
  };
}

/** The gradient of a sum with respect to its operand: dy repeated along the reduced dim. */
function spread(dy: Value, { outer, n, inner }: Middle, shape: Shape): Value {
  return reshape(broadcastTo(reshape(dy, [outer, 1, inner]), [outer, n, inner]), shape);
}

/** Σ x, or Σ x / divisor for means. The gradient is repeated along the reduced dim. */
export const sumDefinition = fold(Op.Sum, "sum", {
  cost: 0.1,
  pieces: true,
  vjp: (dy, { inputs: [x], attributes }) => [
    spread(attributes.divisor === 1 ? dy : div(dy, attributes.divisor), attributes, x!.shape),
  ],
});

/** A maximum or minimum. All elements that equal the result share its gradient evenly. */
function extreme(code: ReduceCode, name: string): OpDefinition<FoldAttributes> {
  return fold(code, name, {
    cost: 0.5,
    pieces: true,
    saves: "both",
    vjp(dy, { inputs: [x], outputs: [y], attributes }) {
      const { outer, n, inner } = attributes;
      const hits = cast(eq(reshape(x!, [outer, n, inner]), reshape(y!, [outer, 1, inner])), "float32");
      const share = div(
        reshape(dy, [outer, 1, inner]),
        apply(sumDefinition, [hits], { ...attributes, divisor: 1, shape: [outer, 1, inner] }),
      );
      return [reshape(mul(hits, share), x!.shape)];
    },
  });
}
/** The largest element, or NaN if any element is NaN. Tied elements share the gradient. */
export const maxDefinition = extreme(Op.Max, "max");
/** The smallest element, or NaN if any element is NaN. Tied elements share the gradient. */
export const minDefinition = extreme(Op.Min, "min");

const withoutGradient = ({ vjp: _, ...rest }: OpDefinition<FoldAttributes>): OpDefinition<FoldAttributes> => ({
  ...rest,
  saves: "none",
});
/**
 * The largest and the smallest element, without a gradient. logSumExp and norm shift or scale their operands by these
 * elements to prevent overflow.
 */
export const shiftDefinition = withoutGradient(maxDefinition);
export const smallestDefinition = withoutGradient(minDefinition);

function argExtreme(code: ReduceCode, name: string): OpDefinition<FoldAttributes> {
  return fold(code, name, { cost: 0.5, dtype: "int32", below: (_, { n }) => [n] });
}
/** The index of the largest element, or of the first one in a tie, int32. NaN counts as the largest. */
export const argMaxDefinition = argExtreme(Op.ArgMax, "argMax");
/** The index of the smallest element, or of the first one in a tie, int32. NaN counts as the smallest. */
export const argMinDefinition = argExtreme(Op.ArgMin, "argMin");

/** Π x of float32, computed in float64, without a gradient. */
export const prodDefinition = fold(Op.Prod, "prod", { cost: 0.2 });

/** Running sums. The gradient is the running sum of dy from the other end. */
export const cumsumDefinition = fold(Op.Cumsum, "cumsum", {
  cost: 1,
  // Threads cannot divide a running sum along n.
  units: (_, __, { outer, inner }) => outer * Math.ceil(inner / 4),
  vjp: (dy, { attributes }) => [
    apply(cumsumDefinition, [dy], {
      ...attributes,
      reverse: !attributes.reverse,
    }),
  ],
});
