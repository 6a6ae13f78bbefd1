/** Dead code elimination: removes steps that have no effects and whose outputs are never read, and outputs after the first. */
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
