/** Joins optimizer updates that differ only in the parameter into one instruction. */
import type { Storage } from "../../core/memory.ts";
import { type Pass, read, type Step, written } from "../step.ts";

/** Updates that can be joined. */
interface Group {
  /** The position of the group's instruction in `later`, the reversed list of steps. */
  readonly at: number;
  /** The group's updates, in reverse order. */
  readonly members: Step[];
}

/**
 * The positions, in the reversed list, of the earliest step that reads each storage and of the earliest step that
 * writes it.
 */
class EarliestUses {
  private readonly reads = new Map<Storage, number>();
  private readonly writes = new Map<Storage, number>();

  add(step: Step, at: number): void {
    for (const storage of read(step)) this.reads.set(storage, Math.max(at, this.reads.get(storage) ?? -1));
    for (const storage of written(step)) this.writes.set(storage, Math.max(at, this.writes.get(storage) ?? -1));
  }

  /** Whether a step must keep its order relative to any step after position `at` in the reversed list. */
  conflicts(step: Step, at: number): boolean {
    const isEarlier = (position = -1): boolean => position > at;
    return (
      read(step).some((storage) => isEarlier(this.writes.get(storage))) ||
      written(step).some((storage) => isEarlier(this.reads.get(storage)) || isEarlier(this.writes.get(storage)))
    );
  }
}

/**
 * Moves each update down to the group of its kind, unless it must keep its order relative to a step in between.
 */
export const joinUpdates: Pass = (steps) => {
  /** The steps processed so far, in reverse order. */
  const later: Step[] = [];
  const uses = new EarliestUses();
  const groups = new Map<string, Group>();
  const all: Group[] = [];
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]!;
    let at = later.length;
    if (step.op.update) {
      const kind = `${step.op.code} ${step.inputs[0]!.storage.id} ${JSON.stringify(step.attributes)}`;
      const known = groups.get(kind);
      if (known && !uses.conflicts(step, known.at)) {
        at = known.at;
        known.members.push(step);
      } else {
        const made = { at, members: [step] };
        groups.set(kind, made);
        all.push(made);
      }
    }
    uses.add(step, at);
    if (at === later.length) later.push(step);
  }
  for (const { at, members } of all) if (members.length > 1) later[at] = join(members.reverse());
  return later.reverse();
};

function join(members: readonly Step[]): Step {
  const last = members.at(-1)!;
  return {
    ...last,
    inputs: [last.inputs[0]!, ...members.flatMap(({ inputs }) => inputs.slice(1))],
    fused: members.map(({ op }) => op.name),
  };
}
