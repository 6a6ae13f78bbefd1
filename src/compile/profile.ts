/** How a compiled function's time is spent, instruction by instruction. */

import { amount, table } from "../core/printing.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { kernels } from "../runtime/engine.ts";
import { RangeError } from "../runtime/errors.ts";
import { nameOf, shapesOf } from "./explain.ts";
import type { Trace } from "./trace.ts";

/** Options of a compiled function's profile. */
export interface ProfileOptions {
  /** How often the function is called for it. Default 50. */
  readonly calls?: number;
}

/** One instruction's part. */
export interface ProfiledStep {
  /** The op, or the names of a fused chain of ops, that was measured. */
  readonly name: string;
  /** The shapes that the measured instruction reads and writes, as text. */
  readonly shapes: string;
  /** Median of the calls, in microseconds. */
  readonly microseconds: number;
  /** Part of all instructions' time, 0 … 1. */
  readonly share: number;
  /** Floating-point operations per nanosecond. */
  readonly gflops: number;
  /** gflops as a part of what nothing but multiply-adds reaches on this machine. */
  readonly ofCeiling: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1]! : 0;
}

/** Multiply-adds in one call of the ceiling's kernel, by the length of its chain. */
const CHAIN = 4000;
const FLOPS = 96 * CHAIN;

/** GFLOP/s of nothing but multiply-adds: the best of several rounds. */
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

/** What compiled.profile() returns. Printing it shows a table, the largest share first; its fields are for programs. */
export class Profile {
  /** In the order they run in. */
  readonly steps: readonly ProfiledStep[];
  /** Median of whole calls, in microseconds: copying arguments in and crossing into WebAssembly included. */
  readonly microseconds: number;
  /** GFLOP/s of nothing but multiply-adds, in one thread. */
  readonly ceiling: number;
  private readonly title: string;

  /** @internal */
  constructor(name: string, trace: Trace<unknown>, args: readonly unknown[], { calls = 50 }: ProfileOptions) {
    if (!(Number.isInteger(calls) && calls > 0))
      throw new RangeError(`profile: calls is ${calls}, but must be a whole number above 0.`);
    const { program } = trace;
    const times = program.steps.map((): number[] => []);
    const whole: number[] = [];
    // Whole calls and timed ones take turns, so that both see the same machine.
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
