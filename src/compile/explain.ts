/** Lists the program of a compiled function. */

import { amount, table } from "../core/printing.ts";
import { bytesPerElement } from "../ops/definition/value.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { showSignature } from "./signature.ts";
import type { Operand, Step } from "./step.ts";
import type { Trace } from "./trace.ts";

/** The name of a step: the name of its op, or the names of the ops fused into it. */
export function nameOf({ op, fused, attributes }: Step): string {
  const { transA, transB } = (attributes ?? {}) as { transA?: boolean; transB?: boolean };
  const flags = transA || transB ? `(${transA ? "Aᵀ" : "A"}·${transB ? "Bᵀ" : "B"})` : "";
  if (!fused) return op.name + flags;
  const counts = new Map<string, number>();
  for (const name of fused) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Array.from(counts, ([name, n]) => (name === op.name ? name + flags : name) + (n > 1 ? ` ×${n}` : "")).join(
    " + ",
  );
}

const shapes = (operands: readonly Operand[]): string => {
  const texts = operands.map(({ shape }) => `[${shape.join("×")}]`);
  return texts.length > 4 ? `${texts.slice(0, 3).join(" ")} … ${texts.length - 3} more` : texts.join(" ");
};

export const shapesOf = (step: Step): string =>
  [shapes(step.inputs), shapes(step.outputs)].filter((text) => text).join(" → ");

/** One instruction of a compiled program. */
export interface ExplainedStep {
  /** The instruction's op, or the ops fused into it. */
  readonly name: string;
  /** The names of the ops fused into the instruction; empty for a single op. */
  readonly fused: readonly string[];
  /** The shapes of inputs and outputs: `[32×784] [784×128] → [32×128]`. */
  readonly shapes: string;
  /** The number of bytes that the instruction writes. */
  readonly bytes: number;
  /**
   * The memory of the instruction's outputs: `arena+1c0` (hexadecimal bytes), `own` for results, gradients and copies of
   * arguments, or `outside`.
   */
  readonly places: readonly string[];
  /** Floating-point operations. */
  readonly flops: number;
  /** File, line and column of the call in the function; "" if unknown. */
  readonly site: string;
}

/** The result of explain(). Print it to see a table, or read its fields. */
export class Explanation {
  /** The instructions, in order. */
  readonly steps: readonly ExplainedStep[];
  /** Floating-point operations per call. */
  readonly flops: number;
  /** The number of recorded ops, before optimization. */
  readonly recorded: number;
  /** The size of the arena in bytes. */
  readonly arenaBytes: number;
  /** The number of bytes that the values in the arena would need if they did not share memory. */
  readonly naiveBytes: number;
  private readonly title: string;

  /** @internal */
  constructor(name: string, { program, signature }: Trace<unknown>) {
    this.title = `${name}(${showSignature(signature)})`;
    this.recorded = program.recordedSteps;
    this.arenaBytes = program.plan.bytes;
    this.naiveBytes = program.plan.naive;
    this.steps = program.steps.map((step) => ({
      name: nameOf(step),
      fused: step.fused ?? [],
      shapes: shapesOf(step),
      bytes: step.outputs.reduce((total, { size, dtype }) => total + size * bytesPerElement[dtype], 0),
      places: step.outputs.map((x) => program.placeOf(x)),
      flops: flopsOf(step.op, step),
      site: step.site,
    }));
    this.flops = this.steps.reduce((total, { flops }) => total + flops, 0);
  }

  /** A table of the instructions, for printing. */
  toString(): string {
    const rows = this.steps.map(({ name, shapes, bytes, places, flops, site }, i) => [
      String(i),
      name,
      shapes,
      bytes ? amount(bytes, "B") : "",
      places.join(" "),
      amount(flops),
      site,
    ]);
    const saved = this.naiveBytes
      ? `${amount(this.arenaBytes, "B")} of arena for ${amount(this.naiveBytes, "B")} of values`
      : "no arena";
    return [
      `${this.title}: ${this.recorded} ops in ${this.steps.length} instructions, ${amount(this.flops, "FLOP")}, ${saved}`,
      table([["", "instruction", "shapes", "writes", "at", "FLOP", "called at"], ...rows], [0, 3, 5]),
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
