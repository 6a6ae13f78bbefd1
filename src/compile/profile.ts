/** Measures a compiled function, instruction by instruction, and compares each time with the bounds of the roofline model. */

import { amount, table } from "../core/printing.ts";
import { productFlopsOf } from "../ops/definition/work.ts";
import { RangeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { nameOf, shapesOf } from "./explain.ts";
import { bandwidthProbe, measureCeiling, trafficOf } from "./roofline.ts";
import type { Step } from "./step.ts";
import type { Trace } from "./trace.ts";

/** Options for a compiled function's profile. */
export interface ProfileOptions {
  /** The number of calls to measure, at least 1. Default 50. */
  readonly calls?: number;
  /**
   * "op" joins the instructions of each op into one entry, so that the profile of a large model stays short. Default
   * "instruction".
   */
  readonly groupBy?: "instruction" | "op";
}

/** The measurement of an instruction, or of all instructions of an op. */
export interface ProfiledStep {
  /** The instruction's op, or the ops fused into it. With `groupBy: "op"`, the op. */
  readonly name: string;
  /** The shapes of inputs and outputs. With `groupBy: "op"`, the number of instructions. */
  readonly shapes: string;
  /** The median time of a call in microseconds. */
  readonly microseconds: number;
  /** The share of the total time, from 0 to 1. */
  readonly share: number;
  /** Floating-point operations in products: two for each multiply-add whose result is used. */
  readonly flops: number;
  /** `flops` per nanosecond. */
  readonly gflops: number;
  /** The bytes that the instruction must read and write, with each operand counted once. */
  readonly bytes: number;
  /**
   * The bound that takes longer: "compute" is the time of the products at the ceiling (see Profile), and "memory" is
   * the time of the reads and writes at the bandwidth of the caches.
   */
  readonly bound: "compute" | "memory";
  /**
   * The time of the slower of the two bounds, divided by the measured time: near 1 if the instruction cannot be faster.
   * Above 1 if threads share the work, because the bounds are those of one thread, or if Winograd's method saves
   * multiply-adds.
   */
  readonly ofBound: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1]! : 0;
}

/** The sums over one instruction, or over all instructions of an op. Times are in nanoseconds. */
interface Group {
  readonly step: Step;
  count: number;
  measured: number;
  flops: number;
  bytes: number;
  /** The time that the products need at the ceiling, minus the time that the traffic needs. */
  excess: number;
  /** For each instruction, the longer of these two times. */
  least: number;
}

/** The result of profile(). Print it to see a table, sorted by time, or read its fields. */
export class Profile {
  /** The instructions, in execution order. With `groupBy: "op"`, the ops, in the order of their first instructions. */
  readonly steps: readonly ProfiledStep[];
  /** The median time of a whole call in microseconds, including copying the arguments and calling into WebAssembly. */
  readonly microseconds: number;
  /**
   * The number of floating-point operations in the products of a call: two for each multiply-add of a matrix product,
   * convolution, attention or recurrence. Other work, such as activations and optimizers' updates, does not count, and
   * causal attention counts only the keys that a query attends to.
   */
  readonly flops: number;
  /** The speed, in GFLOP/s, that a kernel of independent multiply-adds reaches on this machine with one thread. */
  readonly ceiling: number;
  private readonly title: string;

  /** @internal */
  constructor(
    name: string,
    trace: Trace<unknown>,
    args: readonly unknown[],
    { calls = 50, groupBy = "instruction" }: ProfileOptions,
  ) {
    if (!(Number.isInteger(calls) && calls > 0))
      throw new RangeError(`profile: calls must be a whole number above 0, got ${calls}.`);
    requireChoice("profile", "groupBy", groupBy, ["instruction", "op"]);
    const { program } = trace;
    const times = program.steps.map((): number[] => []);
    const whole: number[] = [];
    // Alternate between whole and instrumented calls, so that both run under the same conditions.
    for (let i = 0; i < calls; i++) {
      const before = performance.now();
      trace.bind(args);
      program.run();
      trace.finish();
      whole.push(performance.now() - before);
      program.runTimed((step, milliseconds) => times[step]!.push(milliseconds));
    }
    this.title = `${name}: median of ${calls} calls`;
    const isGrouped = groupBy === "op";
    this.ceiling = measureCeiling();
    this.microseconds = 1000 * median(whole);
    const traffic = trafficOf(program.steps, bandwidthProbe());
    const groups = new Map<unknown, Group>();
    let [total, allFlops] = [0, 0];
    program.steps.forEach((step, i) => {
      const flops = productFlopsOf(step.op, step);
      const { bytes, time: memory } = traffic[i]!;
      const [measured, compute] = [1e6 * median(times[i]!), flops / this.ceiling];
      const key = isGrouped ? step.op : step;
      const group = groups.get(key) ?? { step, count: 0, measured: 0, flops: 0, bytes: 0, excess: 0, least: 0 };
      groups.set(key, group);
      group.count++;
      group.measured += measured;
      group.flops += flops;
      group.bytes += bytes;
      group.excess += compute - memory;
      group.least += Math.max(compute, memory);
      total += measured;
      allFlops += flops;
    });
    this.flops = allFlops;
    this.steps = Array.from(groups.values(), ({ step, count, measured, flops, bytes, excess, least }) => ({
      name: isGrouped ? step.op.name : nameOf(step),
      shapes: isGrouped ? `${count} instructions` : shapesOf(step),
      microseconds: measured / 1000,
      share: measured / total || 0,
      flops,
      gflops: flops / measured || 0,
      bytes,
      bound: excess > 0 ? "compute" : "memory",
      ofBound: least / measured || 0,
    }));
  }

  /** A table of the steps, the slowest first, for printing. */
  toString(): string {
    const { flops, microseconds, ceiling } = this;
    const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
    const rows = [...this.steps]
      .sort((a, b) => b.microseconds - a.microseconds)
      .map(({ name, shapes, share, gflops, bytes, bound, ofBound, ...step }) => [
        name,
        shapes,
        step.microseconds.toFixed(step.microseconds < 100 ? 2 : 0),
        percent(share),
        gflops ? gflops.toFixed(1) : "",
        (bytes / step.microseconds / 1000).toFixed(1),
        bound,
        percent(ofBound),
      ]);
    const rate = flops / microseconds / 1000;
    return [
      `${this.title}: ${amount(microseconds / 1e6, "s")}, ${amount(flops, "FLOP")} at ${rate.toFixed(1)} GFLOP/s, ` +
        `${percent(rate / ceiling)} of the ceiling of ${ceiling.toFixed(1)}`,
      table(
        [["instruction", "shapes", "µs", "share", "GFLOP/s", "GB/s", "bound", "of bound"], ...rows],
        [2, 3, 4, 5, 7],
      ),
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
