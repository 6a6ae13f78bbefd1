/** Kernels that create, move, join and cut arrays. */
import { backend_util, slice_util, util } from "@tensorflow/tfjs-core";
import { sizeOf, type Value } from "../../ops/definition/value.ts";
import { cut, unslice } from "../../ops/shape/box.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { broadcastTo, concat, flip, full, permute, stack } from "../../ops/shape/shape.ts";
import { isNumeric } from "../entry.ts";
import type { NumericArray, View } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS, sameTypes } from "./kernel.ts";

const ones = (x: Value): number[] => x.shape.map(() => 1);

/** A part of x; null if it is not inside x, which TensorFlow.js does not always check. */
const part = (x: Value, starts: number[], sizes: number[]): Value | null =>
  starts.every((start, i) => start >= 0 && sizes[i]! >= 0 && start + sizes[i]! <= x.shape[i]!)
    ? cut(x, { starts, sizes, steps: ones(x) })
    : null;

type Paddings = readonly (readonly [number, number])[];

/** Adds elements before and after those of x along each dim; null if a padding is below 0, which only the CPU kernel accepts. */
function pad(x: Value, paddings: Paddings, value: number): Value | null {
  if (paddings.flat().some((count) => count < 0)) return null;
  const shape = x.shape.map((size, i) => paddings[i]![0] + size + paddings[i]![1]);
  return unslice(x, shape, { starts: paddings.map(([before]) => before), sizes: x.shape, steps: ones(x) }, value);
}

/** Repeats x along every dim: reshapes each dim to [1, size], and broadcasts it to [repetitions, size]. */
function tile(x: Value, repetitions: readonly number[]): Value {
  const shape = x.shape.map((size, i) => size * repetitions[i]!);
  if (x.shape.every((size, i) => size === 1 || repetitions[i] === 1)) return broadcastTo(x, shape);
  const split = x.shape.flatMap((size) => [1, size]);
  const repeated = x.shape.flatMap((size, i) => [repetitions[i]!, size]);
  return reshape(broadcastTo(reshape(x, split), repeated), shape);
}

/** Copies block number `from` to block number `to`; each block has `length` elements. */
function copy(values: NumericArray, length: number, to: number, from: number): void {
  if (length === 1) values[to] = values[from]!;
  else values.copyWithin(to * length, from * length, (from + 1) * length);
}

/**
 * Pads x with mirror images of itself, which leave out the edge elements for "reflect" and repeat them for "symmetric".
 */
function mirrorPad(x: Value, paddings: Paddings, mode: string): View {
  const shape = x.shape.map((size, i) => paddings[i]![0] + size + paddings[i]![1]);
  const box = { starts: paddings.map(([before]) => before), sizes: x.shape, steps: ones(x) };
  const out = unslice(x, shape, box, 0) as View;
  const values = out.bits();
  const skip = mode === "reflect" ? 0 : 1;
  // Pad the last dim first, because padding an earlier dim also copies the padding of the later dims.
  for (let dim = shape.length - 1, inner = 1; dim >= 0; inner *= shape[dim--]!) {
    const [[before, after], size, step] = [paddings[dim]!, x.shape[dim]!, shape[dim]!];
    for (let start = before; start * inner < values.length; start += step) {
      const last = start + size - 1;
      for (let i = 1; i <= before; i++) copy(values, inner, start - i, start + i - skip);
      for (let i = 1; i <= after; i++) copy(values, inner, last + i, last - i + skip);
    }
  }
  return out;
}

export const shapeKernels: Readonly<Record<string, NativeKernel>> = {
  Concat: {
    types: ALL,
    accepts: sameTypes,
    run(inputs, { axis }) {
      const list = Object.values(inputs);
      const dim = util.parseAxisParam(axis, list[0]!.shape as number[])[0]!;
      const shapes = list.map(({ shape }) => shape as number[]);
      backend_util.assertParamsConsistent(shapes, dim);
      const filled = list.filter(({ size }) => size > 0);
      return filled.length ? concat(filled, dim) : concat(list, dim);
    },
  },
  Pack: {
    types: ALL,
    accepts: (inputs) => sameTypes(inputs) && new Set(Object.values(inputs).map(({ shape }) => `${shape}`)).size === 1,
    run: (inputs, { axis }) => stack(Object.values(inputs), axis),
  },
  Unpack: {
    types: ALL,
    list: true,
    run({ value }, { axis }) {
      const dim = axis < 0 ? axis + value!.shape.length : axis;
      const shape = value!.shape.filter((_, i) => i !== dim);
      const sizes = value!.shape.map((size, i) => (i === dim ? 1 : size));
      return Array.from({ length: value!.shape[dim]! }, (_, at) =>
        reshape(cut(value!, { starts: sizes.map((_, i) => (i === dim ? at : 0)), sizes, steps: ones(value!) }), shape),
      );
    },
  },
  SplitV: {
    types: ALL,
    list: true,
    run({ x }, { numOrSizeSplits, axis }) {
      const dim = util.parseAxisParam(axis, x!.shape as number[])[0]!;
      const lengths = backend_util.prepareSplitSize(x as never, numOrSizeSplits, dim);
      let at = 0;
      return lengths.map((length) => {
        const starts = x!.shape.map((_, i) => (i === dim ? at : 0));
        at += length;
        return cut(x!, { starts, sizes: x!.shape.map((size, i) => (i === dim ? length : size)), steps: ones(x!) });
      });
    },
  },
  Slice: {
    types: ALL,
    run({ x }, { begin, size }) {
      const [starts, sizes] = slice_util.parseSliceParams(x as never, begin, size) as [number[], number[]];
      slice_util.assertParamsValid(x as never, starts, sizes);
      return part(x!, starts, sizes);
    },
  },
  StridedSlice: {
    types: ALL,
    run({ x }, { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask }) {
      const info = slice_util.sliceInfo(
        x!.shape as number[],
        begin,
        end,
        strides,
        beginMask,
        endMask,
        ellipsisMask,
        newAxisMask,
        shrinkAxisMask,
      );
      if (info.isIdentity) return reshape(x!, info.finalShape);
      // info.finalShapeSparse lacks the dims that shrinkAxisMask removes, so compute the sizes here.
      const sizes = slice_util.computeOutShape(info.begin, info.end, info.strides).map((size) => Math.max(0, size));
      return reshape(cut(x!, { starts: info.begin, sizes, steps: info.strides }), info.finalShape);
    },
  },
  PadV2: {
    types: ALL,
    run: ({ x }, { paddings, constantValue }) => pad(x!, paddings, constantValue),
  },
  MirrorPad: {
    types: ALL,
    accepts: isFilled,
    run: ({ x }, { paddings, mode }) => mirrorPad(x!, paddings, mode),
  },
  SpaceToBatchND: {
    types: ALL,
    run({ x }, { blockShape, paddings }: { blockShape: number[]; paddings: [number, number][] }) {
      const all = x!.shape.map((_, i): [number, number] => paddings[i - 1] ?? [0, 0]);
      const shape = x!.shape.map((size, i) => all[i]![0] + size + all[i]![1]);
      const padded = pad(x!, all, 0);
      if (!padded) return null;
      const product = sizeOf(blockShape);
      const split = backend_util.getReshaped(shape, blockShape, product, false);
      const order = backend_util.getPermuted(split.length, blockShape.length, false);
      const joined = backend_util.getReshapedPermuted(shape, blockShape, product, false);
      return reshape(permute(reshape(padded, split), order), joined);
    },
  },
  BatchToSpaceND: {
    types: ALL,
    run({ x }, { blockShape, crops }: { blockShape: number[]; crops: number[][] }) {
      const [shape, n, product] = [x!.shape as number[], blockShape.length, sizeOf(blockShape)];
      const split = backend_util.getReshaped(shape, blockShape, product);
      const joined = backend_util.getReshapedPermuted(shape, blockShape, product);
      const moved = reshape(permute(reshape(x!, split), backend_util.getPermuted(split.length, n)), joined);
      const starts = backend_util.getSliceBeginCoords(crops, n);
      const sizes = backend_util.getSliceSize(joined, crops, n);
      const from = joined.map((_, i) => starts[i] ?? 0);
      return part(
        moved,
        from,
        joined.map((size, i) => sizes[i] ?? size),
      );
    },
  },
  Reverse: {
    types: ALL,
    accepts: ({ x }) => x!.shape.length > 0,
    run: ({ x }, { dims }) => flip(x!, util.parseAxisParam(dims, x!.shape as number[])),
  },
  FlipLeftRight: { types: ALL, run: ({ image }) => flip(image!, 2) },
  Diag: {
    types: ALL,
    accepts: isFilled,
    run({ x }) {
      const { shape, size, dtype } = x!;
      const out = full([...shape, ...shape], 0, dtype) as View;
      const [values, diagonal] = [out.bits(), x!.bits()];
      for (let i = 0; i < size; i++) values[i * (size + 1)] = diagonal[i]!;
      return out;
    },
  },
  Tile: { types: ALL, run: ({ x }, { reps }) => tile(x!, reps) },
  Transpose: { types: ALL, run: ({ x }, { perm }) => permute(x!, perm) },
  ZerosLike: { types: ALL, run: ({ x }) => full(x!.shape, 0, x!.dtype) },
  OnesLike: { types: ALL, run: ({ x }) => full(x!.shape, 1, x!.dtype) },
  Fill: {
    accepts: (_, { dtype, value }) => isNumeric(dtype ?? util.inferDtype(value)),
    run(_, { shape, value, dtype = util.inferDtype(value) }) {
      const number = Number(value);
      // Integers wrap modulo 2³², as in typed arrays.
      return full(shape, dtype === "int32" ? number | 0 : number, dtype);
    },
  },
  DepthToSpace: {
    types: NUMBERS,
    accepts: (_, { dataFormat }) => dataFormat === "NHWC",
    run({ x }, { blockSize: block }) {
      const [batch, height, width, depth] = x!.shape as [number, number, number, number];
      const channels = depth / block / block;
      const blocks = permute(reshape(x!, [batch, height, width, block, block, channels]), [0, 1, 3, 2, 4, 5]);
      return reshape(blocks, [batch, height * block, width * block, channels]);
    },
  },
};
