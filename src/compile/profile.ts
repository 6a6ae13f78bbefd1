/** Measures a compiled function, instruction by instruction. */

import { amount, table } from "../core/printing.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { kernels } from "../runtime/engine.ts";
import { RangeError } from "../runtime/errors.ts";
import { nameOf, shapesOf } from "./explain.ts";
import type { Trace } from "./trace.ts";

/** Options for a compiled function's profile. */
export interface ProfileOptions {
  /** The number of calls to measure, at least 1. Default 50. */
  readonly calls?: number;
}

/** The measurement of one instruction. */
export interface ProfiledStep {
  /** The instruction's op, or the ops fused into it. */
  readonly name: string;
  /** The shapes of inputs and outputs. */
  readonly shapes: string;
  /** The median time of a call in microseconds. */
  readonly microseconds: number;
  /** The instruction's share of the total time, from 0 to 1. */
  readonly share: number;
  /** Floating-point operations per nanosecond. */
  readonly gflops: number;
  /** gflops divided by the ceiling (see Profile). */
  readonly ofCeiling: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1]! : 0;
}

/** The length of the multiply-add chains that measure the ceiling, and the number of operations in all of them. */
const CHAIN = 4000;
const FLOPS = 96 * CHAIN;

/**
 * Measures the ceiling: the speed, in GFLOP/s, that a kernel of independent multiply-adds reaches in the best of
 * several rounds.
 */
export function measureCeiling(): number {
  const { fmaCeiling } = kernels();
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 200; i++) {
    const before = performance.now();
    fmaCeiling!(CHAIN, 0.5, 1);
    least = Math.min(least, performance.now() - before);
  }
  return FLOPS / least / 1e6;
}

/** The result of profile(). Print it to see a table, sorted by time, or read its fields. */
export class Profile {
  /** The instructions, in execution order. */
  readonly steps: readonly ProfiledStep[];
  /** The median time of a whole call in microseconds, including copying the arguments and calling into WebAssembly. */
  readonly microseconds: number;
  /** The speed, in GFLOP/s, that a kernel of independent multiply-adds reaches on this machine with one thread. */
  readonly ceiling: number;
  private readonly title: string;

  /** @internal */
  constructor(name: string, trace: Trace<unknown>, args: readonly unknown[], { calls = 50 }: ProfileOptions) {
    if (!(Number.isInteger(calls) && calls > 0))
      throw new RangeError(`profile: calls must be a whole number above 0, got ${calls}.`);
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
    this.ceiling = measureCeiling();
    this.microseconds = 1000 * median(whole);
    const medians = times.map((own) => 1000 * median(own));
    const total = medians.reduce((sum, t) => sum + t, 0);
    this.steps = program.steps.map((step, i) => {
      const microseconds = medians[i]!;
      const gflops = microseconds > 0 ? flopsOf(step.op, step) / microseconds / 1000 : 0;
      const share = total > 0 ? microseconds / total : 0;
      return {
        name: nameOf(step),
        shapes: shapesOf(step),
        microseconds,
        share,
        gflops,
        ofCeiling: gflops / this.ceiling,
      };
    });
  }

  /** A table of the steps, the slowest first, for printing. */
  toString(): string {
    const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
    const rows = [...this.steps]
      .sort((a, b) => b.microseconds - a.microseconds)
      .map(({ name, shapes, microseconds, share, gflops, ofCeiling }) => [
        name,
        shapes,
        microseconds.toFixed(microseconds < 100 ? 2 : 0),
        percent(share),
        gflops.toFixed(1),
        percent(ofCeiling),
      ]);
    return [
      `${this.title}: ${amount(this.microseconds / 1e6, "s")}, ceiling ${this.ceiling.toFixed(1)} GFLOP/s`,
      table([["instruction", "shapes", "µs", "share", "GFLOP/s", "of ceiling"], ...rows], [2, 3, 4, 5]),
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
