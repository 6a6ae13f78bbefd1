/** Gather, scatter-add, index select and one-hot. Index tensors are int32, and their values are checked. */
import { Op } from "../../../assembly/opcodes.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { encodeIndex, encodeOneHot, type IndexCode } from "../../runtime/instructions.ts";
import { apply, type OpDefinition, type RangeCheck } from "../definition/op.ts";
import {
  type DType,
  normalizeDim,
  requireShape,
  requireType,
  type Shape,
  sameShape,
  show,
  sizeOf,
  typeCode,
  type Value,
} from "../definition/value.ts";
import { add } from "../pointwise/arithmetic.ts";
import { patternOf } from "../shape/copy.ts";

export interface IndexAttributes {
  readonly dim: number;
  /** The size of `dim` in the indexed tensor. */
  readonly n: number;
  /** The function name for error messages about the index. Default: the op's name. */
  readonly caller?: string;
  /** For scattering: the maximum number of elements that can have the same index. Default: all of them. */
  readonly most?: number;
  /** Skip indices that are out of range, instead of throwing. */
  readonly skips?: boolean;
}

/** Sums of more float32 terms than this are computed in float64. */
const SHORT = 16;

/**
 * Splits a shape around `dim`: `middle` is the size of `dim`, and `outer` and `inner` are the numbers of elements in
 * the dims before and after it.
 */
export function around(shape: Shape, dim: number): { outer: number; middle: number; inner: number } {
  return {
    outer: sizeOf(shape.slice(0, dim)),
    middle: shape[dim]!,
    inner: sizeOf(shape.slice(dim + 1)),
  };
}

export const resized = (shape: Shape, dim: number, n: number): number[] =>
  shape.map((size, i) => (i === dim ? n : size));

/** The check that indices into a dim of size n are in range. */
export const indexCheck = (name: string, input: number, n: number): RangeCheck => ({
  input,
  low: 0,
  high: n - 1,
  error: (value, at) => new RangeError(`${name}: index ${value} at position ${at} is outside 0 … ${n - 1}.`),
});

/** The check that labels for cross-entropy with logits [rows, classes] are in range. */
export const labelCheck = (input: number, logits: Shape, ignoreIndex?: number): RangeCheck => ({
  input,
  low: 0,
  high: logits[1]! - 1,
  ...(ignoreIndex !== undefined && { skip: ignoreIndex }),
  error: (label, at) =>
    new RangeError(
      `crossEntropy: label ${label} at position ${at} is outside 0 … ${logits[1]! - 1}, the classes of logits ${show(logits)}.`,
    ),
});

/** The number of bytes for lists that assign `count` terms to n sums, rounded up to whole cache lines. */
const listBytesOf = (n: number, count: number): number => (4 * (n + count) + 63) & ~63;

function indexOp(
  code: IndexCode,
  name: string,
  /** Whether the index has the operand's rank and selects single elements, not slices. */
  elementwise: boolean,
  /** Whether the op adds x to the result at the indices, instead of reading x at the indices. */
  adds: boolean,
  vjp: (dy: Value, index: Value, attributes: IndexAttributes, xShape: Shape) => Value,
): OpDefinition<IndexAttributes> {
  return {
    code,
    name,
    cost: 0.3,
    flops: ([x]) => (adds ? x!.size : 0),
    ...(!adds && {
      touches: ([, index]: readonly Value[], [out]: readonly Value[]) => Math.max(index!.size, out!.size),
    }),
    saves: [1],
    infer([x, index], { dim, n, caller = name }) {
      requireType(caller, index!, "int32", "index");
      if (adds && !(elementwise && x!.dtype === "int32")) requireType(caller, x!, "float32");
      const count = index!.shape[elementwise ? dim : 0]!;
      return [
        {
          shape: adds ? resized(x!.shape, dim, n) : elementwise ? index!.shape : resized(x!.shape, dim, count),
          dtype: x!.dtype,
        },
      ];
    },
    checks: (_, { n, caller = name, skips }) => (skips ? [] : [indexCheck(caller, 1, n)]),
    encode(encoder, { inputs: [x, index], outputs: [out], attributes: { dim, n, most }, address }) {
      const { outer, inner } = around(x!.shape, dim);
      const count = index!.shape[elementwise ? dim : 0]!;
      const listBytes = adds && !elementwise ? listBytesOf(n, count) : 0;
      const long = adds && elementwise && x!.dtype === "float32" && Math.min(count, most ?? count) > SHORT;
      const workspace =
        listBytes || long ? encoder.workspace(long ? Math.ceil((8 * out!.size) / encoder.shares) : listBytes) : 0;
      encodeIndex(encoder, code, {
        out: address(out!),
        x: address(x!),
        index: address(index!),
        outer,
        n,
        count,
        inner,
        type: typeCode[x!.dtype],
        workspace,
        listBytes,
        rows: 0,
        height: count,
      });
    },
    vjp: (dy, { inputs: [x, index], attributes }) => [vjp(dy, index!, attributes, x!.shape), null],
  };
}

/** The slices of x at the given indices along a dim. The gradient is dy, added to zeros at the same indices. */
const indexSelectDefinition = indexOp(Op.IndexSelect, "indexSelect", false, false, (dy, index, attributes) =>
  apply(indexAddDefinition, [dy, index], attributes),
);
/**
 * Zeros to which slices are added at the given indices along a dim, one after another. The gradient is dy, gathered at
 * the same indices.
 */
const indexAddDefinition = indexOp(Op.IndexAdd, "indexAdd", false, true, (dy, index, attributes) =>
  apply(indexSelectDefinition, [dy, index], attributes),
);
/**
 * The sum of the rows of x in each segment: out[i] = Σ x[rows[j]] over all j with segments[j] = i, in ascending order.
 * Adds the rows without copying them first. The gradient is the same sum of dy, with rows and segments swapped.
 *
 * x: [height, …], rows and segments: int32 [count] → [n, …].
 */
const segmentSumDefinition: OpDefinition<Pick<IndexAttributes, "n" | "skips">> = {
  code: indexAddDefinition.code,
  name: "segmentSum",
  cost: 0.3,
  flops: ([, rows], [out], { n }) => rows!.size * (out!.size / n || 0),
  saves: [1, 2],
  infer([x, rows, segments], { n }) {
    requireType("segmentSum", x!, "float32");
    requireType("segmentSum", rows!, "int32", "index of the rows");
    requireType("segmentSum", segments!, "int32", "index of the segments");
    return [{ shape: resized(x!.shape, 0, n), dtype: "float32" }];
  },
  checks: ([x], { n, skips }) =>
    skips ? [] : [indexCheck("segmentSum", 1, x!.shape[0]!), indexCheck("segmentSum", 2, n)],
  encode(encoder, { inputs: [x, rows, segments], outputs: [out], attributes: { n }, address }) {
    const { middle: height, inner } = around(x!.shape, 0);
    const count = rows!.size;
    const listBytes = listBytesOf(n, count);
    const workspace = encoder.workspace(listBytes);
    const operands = { out: address(out!), x: address(x!), index: address(segments!), rows: address(rows!) };
    const sizes = { outer: 1, n, count, inner, height };
    encodeIndex(encoder, Op.IndexAdd, { ...operands, ...sizes, type: typeCode.float32, workspace, listBytes });
  },
  vjp: (dy, { inputs: [x, rows, segments], attributes: { skips } }) => [
    apply(segmentSumDefinition, [dy, segments!, rows!], { n: x!.shape[0]!, ...(skips ? { skips } : {}) }),
    null,
    null,
  ],
};

/** One element of x per index along a dim. The gradient is dy, added to zeros at the same indices. */
const gatherDefinition = indexOp(Op.Gather, "gather", true, false, (dy, index, attributes) =>
  apply(scatterAddDefinition, [dy, index], attributes),
);
/**
 * Zeros to which each element is added at its index along a dim, one after another. The gradient is dy, gathered at the
 * same indices.
 */
const scatterAddDefinition = indexOp(Op.ScatterAdd, "scatterAdd", true, true, (dy, index, attributes) =>
  apply(gatherDefinition, [dy, index], attributes),
);

/**
 * The slices of x at the given indices along `dim`. The gradient is dy, added to zeros at the same indices.
 *
 * x: any shape, index: [n] → x's shape but with size n at `dim`, x's type.
 *
 * @param dim The dim to select from.
 * @param index The indices, int32.
 * @throws ShapeError if the index does not have one dim
 * @throws RangeError if an index is outside the dim
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.indexSelect(0, tensor([1, 1], { dtype: "int32" })).toArray(); // [[3, 4], [3, 4]]
 * ```
 * @op
 */
export function indexSelect(x: Value, dim: number, index: Value): Value {
  const at = normalizeDim("indexSelect", dim, x.shape.length);
  if (index.shape.length !== 1)
    throw new ShapeError(`indexSelect: the index must have one dimension, got ${show(index.shape)}.`);
  return apply(indexSelectDefinition, [x, index], { dim: at, n: x.shape[at]! });
}

/** Requires the same rank, and the same sizes except at `dim`. */
function requireSameOuter(name: string, x: Value, index: Value, dim: number): void {
  if (x.shape.length !== index.shape.length || x.shape.some((n, i) => i !== dim && n !== index.shape[i])) {
    throw new ShapeError(
      `${name}: the index ${show(index.shape)} must match the shape ${show(x.shape)} except in dim ${dim}.`,
    );
  }
}

/**
 * Selects one element for each index along `dim`: out[i][j] = x[index[i][j]][j] for dim 0, and out[i][j] =
 * x[i][index[i][j]] for dim 1. The gradient is dy, added to zeros at the same positions.
 *
 * x: any shape, index: x's shape except at `dim` → the index's shape, x's type.
 *
 * @param dim The dim to pick from.
 * @param index The indices, int32.
 * @throws ShapeError if the shapes differ at another dim
 * @throws RangeError if an index is outside the dim
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.gather(1, tensor([[1], [0]], { dtype: "int32" })).toArray(); // [[2], [3]]
 * ```
 * @op
 */
export function gather(x: Value, dim: number, index: Value): Value {
  const at = normalizeDim("gather", dim, x.shape.length);
  requireSameOuter("gather", x, index, at);
  return apply(gatherDefinition, [x, index], { dim: at, n: x.shape[at]! });
}

/**
 * Zeros of size n along `dim`, with each element of `source` added at its index. The gradient is dy, gathered at the
 * same indices. Sums of int32 wrap around at ±2³¹.
 *
 * source and index: the same shape → that shape but with size n at `dim`, the source's type: float32 or int32.
 *
 * @param source The elements to add.
 * @param dim The dim to index along.
 * @param index The indices, int32.
 * @param n The result's size at `dim`.
 * @throws ShapeError if the shapes differ
 * @throws RangeError if an index is outside the dim
 * @example
 * ```ts
 * const index = tensor([0, 2, 0], { dtype: "int32" });
 * scatterSum(tensor([1, 2, 3]), 0, index, 3).toArray(); // [4, 0, 2]
 * ```
 * @op function
 */
export function scatterSum(source: Value, dim: number, index: Value, n: number): Value {
  const at = normalizeDim("scatterSum", dim, source.shape.length);
  if (!sameShape(source.shape, index.shape)) {
    throw new ShapeError(
      `scatterSum: the index ${show(index.shape)} must have the source's shape ${show(source.shape)}. Narrow the longer one.`,
    );
  }
  requireShape("scatterSum", [n]);
  return apply(scatterAddDefinition, [source, index], { dim: at, n });
}

/**
 * x with each element of `source` added at its index along `dim`: PyTorch's scatter_add, without writing to x.
 *
 * x: any shape; source and index have the same shape, which equals x's except at `dim` → x's shape.
 *
 * @param dim The dim to index along.
 * @param index The indices, int32.
 * @param source The elements to add.
 * @throws ShapeError if the shapes do not match
 * @throws RangeError if an index is outside the dim
 * @example
 * ```ts
 * const x = tensor([10, 10]);
 * x.scatterAdd(0, tensor([1, 1], { dtype: "int32" }), tensor([1, 2])).toArray(); // [10, 13]
 * ```
 * @op
 */
export function scatterAdd(x: Value, dim: number, index: Value, source: Value): Value {
  return add(x, scatterSum(source, dim, index, x.shape[normalizeDim("scatterAdd", dim, x.shape.length)]!));
}

/**
 * x with slices of `source` added at the given indices along `dim`: PyTorch's index_add, without writing to x.
 *
 * x: any shape, index: [n], source: x's shape but with size n at `dim` → x's shape.
 *
 * @param dim The dim to index along.
 * @param index The indices, int32.
 * @param source The slices to add.
 * @throws ShapeError if the index is not a vector with one entry per slice of `source`
 * @throws RangeError if an index is outside the dim
 * @example
 * ```ts
 * const x = zeros([2, 2]);
 * x.indexAdd(0, tensor([1], { dtype: "int32" }), tensor([[5, 6]])).toArray(); // [[0, 0], [5, 6]]
 * ```
 * @op
 */
export function indexAdd(x: Value, dim: number, index: Value, source: Value): Value {
  const at = normalizeDim("indexAdd", dim, x.shape.length);
  if (index.shape.length !== 1 || source.shape[at] !== index.size) {
    throw new ShapeError(
      `indexAdd: the index ${show(index.shape)} must be a vector with one entry for each slice of the source ` +
        `${show(source.shape)} along dim ${dim}.`,
    );
  }
  return add(x, apply(indexAddDefinition, [source, index], { dim: at, n: x.shape[at]! }));
}

/**
 * 1 at each index, 0 elsewhere. An index that is out of range gives a row of zeros or, if `of` is given, an error that
 * calls it an index or a label.
 */
const oneHotDefinition: OpDefinition<{ classes: number; of?: "index" | "labels"; dtype?: DType }> = {
  code: Op.OneHot,
  cost: 0.3,
  flops: () => 0,
  name: "oneHot",
  infer([index], { classes, dtype = "float32" }) {
    requireType("oneHot", index!, "int32", "index");
    return [{ shape: [...index!.shape, classes], dtype }];
  },
  checks: ([index], { classes, of }) =>
    of ? [of === "labels" ? labelCheck(0, [index!.size, classes]) : indexCheck("oneHot", 0, classes)] : [],
  encode(encoder, { inputs: [index], outputs: [out], attributes: { classes }, address }) {
    const one = patternOf(1, out!.dtype);
    encodeOneHot(encoder, { out: address(out!), index: address(index!), rows: index!.size, classes, one });
  },
};

/** Converts labels for cross-entropy to one-hot rows. @throws RangeError if a label is not one of the classes */
export function oneHotLabels(labels: Value, classes: number): Value {
  return apply(oneHotDefinition, [labels], { classes, of: "labels" });
}

/** Converts labels to one-hot rows. A label that is not one of the classes gives a row of zeros. */
export function oneHotOrZeros(labels: Value, classes: number, dtype: "float32" | "int32" = "float32"): Value {
  return apply(oneHotDefinition, [labels], { classes, dtype });
}

/**
 * 1 at the position of each index, 0 elsewhere. No gradient.
 *
 * index: any shape, int32 → [...index.shape, classes], float32.
 *
 * @param classes The number of classes.
 * @throws DTypeError if the index is not int32
 * @throws RangeError if an index is not between 0 and classes − 1
 * @example
 * ```ts
 * const index = tensor([2, 0], { dtype: "int32" });
 * index.oneHot(3).toArray(); // [[0, 0, 1], [1, 0, 0]]
 * ```
 * @op
 */
export function oneHot(index: Value, classes: number): Value {
  requireShape("oneHot", [classes]);
  return apply(oneHotDefinition, [index], { classes, of: "index" });
}

export const gatherDefinitions = {
  indexSelect: indexSelectDefinition,
  indexAdd: indexAddDefinition,
  segmentSum: segmentSumDefinition,
  gather: gatherDefinition,
  scatterAdd: scatterAddDefinition,
  oneHot: oneHotDefinition,
};
