/**
 * The roofline model (Williams et al. 2009): an instruction takes at least the time that its products need at the peak
 * rate of multiply-adds, and at least the time that its operands need at the bandwidth of the caches and the memory
 * that hold them.
 */
import type { Storage } from "../core/memory.ts";
import { kernels } from "../runtime/engine.ts";
import { read, type Step, written } from "./step.ts";

/** The least memory traffic of an instruction. */
export interface Traffic {
  /** The number of bytes that must be read and written. Each operand counts once. */
  readonly bytes: number;
  /** The time that this takes at the given bandwidth. */
  readonly time: number;
}

/**
 * The traffic of each step of a program that runs in a loop. An operand is read from the cache that still holds it:
 * `bandwidth` receives its distance, the number of bytes read and written since its last use, including this step's. A
 * step's results are written to the cache that holds its operands.
 */
export function trafficOf(steps: readonly Step[], bandwidth: (distance: number) => number): readonly Traffic[] {
  /** The value of `clock`, which counts bytes, after the last use of each storage. */
  const used = new Map<Storage, number>();
  let clock = 0;
  const call = (): Traffic[] =>
    steps.map((step) => {
      const { op, inputs, outputs, attributes } = step;
      const reads = new Set(read(step));
      const writes = written(step);
      // An op that uses only some rows of a table, such as an update with a sparse gradient, does not read or write the rest.
      const most = op.touches ? 4 * op.touches(inputs, outputs, attributes) : Number.POSITIVE_INFINITY;
      const bytesOf = ({ bytes }: Storage): number => Math.min(bytes, most);
      const bytesWritten = writes.reduce((total, storage) => total + bytesOf(storage), 0);
      // A copy, such as a slice or a lookup in a table, reads no more of an operand than it writes, and overwrites the
      // storage that it changes without reading it.
      const isCopy = op.flops?.(inputs, outputs, attributes) === 0;
      if (isCopy) for (const storage of writes) reads.delete(storage);
      const bytesRead = (storage: Storage): number =>
        isCopy ? Math.min(bytesOf(storage), bytesWritten) : bytesOf(storage);
      let bytes = bytesWritten;
      for (const storage of reads) bytes += bytesRead(storage);
      let time = bytesWritten / bandwidth(bytes);
      for (const storage of reads) time += bytesRead(storage) / bandwidth(bytes + clock - (used.get(storage) ?? clock));
      clock += bytes;
      for (const storage of [...read(step), ...writes]) used.set(storage, clock);
      return { bytes, time };
    });
  // Return the second call's traffic: its operands are in the caches where the first call left them.
  call();
  return call();
}

/**
 * A measurement takes the fastest of several rounds. A round, in milliseconds, is long enough for the timers of
 * browsers, which count tenths of a millisecond.
 */
const ROUNDS = 20;
const ROUND = 1;

/** The highest measured rate of `run`, in units of work per nanosecond. Each call does `work` units. */
function peakRate(work: number, run: () => unknown): number {
  let peak = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    let [done, time] = [0, 0];
    while (time < ROUND) {
      run();
      done += work;
      time = performance.now() - begin;
    }
    peak = Math.max(peak, done / time / 1e6);
  }
  return peak;
}

/** The length of the multiply-add chains that measure the ceiling, and the number of operations in all of them. */
const CHAIN = 4000;
const FLOPS = 96 * CHAIN;

/** Measures the ceiling: the highest rate, in GFLOP/s, of a kernel that runs only independent multiply-adds. */
export function measureCeiling(): number {
  const { fmaCeiling } = kernels();
  return peakRate(FLOPS, () => fmaCeiling!(CHAIN, 0.5, 1));
}

/**
 * The smallest and the largest working set whose bandwidth is measured, in bytes. Each is four times as large as the
 * one before. A copy of a smaller set would be too short for the clock.
 */
const SMALLEST = 2 ** 16;
const LARGEST = 2 ** 26;

/**
 * Measures the bandwidth of the caches and the memory: the bytes that copies read and write. Returns a function that
 * measures, in GB/s, the bandwidth for data that is used again after `distance` bytes of traffic.
 */
export function bandwidthProbe(): (distance: number) => number {
  const known = new Map<number, number>();
  return (distance) => {
    let bytes = SMALLEST;
    while (bytes < distance && bytes < LARGEST) bytes *= 4;
    if (!known.has(bytes)) {
      // Memory that was never written is one page of zeros, which stays in the cache.
      const buffer = new Uint8Array(bytes).fill(1);
      known.set(
        bytes,
        peakRate(bytes, () => buffer.copyWithin(bytes / 2, 0, bytes / 2)),
      );
    }
    return known.get(bytes)!;
  };
}
