/** A step is an op on storages. The passes of `compile` are pure functions from steps to steps. */
import { Op } from "../../assembly/opcodes.ts";
import type { Storage } from "../core/memory.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import type { Value } from "../ops/definition/value.ts";

/** A storage that a step reads or writes, and the shape of the value. The storage outlives the recorded tensor. */
export interface Operand extends Value {
  readonly storage: Storage;
}

/** One op of a recorded function. */
export interface Step {
  readonly op: AnyOp;
  readonly inputs: readonly Operand[];
  readonly outputs: readonly Operand[];
  readonly attributes: unknown;
  /** File, line and column of the call in the function; "" if unknown. */
  readonly site: string;
  /** The op whose gradient this step is part of. */
  readonly gradientOf?: string | undefined;
  /** The id of the recomputation that the op is part of (nn.checkpoint); 0 or undefined if it is part of none. */
  readonly recomputation?: number;
  /** The ops that a pass fused into this step. */
  readonly fused?: readonly string[];
}

/** An optimization pass. @param placed storages that outlive the call: arguments, results, gradients */
export type Pass = (steps: readonly Step[], placed: ReadonlySet<Storage>) => Step[];

/** The storages that a step changes in place. */
export const mutated = ({ op, inputs, attributes }: Step): Storage[] =>
  (op.mutates?.(inputs, attributes) ?? []).map((i) => inputs[i]!.storage);

export const read = ({ inputs }: Step): Storage[] => inputs.map(({ storage }) => storage);

export const written = (step: Step): Storage[] => [...step.outputs.map(({ storage }) => storage), ...mutated(step)];

/** Whether a step draws random numbers and so advances the generator. */
export const draws = ({ op }: Step): boolean => op.random === true;

/** Whether a step has an effect besides its outputs. */
export const hasEffect = (step: Step): boolean =>
  draws(step) || step.op.code === Op.Check || mutated(step).some(({ symbolic }) => !symbolic);

/** Whether the order of two steps matters. */
export function conflict(a: Step, b: Step): boolean {
  if (draws(a) && draws(b)) return true;
  const [writtenByA, writtenByB] = [written(a), written(b)];
  return (
    writtenByA.some((s) => read(b).includes(s) || writtenByB.includes(s)) || read(a).some((s) => writtenByB.includes(s))
  );
}

/** The storages that several steps read and write. */
export interface Accesses {
  readonly reads: Set<Storage>;
  readonly writes: Set<Storage>;
}

export const noAccesses = (): Accesses => ({ reads: new Set(), writes: new Set() });

export function addAccesses({ reads, writes }: Accesses, step: Step): void {
  for (const storage of read(step)) reads.add(storage);
  for (const storage of written(step)) writes.add(storage);
}

/** Whether the order of a step relative to these accesses matters, apart from random numbers. */
export const collides = (step: Step, { reads, writes }: Accesses): boolean =>
  read(step).some((storage) => writes.has(storage)) ||
  written(step).some((storage) => reads.has(storage) || writes.has(storage));

/** The indices of the steps that read and write each storage, in ascending order. */
export function usesOf(steps: readonly Step[]): Map<Storage, { reads: number[]; writes: number[] }> {
  const uses = new Map<Storage, { reads: number[]; writes: number[] }>();
  const of = (storage: Storage) => {
    const known = uses.get(storage) ?? { reads: [], writes: [] };
    uses.set(storage, known);
    return known;
  };
  steps.forEach((step, i) => {
    for (const storage of new Set(read(step))) of(storage).reads.push(i);
    for (const storage of new Set(written(step))) of(storage).writes.push(i);
  });
  return uses;
}
