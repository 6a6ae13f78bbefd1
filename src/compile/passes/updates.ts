/** Optimizer updates that differ in nothing but the parameter become one instruction. */
import { Op } from "../../../assembly/opcodes.ts";
import type { Storage } from "../../memory.ts";
import { type Accesses, addAccesses, collides, noAccesses, type Pass, type Step } from "../step.ts";

const isUpdate = ({ op }: Step): boolean => op.code >= Op.Sgd && op.code <= Op.Lion;

/** Updates of one kind, and what the steps behind them read and write. */
interface Group extends Accesses {
  readonly rate: Storage;
  readonly attributes: string;
  readonly op: Step["op"];
  /** Its place in the list. */
  readonly at: number;
}

export const joinUpdates: Pass = (steps) => {
  /** The list so far, last step first; each update moves down to the group of its kind, where nothing in between minds. */
  const later: Step[] = [];
  const groups: Group[] = [];
  for (const step of [...steps].reverse()) {
    if (!isUpdate(step)) {
      pass(step, groups);
      later.push(step);
      continue;
    }
    const attributes = JSON.stringify(step.attributes);
    const rate = step.inputs[0]!.storage;
    const known = groups.findIndex((g) => g.op === step.op && g.rate === rate && g.attributes === attributes);
    const group = groups[known];
    if (group && !collides(step, group)) {
      const target = later[group.at]!;
      later[group.at] = {
        ...target,
        inputs: [...step.inputs, ...target.inputs.slice(1)],
        fused: [step.op.name, ...(target.fused ?? [target.op.name])],
      };
      // The others now have it behind them only if their own place is before the group's.
      pass(
        step,
        groups.filter((other) => other !== group && other.at < group.at),
      );
      continue;
    }
    if (group) groups.splice(known, 1);
    pass(step, groups);
    groups.push({ rate, attributes, op: step.op, at: later.length, ...noAccesses() });
    later.push(step);
  }
  return later.reverse();
};

/** A step now stands between these groups and whatever comes before it. */
function pass(step: Step, groups: readonly Group[]): void {
  for (const group of groups) addAccesses(group, step);
}
