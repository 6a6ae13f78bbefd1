/**
 * Index checks of a compiled function: which values a program must look at before it uses them, and an order of its steps in which all
 * checks come before the first write that outlives the call.
 */
import { Op } from "../../assembly/opcodes.ts";
import type { Storage } from "../core/memory.ts";
import { type CheckAttributes, checkDefinition } from "../ops/definition/check.ts";
import type { RangeCheck } from "../ops/definition/op.ts";
import { addAccesses, collides, draws, mutated, noAccesses, type Operand, type Step, written } from "./step.ts";

/** Ops that only move elements of some inputs, or leave zeros: what all of these are below, so are their outputs. */
const movers = new Map<Op, (inputs: readonly Operand[]) => readonly Operand[]>([
  [Op.Permute, (all) => all],
  [Op.Slice, (all) => all],
  [Op.Unslice, (all) => all],
  [Op.BroadcastTo, (all) => all],
  [Op.Concat, (all) => all],
  [Op.IndexSelect, ([x]) => [x!]],
  [Op.Gather, ([x]) => [x!]],
]);

/** Of each memory: n if all its elements are in 0 … n − 1, whatever the arguments are. */
function boundsOf(steps: readonly Step[]): Map<Storage, number> {
  const bounds = new Map<Storage, number>();
  for (const { op, inputs, outputs, attributes } of steps) {
    op.below?.(inputs, attributes).forEach((n, i) => n && bounds.set(outputs[i]!.storage, n));
    const sources = movers
      .get(op.code)?.(inputs)
      .map(({ storage }) => bounds.get(storage) ?? Number.POSITIVE_INFINITY);
    if (sources?.length) bounds.set(outputs[0]!.storage, Math.max(...sources));
  }
  // What is written later may hold anything.
  for (const step of steps) for (const storage of mutated(step)) bounds.delete(storage);
  return bounds;
}

/**
 * The steps, with a check before each that needs one, and what the checks throw: number n is that of the check with id n + 1.
 * @param known memory whose values cannot change, and have been looked at
 */
export function withChecks(
  steps: readonly Step[],
  known: ReadonlySet<Storage>,
): { steps: readonly Step[]; checks: RangeCheck[] } {
  if (!steps.some(({ op }) => op.checks)) return { steps, checks: [] };
  const bounds = boundsOf(steps);
  const checks: RangeCheck[] = [];
  const all = steps.flatMap((step): Step[] => {
    const own = (step.op.checks?.(step.inputs, step.attributes) ?? []).filter(({ input, low, high }) => {
      const { storage, size } = step.inputs[input]!;
      return (
        size > 0 && !known.has(storage) && !(low <= 0 && (bounds.get(storage) ?? Number.POSITIVE_INFINITY) <= high + 1)
      );
    });
    const made = own.map((check): Step => {
      const { low, high, skip } = check;
      const attributes: CheckAttributes = { low, high, ...(skip !== undefined && { skip }), id: checks.push(check) };
      return { op: checkDefinition, inputs: [step.inputs[check.input]!], outputs: [], attributes, site: step.site };
    });
    return [...made, step];
  });
  return { steps: all, checks };
}

export const isCheck = ({ op }: Step): boolean => op.code === Op.Check;

/** An order of steps in which a call that fails changes nothing. */
export interface Schedule {
  /** Checks of what is there before the first step: arguments, and tensors from outside. */
  readonly first: readonly Step[];
  readonly steps: readonly Step[];
  /** How many steps must have run before it is known that all checks hold. */
  readonly unsure: number;
  /** State that these steps write: to be put back if a check fails. */
  readonly saved: readonly Storage[];
}

/** @param isState whether writes to a memory outlive the call */
export function schedule(steps: readonly Step[], isState: (storage: Storage) => boolean): Schedule {
  const touched = new Set<Storage>();
  const first: Step[] = [];
  const rest: Step[] = [];
  for (const step of steps) {
    if (isCheck(step) && !touched.has(step.inputs[0]!.storage)) first.push(step);
    else rest.push(step);
    for (const storage of written(step)) touched.add(storage);
  }
  const unsure = rest.findLastIndex(isCheck) + 1;
  if (!unsure) return { first, steps: rest, unsure, saved: [] };
  // Writes of state, and what depends on them, move after the last check.
  const before: Step[] = [];
  const after: Step[] = [];
  const accesses = noAccesses();
  let drawsAfter = false;
  for (const step of rest.slice(0, unsure)) {
    const waits = written(step).some(isState) || collides(step, accesses) || (drawsAfter && draws(step));
    if (!waits) {
      before.push(step);
      continue;
    }
    after.push(step);
    addAccesses(accesses, step);
    drawsAfter ||= draws(step);
  }
  if (!after.some(isCheck))
    return { first, steps: [...before, ...after, ...rest.slice(unsure)], unsure: before.length, saved: [] };
  // Indices that depend on state which the function has changed by then: the order stays, and state is copied.
  return { first, steps: rest, unsure, saved: stateWrittenBy(rest.slice(0, unsure), isState) };
}

export const stateWrittenBy = (steps: readonly Step[], isState: (storage: Storage) => boolean): Storage[] => [
  ...new Set(steps.flatMap(written).filter(isState)),
];
