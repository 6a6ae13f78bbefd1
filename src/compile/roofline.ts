/**
 * The roofline model (Williams et al. 2009): an instruction takes at least the time that its products need at the peak
 * rate of multiply-adds, and at least the time that its operands need at the bandwidth of the caches and the memory
 * that hold them.
 */
import type { Storage } from "../core/memory.ts";
import { bytesPerElement, type Value } from "../ops/definition/value.ts";
import { kernels } from "../runtime/engine.ts";
import { mutated, type Step } from "./step.ts";

const sizeInBytes = ({ size, dtype }: Value): number => size * bytesPerElement[dtype];

/** A part of an instruction's traffic. */
export interface Access {
  /** The number of bytes that are read or written. */
  readonly bytes: number;
  /** The number of bytes that the program reads and writes between the previous use of this data and the end of this one. */
  readonly distance: number;
}

/** The bytes that a step must read from each storage, and the number of bytes that it must write. */
function trafficOf(step: Step): { reads: Map<Storage, number>; writes: number } {
  const { op, inputs, outputs, attributes } = step;
  const changed = new Set(mutated(step));
  const isCopy = op.flops?.(inputs, outputs, attributes) === 0;
  const reads = new Map<Storage, number>();
  let writes = outputs.reduce((total, x) => total + sizeInBytes(x), 0);
  for (const x of inputs) {
    const isChanged = changed.has(x.storage);
    if (isChanged) writes += sizeInBytes(x);
    if (!isChanged || !isCopy) reads.set(x.storage, sizeInBytes(x));
  }
  // A copy, such as a slice or a lookup in a table, reads no more of an operand than it writes.
  if (isCopy) for (const [storage, bytes] of reads) reads.set(storage, Math.min(bytes, writes));
  return { reads, writes };
}

/**
 * The reads and writes of each step of a program that runs in a loop. Each operand counts once per step. Reads come from wherever their data was left:
 * a small distance means a small cache. Writes go to the cache that holds the step's operands.
 */
export function accessesOf(steps: readonly Step[]): readonly (readonly Access[])[] {
  const traffic = steps.map(trafficOf);
  const lastUse = new Map<Storage, number>();
  let clock = 0;
  const pass = (): Access[][] =>
    traffic.map(({ reads, writes }, i) => {
      const own = [...reads.values()].reduce((total, bytes) => total + bytes, writes);
      const start = clock;
      clock += own;
      const accesses = [...reads].map(([storage, bytes]) => ({
        bytes,
        distance: own + start - (lastUse.get(storage) ?? start),
      }));
      const { inputs, outputs } = steps[i]!;
      for (const { storage } of [...inputs, ...outputs]) lastUse.set(storage, clock);
      return [...accesses, { bytes: writes, distance: own }];
    });
  // The first pass shows where the previous call leaves the operands of the second.
  pass();
  return pass();
}

/**
 * A measurement takes the fastest of several rounds. A round, in milliseconds, is long enough for the timers of
 * browsers, which count tenths of a millisecond.
 */
const ROUNDS = 20;
const ROUND = 1;

/** The highest rate, per nanosecond, at which calls of `run` do `work`. */
function peakRate(work: number, run: () => void): number {
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
  return peakRate(FLOPS, () => void fmaCeiling!(CHAIN, 0.5, 1));
}

/** The smallest and the largest working set whose bandwidth is measured, in bytes. Each is four times as large as the one before. */
const SMALLEST = 2 ** 14;
const LARGEST = 2 ** 26;

/** The bandwidth of the caches and the memory: the sum of the bytes that copies read and write. */
export class Bandwidth {
  private readonly measured = new Map<number, number>();

  /** The bandwidth, in GB/s, for data that is used again after `distance` bytes of other traffic. */
  at(distance: number): number {
    let bytes = SMALLEST;
    while (bytes < distance && bytes < LARGEST) bytes *= 4;
    let known = this.measured.get(bytes);
    if (known === undefined) {
      const buffer = new Uint8Array(bytes);
      // Copy small buffers several times, so that reading the clock takes little of the time.
      const repeats = Math.max(1, 2 ** 19 / bytes);
      known = peakRate(repeats * bytes, () => {
        for (let i = 0; i < repeats; i++) buffer.copyWithin(bytes / 2, 0, bytes / 2);
      });
      this.measured.set(bytes, known);
    }
    return known;
  }
}
