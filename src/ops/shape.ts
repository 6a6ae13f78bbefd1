/** Ops that move elements: permute, slice and its inverse, broadcast, concatenate, convert, copy in place, fill. */
import { Cast, Dim, Fill, Op, StridedCopy } from "../../assembly/opcodes.ts";
import { ShapeError } from "../runtime/errors.ts";
import type { Encoder } from "../runtime/engine.ts";
import { apply, type OpDefinition, type Reference, reshaped } from "./op.ts";
import {
  broadcastStrides, bytesPerElement, collapse, contiguousStrides, type DType, normalizeDim, requireShape, sameShape, type Shape, show, sizeOf,
  typeCode, type Value,
} from "./value.ts";

/** Writes a strided copy of `shape` elements; offsets and strides in elements. */
function encodeCopy(
  encoder: Encoder,
  code: Op,
  dtype: DType,
  shape: Shape,
  to: { address: number; offset: number; strides: readonly number[] },
  from: { address: number; offset: number; strides: readonly number[] },
): void {
  const bytes = bytesPerElement[dtype];
  const { sizes, strides } = collapse(shape, [to.strides, from.strides]);
  if (!sizes.length) {
    sizes.push(sizeOf(shape));
    for (const own of strides) own.push(1);
  }
  encoder.begin(code, StridedCopy.words + sizes.length * Dim.words);
  encoder.set(StridedCopy.out, to.address + to.offset * bytes);
  encoder.set(StridedCopy.x, from.address + from.offset * bytes);
  encoder.set(StridedCopy.elementBytes, bytes);
  encoder.set(StridedCopy.rank, sizes.length);
  for (let i = 0, at: number = StridedCopy.words; i < sizes.length; i++, at += Dim.words) {
    encoder.set(at + Dim.size, sizes[i]!);
    encoder.set(at + Dim.first, strides[0]![i]! * bytes);
    encoder.set(at + Dim.second, strides[1]![i]! * bytes);
  }
  encoder.end();
}

/** Writes a fill of a whole value with one number. */
function encodeFill(encoder: Encoder, address: number, x: Value, value: number): void {
  encoder.begin(Op.Fill, Fill.words);
  encoder.set(Fill.out, address);
  encoder.set(Fill.bytes, x.size * bytesPerElement[x.dtype]);
  if (x.dtype === "float32") encoder.setFloat(Fill.value, value);
  else encoder.set(Fill.value, x.dtype === "int32" ? value : (value & 255) * 0x01010101);
  encoder.end();
}

/** The oracle of a strided read: element k of `shape` is x[offset + Σ index·stride]. */
function strided(x: Reference, shape: Shape, offset: number, strides: readonly number[]): Reference {
  const data: number[] = [];
  const visit = (dim: number, at: number): void => {
    if (dim === shape.length) data.push(x.data[at]!);
    else for (let i = 0; i < shape[dim]!; i++) visit(dim + 1, at + i * strides[dim]!);
  };
  visit(0, offset);
  return { shape, data };
}

export const fillDefinition: OpDefinition<{ shape: Shape; dtype: DType; value: number }> = {
  code: Op.Fill,
  name: "full",
  doc: "One number everywhere.",
  infer: (_, { shape, dtype }) => [{ shape, dtype }],
  encode: (encoder, { outputs: [out], attributes, address }) => encodeFill(encoder, address(out!), out!, attributes.value),
  reference: (_, { shape, value }) => [{ shape, data: new Array<number>(sizeOf(shape)).fill(value) }],
  samples: [
    { inputs: [], attributes: { shape: [33], dtype: "float32", value: 1.5 } },
    { inputs: [], attributes: { shape: [3, 5], dtype: "int32", value: -7 } },
    { inputs: [], attributes: { shape: [31], dtype: "bool", value: 1 } },
  ],
};

/** A value of `shape` that holds one number everywhere. */
export function full(shape: Shape, value: number, dtype: DType = "float32"): Value {
  requireShape("full", shape);
  return apply(fillDefinition, [], { shape, dtype, value });
}

const permuteDefinition: OpDefinition<{ dims: readonly number[] }> = {
  code: Op.Permute,
  name: "permute",
  doc: "Dimensions in another order. The gradient goes back by the inverse order.",
  infer: ([x], { dims }) => [{ shape: dims.map((dim) => x!.shape[dim]!), dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes: { dims }, address }) {
    const own = contiguousStrides(x!.shape);
    encodeCopy(encoder, Op.Permute, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!), offset: 0, strides: dims.map((dim) => own[dim]!),
    });
  },
  vjp: (dy, { attributes: { dims } }) => [permute(dy, dims.map((_, i) => dims.indexOf(i)))],
  reference([x], { dims }) {
    const own = contiguousStrides(x!.shape);
    return [strided(x!, dims.map((dim) => x!.shape[dim]!), 0, dims.map((dim) => own[dim]!))];
  },
  samples: [
    { inputs: [{ shape: [3, 5] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [33, 31] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [8, 4] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [2, 3, 4, 5] }], attributes: { dims: [0, 2, 1, 3] } },
    { inputs: [{ shape: [2, 3, 4, 5] }], attributes: { dims: [3, 1, 2, 0] } },
    { inputs: [{ shape: [2, 7, 6] }], attributes: { dims: [0, 2, 1] } },
    { inputs: [{ shape: [0, 3] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [5, 6], dtype: "bool" }], attributes: { dims: [1, 0] } },
  ],
};

/** A contiguous operand of a copy. */
function whole(address: number, shape: Shape): { address: number; offset: number; strides: number[] } {
  return { address, offset: 0, strides: contiguousStrides(shape) };
}

/** Dimensions in the order `dims`. */
export function permute(x: Value, dims: readonly number[]): Value {
  const order = dims.map((dim) => normalizeDim("permute", dim, x.shape.length));
  if (new Set(order).size !== x.shape.length) {
    throw new ShapeError(`permute: dims ${show(dims)} must name each of the ${x.shape.length} dimensions of ${show(x.shape)} once.`);
  }
  return order.every((dim, i) => dim === i) ? x : apply(permuteDefinition, [x], { dims: order });
}

/** Two dimensions exchanged. */
export function transpose(x: Value, dim0: number, dim1: number): Value {
  const [a, b] = [normalizeDim("transpose", dim0, x.shape.length), normalizeDim("transpose", dim1, x.shape.length)];
  return permute(x, x.shape.map((_, i) => (i === a ? b : i === b ? a : i)));
}

/** The transpose of a matrix; a vector stays as it is. */
export function t(x: Value): Value {
  if (x.shape.length > 2) throw new ShapeError(`t: ${show(x.shape)} has more than 2 dimensions. Use transpose(-2, -1).`);
  return x.shape.length < 2 ? x : permute(x, [1, 0]);
}

/** A box of elements: `sizes` of them from `starts`, `steps` apart (negative: backwards). */
interface Box {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps: readonly number[];
}

/** Where a box begins in a contiguous array, and its strides; in elements. */
function boxLayout(shape: Shape, box: Box): { offset: number; strides: number[] } {
  const own = contiguousStrides(shape);
  const offset = box.starts.reduce((sum, start, i) => sum + start * own[i]!, 0);
  return { offset, strides: own.map((stride, i) => stride * box.steps[i]!) };
}

const sliceDefinition: OpDefinition<Box> = {
  code: Op.Slice,
  name: "slice",
  doc: "A box of elements. The gradient is put back into zeros.",
  infer: ([x], { sizes }) => [{ shape: sizes, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
    encodeCopy(encoder, Op.Slice, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!), ...boxLayout(x!.shape, attributes),
    });
  },
  vjp: (dy, { inputs: [x], attributes }) => [unslice(dy, x!.shape, attributes, 0)],
  reference([x], attributes) {
    const { offset, strides } = boxLayout(x!.shape, attributes);
    return [strided(x!, attributes.sizes, offset, strides)];
  },
  samples: [
    { inputs: [{ shape: [7] }], attributes: { starts: [1], sizes: [5], steps: [1] } },
    { inputs: [{ shape: [33] }], attributes: { starts: [32], sizes: [17], steps: [-2] } },
    { inputs: [{ shape: [4, 5, 6] }], attributes: { starts: [1, 4, 0], sizes: [2, 3, 6], steps: [1, -2, 1] } },
    { inputs: [{ shape: [4, 5] }], attributes: { starts: [0, 1], sizes: [0, 3], steps: [1, 1] } },
    { inputs: [{ shape: [6, 5], dtype: "bool" }], attributes: { starts: [0, 1], sizes: [3, 3], steps: [2, 1] } },
  ],
};

const unsliceDefinition: OpDefinition<Box & { shape: Shape; value: number }> = {
  code: Op.Unslice,
  name: "pad",
  doc: "A box of elements put into a constant surrounding. The gradient is the box cut out again.",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
    encodeFill(encoder, address(out!), out!, attributes.value);
    encodeCopy(encoder, Op.Unslice, x!.dtype, x!.shape, { address: address(out!), ...boxLayout(out!.shape, attributes) },
      whole(address(x!), x!.shape));
  },
  vjp: (dy, { attributes }) => [applySlice(dy, attributes)],
  reference([x], attributes) {
    const data = new Array<number>(sizeOf(attributes.shape)).fill(attributes.value);
    const places = strided({ shape: attributes.shape, data: data.map((_, i) => i) }, x!.shape, boxLayout(attributes.shape, attributes).offset,
      boxLayout(attributes.shape, attributes).strides).data;
    Array.from(places, (place, i) => (data[place] = x!.data[i]!));
    return [{ shape: attributes.shape, data }];
  },
  samples: [
    { inputs: [{ shape: [5] }], attributes: { starts: [2], sizes: [5], steps: [1], shape: [9], value: 1.5 } },
    { inputs: [{ shape: [2, 3] }], attributes: { starts: [3, 0], sizes: [2, 3], steps: [-2, 2], shape: [4, 5], value: 0 } },
    { inputs: [{ shape: [0] }], attributes: { starts: [0], sizes: [0], steps: [1], shape: [3], value: 2 } },
  ],
};

const applySlice = (x: Value, { starts, sizes, steps }: Box): Value => apply(sliceDefinition, [x], { starts, sizes, steps });

function unslice(x: Value, shape: Shape, { starts, sizes, steps }: Box, value: number): Value {
  return apply(unsliceDefinition, [x], { starts, sizes, steps, shape, value });
}

/** Part of a dimension: all (null), one place (which drops the dimension), or [start, end, step] with JavaScript's and NumPy's defaults. */
export type SliceRange = null | number | readonly [start?: number | null, end?: number | null, step?: number];

/**
 * Part of each dimension, as NumPy's x[2, 1:5, ::-1] is x.slice(2, [1, 5], [null, null, -1]). Dimensions not named stay whole.
 * @throws ShapeError where a place does not exist
 */
export function slice(x: Value, ...ranges: SliceRange[]): Value {
  if (ranges.length > x.shape.length) {
    throw new ShapeError(`slice: ${ranges.length} ranges for ${show(x.shape)}, which has ${x.shape.length} dimensions.`);
  }
  const starts: number[] = [];
  const sizes: number[] = [];
  const steps: number[] = [];
  const kept: number[] = [];
  x.shape.forEach((n, dim) => {
    const range = ranges[dim] ?? [];
    if (typeof range === "number") {
      const at = range < 0 ? range + n : range;
      if (!Number.isInteger(range) || at < 0 || at >= n) throw new ShapeError(`slice: ${range} is outside dim ${dim} of ${show(x.shape)}.`);
      starts.push(at);
      sizes.push(1);
      steps.push(1);
      return;
    }
    const [first, last, step = 1] = range;
    if (!Number.isInteger(step) || step === 0) throw new ShapeError(`slice: step ${step} in dim ${dim} must be a whole number other than 0.`);
    // NumPy's rule: bounds are clipped to the dimension, negatives count from its end.
    const clip = (at: number, low: number, high: number) => Math.min(high, Math.max(low, at < 0 ? at + n : at));
    const from = first == null ? (step > 0 ? 0 : n - 1) : clip(first, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
    const to = last == null ? (step > 0 ? n : -1) : clip(last, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
    const size = Math.max(0, Math.ceil((to - from) / step));
    starts.push(size ? from : 0);
    sizes.push(size);
    steps.push(step);
    kept.push(size);
  });
  const same = steps.every((step) => step === 1) && sameShape(sizes, x.shape);
  return reshape(same ? x : applySlice(x, { starts, sizes, steps }), kept);
}

/** The elements in reverse along `dims`. */
export function flip(x: Value, dims: number | readonly number[]): Value {
  const flipped = new Set((typeof dims === "number" ? [dims] : dims).map((dim) => normalizeDim("flip", dim, x.shape.length)));
  return slice(x, ...x.shape.map((_, i): SliceRange => (flipped.has(i) ? [null, null, -1] : null)));
}

/**
 * Adds a border. `padding` lists pairs [before, after] flat, from the last dimension on, as PyTorch does; negative cuts off.
 * @throws ShapeError where more would be cut off than there is
 */
export function pad(x: Value, padding: readonly number[], value = 0): Value {
  const rank = x.shape.length;
  if (padding.length % 2 || padding.length > 2 * rank || padding.some((p) => !Number.isInteger(p))) {
    throw new ShapeError(`pad: ${show(padding)} must list pairs of whole numbers, [before, after] from the last dim on, at most ${rank} of them.`);
  }
  const before = x.shape.map((_, i) => padding[2 * (rank - 1 - i)] ?? 0);
  const after = x.shape.map((_, i) => padding[2 * (rank - 1 - i) + 1] ?? 0);
  const shape = x.shape.map((n, i) => n + before[i]! + after[i]!);
  if (shape.some((n) => n < 0)) throw new ShapeError(`pad: ${show(padding)} cuts more off than ${show(x.shape)} has.`);
  // What is cut off goes first, so that the rest fits inside.
  const kept = slice(x, ...x.shape.map((n, i): SliceRange => [Math.max(0, -before[i]!), n + Math.min(0, after[i]!)]));
  if (sameShape(kept.shape, shape)) return kept;
  const starts = before.map((b) => Math.max(0, b));
  return unslice(kept, shape, { starts, sizes: kept.shape, steps: shape.map(() => 1) }, value);
}

const broadcastDefinition: OpDefinition<{ shape: Shape }> = {
  code: Op.BroadcastTo,
  name: "broadcastTo",
  doc: "Repeats along new dimensions and dimensions of size 1. The gradient is summed back over them.",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    encodeCopy(encoder, Op.BroadcastTo, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!), offset: 0, strides: broadcastStrides(x!.shape, out!.shape),
    });
  },
  vjp: (dy) => [dy],
  reference: ([x], { shape }) => [strided(x!, shape, 0, broadcastStrides(x!.shape, shape))],
  samples: [
    { inputs: [{ shape: [] }], attributes: { shape: [5] } },
    { inputs: [{ shape: [3, 1] }], attributes: { shape: [2, 3, 33] } },
    { inputs: [{ shape: [4] }], attributes: { shape: [3, 4] } },
    { inputs: [{ shape: [1, 5] }], attributes: { shape: [0, 5] } },
    { inputs: [{ shape: [2, 1], dtype: "bool" }], attributes: { shape: [2, 7] } },
  ],
};

/** Repeats x along new leading dimensions and along dimensions of size 1. @throws ShapeError */
export function broadcastTo(x: Value, shape: Shape): Value {
  requireShape("broadcastTo", shape);
  const offset = shape.length - x.shape.length;
  if (offset < 0 || x.shape.some((n, i) => n !== 1 && n !== shape[i + offset])) {
    throw new ShapeError(`broadcastTo: ${show(x.shape)} does not broadcast to ${show(shape)}: each size must be 1 or agree, counted from the end.`);
  }
  return sameShape(x.shape, shape) ? x : apply(broadcastDefinition, [x], { shape });
}

const concatDefinition: OpDefinition<{ dim: number }> = {
  code: Op.Concat,
  name: "concat",
  doc: "Side by side along a dimension. The gradient is cut into the same pieces.",
  infer([first, ...rest], { dim }) {
    let n = first!.shape[dim]!;
    for (const x of rest) {
      if (x.dtype !== first!.dtype) throw new ShapeError(`concat: ${first!.dtype} and ${x.dtype} do not join. Convert with .to(…).`);
      if (x.shape.length !== first!.shape.length || x.shape.some((size, i) => i !== dim && size !== first!.shape[i])) {
        throw new ShapeError(`concat: ${show(first!.shape)} and ${show(x.shape)} differ in a dim other than ${dim}.`);
      }
      n += x.shape[dim]!;
    }
    return [{ shape: first!.shape.map((size, i) => (i === dim ? n : size)), dtype: first!.dtype }];
  },
  encode(encoder, { inputs, outputs: [out], attributes: { dim }, address }) {
    const strides = contiguousStrides(out!.shape);
    let at = 0;
    for (const x of inputs) {
      encodeCopy(encoder, Op.Concat, x.dtype, x.shape, { address: address(out!), offset: at * strides[dim]!, strides }, whole(address(x), x.shape));
      at += x.shape[dim]!;
    }
  },
  vjp(dy, { inputs, attributes: { dim }, needs }) {
    let at = 0;
    return inputs.map((x, i) => {
      const start = at;
      at += x.shape[dim]!;
      return needs[i] ? narrow(dy, dim, start, x.shape[dim]!) : null;
    });
  },
  reference(inputs, { dim }) {
    const shape = inputs[0]!.shape.map((n, i) => (i === dim ? inputs.reduce((sum, x) => sum + x.shape[dim]!, 0) : n));
    const outer = sizeOf(shape.slice(0, dim));
    const data: number[] = [];
    for (let o = 0; o < outer; o++) {
      for (const x of inputs) {
        const run = x.data.length / outer;
        for (let i = 0; i < run; i++) data.push(x.data[o * run + i]!);
      }
    }
    return [{ shape, data }];
  },
  samples: [
    { inputs: [{ shape: [3] }, { shape: [5] }], attributes: { dim: 0 } },
    { inputs: [{ shape: [2, 3] }, { shape: [2, 1] }, { shape: [2, 7] }], attributes: { dim: 1 } },
    { inputs: [{ shape: [2, 3, 4] }, { shape: [2, 2, 4] }], attributes: { dim: 1 } },
    { inputs: [{ shape: [0, 3] }, { shape: [2, 3] }], attributes: { dim: 0 } },
  ],
};

/** Tensors side by side along `dim`; the other sizes must agree. @throws ShapeError */
export function concat(xs: readonly Value[], dim = 0): Value {
  if (!xs.length) throw new ShapeError("concat: no tensors given.");
  return apply(concatDefinition, xs, { dim: normalizeDim("concat", dim, xs[0]!.shape.length) });
}

/** Tensors of one shape along a new dimension. @throws ShapeError */
export function stack(xs: readonly Value[], dim = 0): Value {
  if (!xs.length) throw new ShapeError("stack: no tensors given.");
  const first = xs[0]!;
  for (const x of xs) {
    if (!sameShape(x.shape, first.shape)) throw new ShapeError(`stack: ${show(first.shape)} and ${show(x.shape)} differ; all must have one shape.`);
  }
  const at = normalizeDim("stack", dim, first.shape.length + 1);
  return concat(xs.map((x) => unsqueeze(x, at)), at);
}

/** `length` places of `dim` from `start`. */
export function narrow(x: Value, dim: number, start: number, length: number): Value {
  const at = normalizeDim("narrow", dim, x.shape.length);
  if (start < 0 || length < 0 || start + length > x.shape[at]!) {
    throw new ShapeError(`narrow: ${start} … ${start + length - 1} is outside dim ${dim} of ${show(x.shape)}.`);
  }
  return slice(x, ...x.shape.map((_, i): SliceRange => (i === at ? [start, start + length] : null)));
}

/** Pieces of the given size (the last may be shorter), or of the given sizes, along `dim`. */
export function split(x: Value, sizes: number | readonly number[], dim = 0): Value[] {
  const at = normalizeDim("split", dim, x.shape.length);
  const n = x.shape[at]!;
  if (typeof sizes === "number" && !(sizes > 0)) throw new ShapeError(`split: a size of ${sizes} is not above 0.`);
  const lengths =
    typeof sizes === "number" ? Array.from({ length: Math.ceil(n / sizes) }, (_, i) => Math.min(sizes, n - i * sizes)) : sizes;
  if (lengths.reduce((a, b) => a + b, 0) !== n) throw new ShapeError(`split: sizes ${show(lengths)} do not add up to ${n}, dim ${dim} of ${show(x.shape)}.`);
  let start = 0;
  return lengths.map((length) => narrow(x, at, (start += length) - length, length));
}

/** The same elements under another shape, without a copy; one size may be −1. @throws ShapeError */
export function reshape(x: Value, shape: Shape): Value {
  const known = sizeOf(shape.filter((n) => n !== -1));
  const open = shape.filter((n) => n === -1).length;
  const target = shape.map((n) => (n === -1 ? x.size / known : n));
  if (open > 1 || target.some((n) => !Number.isInteger(n) || n < 0) || sizeOf(target) !== x.size) {
    throw new ShapeError(`reshape: ${show(x.shape)} has ${x.size} elements, which do not fit ${show(shape)}.`);
  }
  return sameShape(x.shape, target) ? x : reshaped(x, target);
}

/** Dimensions startDim … endDim as one. */
export function flatten(x: Value, startDim = 0, endDim = -1): Value {
  if (!x.shape.length) return reshape(x, [1]);
  const [from, to] = [normalizeDim("flatten", startDim, x.shape.length), normalizeDim("flatten", endDim, x.shape.length)];
  return reshape(x, [...x.shape.slice(0, from), sizeOf(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

/** Without the dimensions of size 1, or without `dim` if its size is 1. */
export function squeeze(x: Value, dim?: number): Value {
  const at = dim === undefined ? undefined : normalizeDim("squeeze", dim, x.shape.length);
  return reshape(x, x.shape.filter((n, i) => n !== 1 || (at !== undefined && i !== at)));
}

/** With a new dimension of size 1 at `dim`. */
export function unsqueeze(x: Value, dim: number): Value {
  const at = normalizeDim("unsqueeze", dim, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

const castDefinition: OpDefinition<{ dtype: DType }> = {
  code: Op.Cast,
  name: "to",
  doc: "Another element type: to int32 truncates and saturates, to bool tests ≠ 0. The gradient passes between float32 only.",
  infer: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    encoder.begin(Op.Cast, Cast.words);
    encoder.set(Cast.out, address(out!));
    encoder.set(Cast.x, address(x!));
    encoder.set(Cast.n, x!.size);
    encoder.set(Cast.from, typeCode[x!.dtype]);
    encoder.set(Cast.to, typeCode[out!.dtype]);
    encoder.end();
  },
  reference: ([x], { dtype }) => [
    {
      shape: x!.shape,
      data: Array.from(x!.data, (v) => (dtype === "bool" ? Number(v !== 0) : dtype === "uint8" ? Math.trunc(v) & 255 : dtype === "int32" ? Math.trunc(v) : v)),
    },
  ],
  samples: (["float32", "int32", "bool", "uint8"] as const).flatMap((from) =>
    (["float32", "int32", "bool", "uint8"] as const)
      .filter((to) => to !== from)
      .flatMap((to) => [[0], [1], [5], [33]].map((shape) => ({ inputs: [{ shape, dtype: from }], attributes: { dtype: to } }))),
  ),
};

/** The elements as another type; the same value if it is of that type already. */
export function cast(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : apply(castDefinition, [x], { dtype });
}

const assignDefinition: OpDefinition<null> = {
  code: Op.Assign,
  name: "copyFrom",
  doc: "Overwrites the first operand with the second.",
  mutates: [0],
  infer: () => [],
  encode(encoder, { inputs: [to, from], address }) {
    encodeCopy(encoder, Op.Assign, to!.dtype, to!.shape, whole(address(to!), to!.shape), whole(address(from!), from!.shape));
  },
};

/** Overwrites `target` with `source`, of the same shape and type. @throws ShapeError */
export function assign(target: Value, source: Value): void {
  if (!sameShape(target.shape, source.shape) || target.dtype !== source.dtype) {
    throw new ShapeError(`copyFrom: ${source.dtype} ${show(source.shape)} does not fit ${target.dtype} ${show(target.shape)}.`);
  }
  apply(assignDefinition, [target, source], null);
}

/** Table entries of this file. */
export const shapeDefinitions = {
  fill: fillDefinition,
  permute: permuteDefinition,
  slice: sliceDefinition,
  unslice: unsliceDefinition,
  broadcastTo: broadcastDefinition,
  concat: concatDefinition,
  cast: castDefinition,
  assign: assignDefinition,
};
