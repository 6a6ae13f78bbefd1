/** Optimizer updates that differ only in the parameter become one instruction. */
import { Op } from "../../../assembly/opcodes.ts";
import type { Storage } from "../../core/memory.ts";
import { type Pass, read, type Step, written } from "../step.ts";

const isUpdate = ({ op }: Step): boolean => op.code >= Op.Sgd && op.code <= Op.Lion;

/** Updates that become one instruction. */
interface Group {
  /** Its place in the list, which is built from the last step to the first. */
  readonly at: number;
  /** The last update first. */
  readonly members: Step[];
}

/** Of each memory, the place of the earliest step of the program that reads it, and of the earliest that writes it. */
class Places {
  private readonly reads = new Map<Storage, number>();
  private readonly writes = new Map<Storage, number>();

  add(step: Step, at: number): void {
    for (const storage of read(step)) this.reads.set(storage, Math.max(at, this.reads.get(storage) ?? -1));
    for (const storage of written(step)) this.writes.set(storage, Math.max(at, this.writes.get(storage) ?? -1));
  }

  /** Whether the order of a step and of any step that stands before place `at` in the program matters. */
  conflicts(step: Step, at: number): boolean {
    const isBehind = (place = -1): boolean => place > at;
    return (
      read(step).some((storage) => isBehind(this.writes.get(storage))) ||
      written(step).some((storage) => isBehind(this.reads.get(storage)) || isBehind(this.writes.get(storage)))
    );
  }
}

/** Each update moves down to the group of its kind, unless a step in between depends on the order. */
export const joinUpdates: Pass = (steps) => {
  /** The list so far, last step first. */
  const later: Step[] = [];
  const places = new Places();
  const groups = new Map<string, Group>();
  const all: Group[] = [];
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]!;
    let at = later.length;
    if (isUpdate(step)) {
      const kind = `${step.op.code} ${step.inputs[0]!.storage.id} ${JSON.stringify(step.attributes)}`;
      const known = groups.get(kind);
      if (known && !places.conflicts(step, known.at)) {
        at = known.at;
        known.members.push(step);
      } else {
        const made = { at, members: [step] };
        groups.set(kind, made);
        all.push(made);
      }
    }
    places.add(step, at);
    if (at === later.length) later.push(step);
  }
  for (const { at, members } of all) if (members.length > 1) later[at] = joined(members.reverse());
  return later.reverse();
};

function joined(members: readonly Step[]): Step {
  const last = members.at(-1)!;
  return {
    ...last,
    inputs: [last.inputs[0]!, ...members.flatMap(({ inputs }) => inputs.slice(1))],
    fused: members.map(({ op }) => op.name),
  };
}
