/**
 * Index checks for a compiled function: inserts the checks that a program needs, and orders its steps so that all
 * checks run before the first write that outlives the call.
 */
import { Op } from "../../assembly/opcodes.ts";
import type { Storage } from "../core/memory.ts";
import { type CheckAttributes, checkDefinition } from "../ops/definition/check.ts";
import type { RangeCheck } from "../ops/definition/op.ts";
import { addAccesses, collides, draws, mutated, noAccesses, type Operand, type Step, written } from "./step.ts";

/**
 * Maps each op that only moves elements to a function that selects the inputs whose elements the op moves. The output
 * contains only those elements and zeros, so the inputs' upper bound also holds for the output.
 */
const movers = new Map<Op, (inputs: readonly Operand[], attributes: unknown) => readonly Operand[]>([
  [Op.Permute, (all) => all],
  [Op.Slice, (all) => all],
  [Op.Unslice, (all, attributes) => ((attributes as { value: number }).value === 0 ? all : [])],
  [Op.BroadcastTo, (all) => all],
  [Op.Concat, (all) => all],
  [Op.IndexSelect, ([x]) => [x!]],
  [Op.Gather, ([x]) => [x!]],
]);

/** Maps a storage to n if, for any arguments, its elements are in 0 … n − 1. */
function boundsOf(steps: readonly Step[]): Map<Storage, number> {
  const bounds = new Map<Storage, number>();
  for (const { op, inputs, outputs, attributes } of steps) {
    op.below?.(inputs, attributes).forEach((n, i) => n && bounds.set(outputs[i]!.storage, n));
    const sources = movers
      .get(op.code)?.(inputs, attributes)
      .map(({ storage }) => bounds.get(storage) ?? Number.POSITIVE_INFINITY);
    if (sources?.length) bounds.set(outputs[0]!.storage, Math.max(...sources));
  }
  // An in-place write may store any value, so there is no bound for its storage.
  for (const step of steps) for (const storage of mutated(step)) bounds.delete(storage);
  return bounds;
}

/**
 * Inserts a check before each step that needs one.
 * @param known storages whose values were already checked and cannot change
 * @returns the steps, including the inserted checks, and a list of the checks, in which the check at index n has id n + 1
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
    const inserted = own.map((check): Step => {
      const { low, high, skip } = check;
      const attributes: CheckAttributes = { low, high, ...(skip !== undefined && { skip }), id: checks.push(check) };
      return { op: checkDefinition, inputs: [step.inputs[check.input]!], outputs: [], attributes, site: step.site };
    });
    return [...inserted, step];
  });
  return { steps: all, checks };
}

export const isCheck = ({ op }: Step): boolean => op.code === Op.Check;

/** The steps of a program, in an order in which a call that fails a check changes no state. */
export interface Schedule {
  /** Checks on arguments and on tensors from outside, which can run before all steps. */
  readonly first: readonly Step[];
  readonly steps: readonly Step[];
  /** The number of steps up to the last check. */
  readonly uncertain: number;
  /** The state that these steps write, to restore if a check fails. */
  readonly saved: readonly Storage[];
}

/** @param isState whether writes to a storage outlive the call */
export function schedule(steps: readonly Step[], isState: (storage: Storage) => boolean): Schedule {
  const touched = new Set<Storage>();
  const first: Step[] = [];
  const rest: Step[] = [];
  for (const step of steps) {
    if (isCheck(step) && !touched.has(step.inputs[0]!.storage)) first.push(step);
    else rest.push(step);
    for (const storage of written(step)) touched.add(storage);
  }
  const uncertain = rest.findLastIndex(isCheck) + 1;
  if (!uncertain) return { first, steps: rest, uncertain, saved: [] };
  // Move writes to state, and steps that depend on them, after the last check.
  const before: Step[] = [];
  const after: Step[] = [];
  const accesses = noAccesses();
  let drawsAfter = false;
  for (const step of rest.slice(0, uncertain)) {
    const isLate = written(step).some(isState) || collides(step, accesses) || (drawsAfter && draws(step));
    if (!isLate) {
      before.push(step);
      continue;
    }
    after.push(step);
    addAccesses(accesses, step);
    drawsAfter ||= draws(step);
  }
  if (!after.some(isCheck))
    return { first, steps: [...before, ...after, ...rest.slice(uncertain)], uncertain: before.length, saved: [] };
  // Some indices depend on state that the function has changed, so keep the order and save the state.
  return { first, steps: rest, uncertain, saved: stateWrittenBy(rest.slice(0, uncertain), isState) };
}

export const stateWrittenBy = (steps: readonly Step[], isState: (storage: Storage) => boolean): Storage[] => [
  ...new Set(steps.flatMap(written).filter(isState)),
];
