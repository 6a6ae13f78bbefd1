/** Measures a compiled function, instruction by instruction, and compares each time with the bounds of the roofline model. */

import { amount, table } from "../core/printing.ts";
import { productFlopsOf } from "../ops/definition/work.ts";
import { RangeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { nameOf, shapesOf } from "./explain.ts";
import { accessesOf, Bandwidth, measureCeiling } from "./roofline.ts";
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
  /** The shapes of inputs and outputs. With `groupBy: "op"`, "". */
  readonly shapes: string;
  /** The number of instructions. Without `groupBy`, 1. */
  readonly count: number;
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
  /** Whether the products (at the ceiling, see Profile) or the reads and writes (at the bandwidth of the caches) take longer. */
  readonly bound: "compute" | "memory";
  /**
   * The time of the slower of the two bounds, divided by the measured time: near 1 if the instruction cannot be faster.
   * Threads share the work, but the bounds are those of one thread, so that the share can exceed 1.
   */
  readonly ofBound: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1]! : 0;
}

const sum = <T>(items: readonly T[], f: (item: T) => number): number =>
  items.reduce((total, item) => total + f(item), 0);

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
  private readonly isGrouped: boolean;

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
    this.isGrouped = groupBy === "op";
    this.ceiling = measureCeiling();
    this.microseconds = 1000 * median(whole);
    const bandwidth = new Bandwidth();
    const accesses = accessesOf(program.steps);
    const measured = program.steps.map((step, i) => {
      const flops = productFlopsOf(step.op, step);
      return {
        step,
        microseconds: 1000 * median(times[i]!),
        flops,
        bytes: sum(accesses[i]!, ({ bytes }) => bytes),
        // The least time in microseconds, by each of the two bounds.
        compute: flops / this.ceiling / 1000,
        memory: sum(accesses[i]!, ({ bytes, distance }) => bytes / bandwidth.at(distance) / 1000),
      };
    });
    this.flops = sum(measured, ({ flops }) => flops);
    const total = sum(measured, ({ microseconds }) => microseconds);
    const groups = new Map<unknown, typeof measured>();
    for (const one of measured) {
      const key = this.isGrouped ? one.step.op : one;
      groups.set(key, [...(groups.get(key) ?? []), one]);
    }
    this.steps = Array.from(groups.values(), (group) => {
      const { step } = group[0]!;
      const microseconds = sum(group, (one) => one.microseconds);
      const flops = sum(group, (one) => one.flops);
      const least = sum(group, ({ compute, memory }) => Math.max(compute, memory));
      return {
        name: this.isGrouped ? step.op.name : nameOf(step),
        shapes: this.isGrouped ? "" : shapesOf(step),
        count: group.length,
        microseconds,
        share: total > 0 ? microseconds / total : 0,
        flops,
        gflops: microseconds > 0 ? flops / microseconds / 1000 : 0,
        bytes: sum(group, ({ bytes }) => bytes),
        bound: sum(group, ({ compute, memory }) => compute - memory) > 0 ? "compute" : "memory",
        ofBound: microseconds > 0 ? least / microseconds : 0,
      };
    });
  }

  /** A table of the steps, the slowest first, for printing. */
  toString(): string {
    const { isGrouped, flops, microseconds, ceiling } = this;
    const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
    const rows = [...this.steps]
      .sort((a, b) => b.microseconds - a.microseconds)
      .map((step) => [
        step.name,
        isGrouped ? String(step.count) : step.shapes,
        step.microseconds.toFixed(step.microseconds < 100 ? 2 : 0),
        percent(step.share),
        step.flops ? step.gflops.toFixed(1) : "",
        (step.bytes / step.microseconds / 1000).toFixed(1),
        step.bound,
        percent(step.ofBound),
      ]);
    const rate = flops / microseconds / 1000;
    const head = ["instruction", "shapes", "µs", "share", "GFLOP/s", "GB/s", "bound", "of bound"];
    if (isGrouped) head.splice(0, 2, "op", "instructions");
    return [
      `${this.title}: ${amount(microseconds / 1e6, "s")}, ${amount(flops, "FLOP")} at ${rate.toFixed(1)} GFLOP/s, ` +
        `${percent(rate / ceiling)} of the ceiling of ${ceiling.toFixed(1)}`,
      table([head, ...rows], [...(isGrouped ? [1] : []), 2, 3, 4, 5, 7]),
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
