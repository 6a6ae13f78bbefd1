/** Common subexpression elimination: removes steps that compute the same result from the same values as an earlier step. */
import type { Storage } from "../../core/memory.ts";
import { isCheck } from "../checks.ts";
import { hasEffect, mutated, type Operand, type Pass, type Step } from "../step.ts";

/** Attributes as text. Numbers become strings, because JSON cannot represent −0, NaN or ±∞. */
const textOf = (attributes: unknown): string =>
  JSON.stringify(attributes, (_, v: unknown) => (typeof v === "number" ? (Object.is(v, -0) ? "-0" : String(v)) : v)) ??
  "";

export const withoutCommonSubexpressions: Pass = (steps, placed) => {
  /** For each storage, a number that identifies it and the number of writes to it so far. */
  const numbers = new Map<Storage, number>();
  const writes = new Map<Storage, number>();
  const replaced = new Map<Storage, Storage>();
  const known = new Map<string, Step>();
  const numberOf = (storage: Storage): number => {
    const number = numbers.get(storage) ?? numbers.size;
    numbers.set(storage, number);
    return number;
  };
  const changing = new Set(steps.flatMap(mutated));
  const fixed = (step: Step): boolean =>
    step.outputs.every(({ storage }) => !placed.has(storage) && !changing.has(storage));
  const kept: Step[] = [];
  for (const original of steps) {
    const current = (x: Operand): Operand => ({ ...x, storage: replaced.get(x.storage) ?? x.storage });
    const step = { ...original, inputs: original.inputs.map(current) };
    for (const storage of mutated(step)) writes.set(storage, (writes.get(storage) ?? 0) + 1);
    kept.push(step);
    // Users may write to results, so results are never shared. Of several checks that differ only in their ids, only the first is
    // needed.
    const check = isCheck(step);
    if (!check && (hasEffect(step) || !step.outputs.length || !fixed(step))) continue;
    const key = [
      step.op.code,
      // Do not merge ops of different recomputations (nn.checkpoint): a shared result would stay in memory until its last use.
      step.recomputation ?? 0,
      textOf(check ? { ...(step.attributes as object), id: 0 } : step.attributes),
      ...step.inputs.map((x) => `${numberOf(x.storage)}.${writes.get(x.storage) ?? 0}[${x.shape}]${x.dtype}`),
    ].join(" ");
    const before = known.get(key);
    if (!before) known.set(key, step);
    else {
      kept.pop();
      step.outputs.forEach(({ storage }, i) => replaced.set(storage, before.outputs[i]!.storage));
    }
  }
  return kept;
};
