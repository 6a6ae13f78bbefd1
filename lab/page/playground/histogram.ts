/** Counts log₁₀|g| in bins of a fixed width, so that the histograms of all layers and steps can share an axis. */

/** The width of a bin, in powers of ten. */
export const BIN = 0.2;

export interface Histogram {
  /** The lower edge of bin i is (first + i)·BIN. */
  readonly first: number;
  readonly counts: readonly number[];
  /** The number of elements that are exactly 0. */
  readonly zeros: number;
}

/** The histogram of the finite elements. */
export function histogramOf(values: ArrayLike<number>): Histogram {
  const bins = new Map<number, number>();
  let zeros = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (size === 0) zeros++;
    else if (Number.isFinite(size)) {
      const bin = Math.floor(Math.log10(size) / BIN);
      bins.set(bin, (bins.get(bin) ?? 0) + 1);
    }
  }
  if (!bins.size) return { first: 0, counts: [], zeros };
  const first = Math.min(...bins.keys());
  const last = Math.max(...bins.keys());
  return { first, counts: Array.from({ length: last - first + 1 }, (_, i) => bins.get(first + i) ?? 0), zeros };
}
