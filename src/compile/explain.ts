/** A compiled function's program as people read it. */

import { amount, table } from "../core/printing.ts";
import { bytesPerElement } from "../ops/definition/value.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { showSignature } from "./signature.ts";
import type { Operand, Step } from "./step.ts";
import type { Trace } from "./trace.ts";

/** What a step does: its op, or what was fused into it. */
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

/** One instruction of a program. */
export interface ExplainedStep {
  /** The op, or the names of a fused chain of ops. */
  readonly name: string;
  /** The ops that were fused into it; empty where it is one op. */
  readonly fused: readonly string[];
  /** The shapes that go in and come out, as text. */
  readonly shapes: string;
  /** Bytes written. */
  readonly bytes: number;
  /** Where its outputs live. */
  readonly places: readonly string[];
  /** Floating-point operations of one call. */
  readonly flops: number;
  /** Where the function calls it. */
  readonly site: string;
}

/** What compiled.explain() returns. Printing it shows a table; its fields are for programs. */
export class Explanation {
  /** The instructions of one call, in order. */
  readonly steps: readonly ExplainedStep[];
  /** Floating-point operations of one call, of all instructions. */
  readonly flops: number;
  /** Ops that were recorded, before passes. */
  readonly recorded: number;
  /** Bytes of the arena, and what its values would take without sharing. */
  readonly arenaBytes: number;
  /** The memory that results would take if each had its own, in bytes. */
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
