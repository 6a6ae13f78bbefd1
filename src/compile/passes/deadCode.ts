/**
 * Dead code elimination: removes steps that have no effects and whose outputs are never read. If only the first output of a step is
 * read, and the op has a variant that computes only this output, the step uses the variant.
 */
import { hasEffect, type Pass, read, type Step, written } from "../step.ts";

export const withoutDeadCode: Pass = (steps, placed) => {
  const needed = new Set(placed);
  const kept: Step[] = [];
  for (const step of [...steps].reverse()) {
    if (!hasEffect(step) && !written(step).some((storage) => needed.has(storage))) continue;
    for (const storage of read(step)) needed.add(storage);
    const [out, ...others] = step.outputs;
    const isFirst = others.length && !others.some(({ storage }) => needed.has(storage));
    const op = isFirst ? step.op.first?.(step.attributes) : undefined;
    kept.push(op ? { ...step, op, outputs: [out!] } : step);
  }
  return kept.reverse();
};
