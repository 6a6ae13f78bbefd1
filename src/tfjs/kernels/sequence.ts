/** Kernels for sequences: search in sorted rows, the largest elements, running products, and evenly spaced numbers. */
import { util } from "@tensorflow/tfjs-core";
import { around } from "../../ops/index/gather.ts";
import { topK } from "../../ops/matrix/linalg.ts";
import { type NumericArray, newView, type View } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

/** The number of rows whose running products are computed together. */
const ROWS = 8;
/** The number of elements of a linear sequence that are computed together. */
const BLOCK = 64;
/** The largest k for which `largest` finds the k largest elements, by insertion into a sorted list. */
const FEW = 64;

/**
 * For each value, the next larger number that its type can represent. Null if a value is not finite or is the largest
 * integer.
 */
function following(values: View): NumericArray | null {
  const next = values.live().slice();
  const bits = new Int32Array(next.buffer);
  const n = next.length;
  for (let i = 0; i < n; i++) {
    const value = next[i]!;
    if (values.dtype === "int32" ? value === 2 ** 31 - 1 : !Number.isFinite(value)) return null;
    bits[i] = value === 0 ? 1 : bits[i]! + (value < 0 && values.dtype === "float32" ? -1 : 1);
  }
  return next;
}

/** Whether a row is in ascending order, without NaNs. */
function isAscending(sorted: NumericArray, start: number, n: number): boolean {
  const end = start + n;
  if (Number.isNaN(sorted[start]!)) return false;
  for (let i = start + 1; i < end; i++) if (!(sorted[i - 1]! <= sorted[i]!)) return false;
  return true;
}

/**
 * For each of the `count` values that start at position `first`, writes the number of smaller elements in a sorted row,
 * which has n elements and starts at `start`. Four searches run at a time, because each step of a search waits for the
 * previous one. In the last round, some of the four may repeat the last value. All compared numbers are read directly
 * from typed arrays: if both come from a Float32Array, V8 compares them in float32 without a conversion.
 */
function searchRow(
  sorted: NumericArray,
  start: number,
  n: number,
  values: NumericArray,
  first: number,
  count: number,
  positions: NumericArray,
): void {
  const last = first + count - 1;
  for (let i = first; i <= last; i += 4) {
    const j = Math.min(i + 1, last);
    const k = Math.min(i + 2, last);
    const l = Math.min(i + 3, last);
    const a = values[i]!;
    const b = values[j]!;
    const c = values[k]!;
    const d = values[l]!;
    let [p, q, r, s] = [start, start, start, start];
    for (let length = n; length > 1; ) {
      const half = length >> 1;
      // The mask has all bits set if the element is smaller, and no bits otherwise. A branch would be slower, because
      // it is unpredictable.
      p += half & -+(sorted[p + half - 1]! < a);
      q += half & -+(sorted[q + half - 1]! < b);
      r += half & -+(sorted[r + half - 1]! < c);
      s += half & -+(sorted[s + half - 1]! < d);
      length -= half;
    }
    positions[i] = p - start + +(sorted[p]! < a);
    positions[j] = q - start + +(sorted[q]! < b);
    positions[k] = r - start + +(sorted[r]! < c);
    positions[l] = s - start + +(sorted[s]! < d);
  }
}

/**
 * For each value, the number of elements in the same row of the sorted sequence that are smaller than the value (if
 * isLeft) or not larger than the value (otherwise). Null if the sequence is not sorted or contains NaNs, or if isLeft
 * is false and a value has no next larger number.
 */
function searchSorted(sequence: View, values: View, isLeft: boolean): View | null {
  const out = newView(values.shape, "int32");
  const sorted = sequence.live();
  // An element is not larger than a value if it is smaller than the next number after the value.
  const limits = isLeft ? values.live() : following(values);
  if (!limits) return null;
  const [rows, n] = sequence.shape as [number, number];
  const count = values.shape[1]!;
  for (let row = 0; row < rows; row++) {
    if (!isAscending(sorted, row * n, n)) return null;
    searchRow(sorted, row * n, n, limits, row * count, count, out.live());
  }
  return out;
}

/** The k largest elements of each row in descending order, with their indices; null if an element is NaN or infinite. */
function largest(x: View, k: number): View[] | null {
  const shape = [...x.shape.slice(0, -1), k];
  const [values, indices] = [newView(shape, x.dtype), newView(shape, "int32")];
  const [all, best, places] = [x.live(), values.live(), indices.live()];
  const n = x.shape.at(-1)!;
  for (let row = 0, first = 0; row < all.length; row += n, first += k) {
    let count = 0;
    for (let i = 0; i < n; i++) {
      const value = all[row + i]!;
      if (value - value !== 0) return null;
      if (count === k && !(value > best[first + k - 1]!)) continue;
      let at = first + (count < k ? count++ : k - 1);
      for (; at > first && best[at - 1]! < value; at--) {
        best[at] = best[at - 1]!;
        places[at] = places[at - 1]!;
      }
      best[at] = value;
      places[at] = i;
    }
  }
  return [values, indices];
}

export const sequenceKernels: Readonly<Record<string, NativeKernel>> = {
  SearchSorted: {
    types: NUMBERS,
    accepts: ({ sortedSequence, values }) =>
      sortedSequence!.dtype === values!.dtype &&
      sortedSequence!.shape.length === 2 &&
      values!.shape.length === 2 &&
      sortedSequence!.shape[0] === values!.shape[0] &&
      isFilled({ sortedSequence: sortedSequence!, values: values! }),
    run: ({ sortedSequence, values }, { side }) => searchSorted(sortedSequence!, values!, side === "left"),
  },
  TopK: {
    types: NUMBERS,
    accepts: ({ x }, { k, sorted }) =>
      sorted && k > 0 && isFilled({ x: x! }) && k <= (x!.shape.at(-1) ?? 0) && (k <= FEW || x!.dtype === "float32"),
    run({ x }, { k }) {
      if (k <= FEW) return largest(x!, k);
      // Leave NaNs and infinities to the CPU kernel, because TensorFlow.js orders NaNs and equal infinities differently
      // from nabla.
      return x!.live().some((value) => value - value !== 0) ? null : topK(x!, k, -1);
    },
  },
  Cumprod: {
    types: ALL,
    accepts: ({ x }) => x!.shape.length > 0 && isFilled({ x: x! }),
    run({ x }, { axis, exclusive, reverse }) {
      const dim = util.parseAxisParam(axis, x!.shape as number[])[0]!;
      const { outer, middle: n, inner } = around(x!.shape, dim);
      const out = newView(x!.shape, x!.dtype === "float32" ? "float32" : "int32");
      const factors = x!.live();
      const products = out.live();
      // A lane is one sequence of products. If there are inner dims, the lanes are side by side along them; otherwise,
      // each row is a lane. Several lanes are computed together, because each product waits for the previous one in its
      // lane.
      const lanes = inner > 1 ? inner : Math.min(ROWS, outer);
      const lane = inner > 1 ? 1 : n;
      const step = reverse ? -inner : inner;
      for (let start = 0; start < products.length; start += lanes * (inner > 1 ? n : lane)) {
        let at = reverse ? start + (n - 1) * inner : start;
        const end = inner > 1 ? inner : Math.min(lanes * n, products.length - start);
        for (let to = at; to < at + end; to += lane) products[to] = exclusive ? 1 : factors[to]!;
        for (let i = 1; i < n; i++) {
          at += step;
          const factor = exclusive ? -step : 0;
          for (let to = at; to < at + end; to += lane) products[to] = factors[to + factor]! * products[to - step]!;
        }
      }
      return out;
    },
  },
  LinSpace: {
    accepts: (_, { num }) => Number.isInteger(num) && num > 0,
    run(_, { start, stop, num }) {
      const out = newView([num], "float32");
      const values = out.live();
      const exponents = out.bits();
      const step = (stop - start) / (num - 1);
      values[0] = start;
      // As long as the exponent stays the same, successive rounded sums differ by the same amount, so the sums of a
      // block can be computed independently.
      for (let i = 1; i < num; ) {
        const before = values[i - 1]!;
        const first = Math.fround(before + step);
        const difference = first - before;
        values[i++] = first;
        const last = i + BLOCK - 1;
        if (last >= num || Math.fround(first + step) - first !== difference) continue;
        values[last] = first + BLOCK * difference;
        if (exponents[last]! >> 23 !== exponents[i - 2]! >> 23) continue;
        for (let next = first; i <= last; i += 4, next += 4 * difference) {
          values[i] = next + difference;
          values[i + 1] = next + 2 * difference;
          values[i + 2] = next + 3 * difference;
          values[i + 3] = next + 4 * difference;
        }
      }
      return out;
    },
  },
};
