/** Optimizer updates that differ in nothing but the parameter become one instruction. */
import { Op } from "../../../assembly/opcodes.ts";
import { conflict, type Pass, type Step } from "../step.ts";

const isUpdate = ({ op }: Step): boolean => op.code >= Op.Sgd && op.code <= Op.Adagrad;

const alike = (a: Step, b: Step): boolean =>
  a.op === b.op &&
  a.inputs[0]!.storage === b.inputs[0]!.storage &&
  JSON.stringify(a.attributes) === JSON.stringify(b.attributes);

export const joinUpdates: Pass = (steps) => {
  /** The list so far, last step first. */
  const later: Step[] = [];
  for (const step of [...steps].reverse()) {
    // The next update of this kind, if this one can move down to it.
    const at = isUpdate(step) ? later.findLastIndex((other) => alike(step, other)) : -1;
    const target = later[at];
    if (!target || later.slice(at + 1).some((between) => conflict(step, between))) later.push(step);
    else {
      later[at] = {
        ...target,
        inputs: [...step.inputs, ...target.inputs.slice(1)],
        fused: [step.op.name, ...(target.fused ?? [target.op.name])],
      };
    }
  }
  return later.reverse();
};
