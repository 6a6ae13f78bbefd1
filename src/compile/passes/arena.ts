/**
 * The memory plan: every value that lives only during a call gets a place in one arena, such that no two that live at the same
 * time overlap. Where an operand dies in an op that may work in place, its result takes the operand's place.
 */
import type { Storage } from "../../memory.ts";
import { sameShape } from "../../ops/value.ts";
import { type Step, usesOf, written } from "../step.ts";

const LINE = 64;

/** A value's life: from the step that makes it to the last that reads it, and the bytes it takes. */
interface Life {
  readonly from: number;
  to: number;
  readonly bytes: number;
  /** The values that have this place, one after the other. */
  readonly storages: Storage[];
}

/** Where each value lives in one arena, in bytes from its start, and how large that is. */
export interface Plan {
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly bytes: number;
  /** What it would take if every value had memory of its own. */
  readonly naive: number;
  /** Values that took over an operand's place. */
  readonly inPlace: ReadonlySet<Storage>;
}

/** An operand whose memory the step's first output may take over. */
function takenOver(step: Step, i: number, lives: ReadonlyMap<Storage, Life>): Life | undefined {
  const out = step.outputs[0];
  for (const k of (out && step.op.inPlace) ?? []) {
    const x = step.inputs[k];
    const life = x && lives.get(x.storage);
    // Read elsewhere in the step under another shape, it would be overwritten before it is read.
    const same = step.inputs.every((other) => other.storage !== x?.storage || sameShape(other.shape, out!.shape));
    if (life?.to === i && life.storages.at(-1) === x!.storage && x!.storage.bytes === out!.storage.bytes && same)
      return life;
  }
  return undefined;
}

/** The largest first, each at the lowest offset that is free during its life. */
export function planArena(steps: readonly Step[], placed: ReadonlySet<Storage>): Plan {
  const uses = usesOf(steps);
  const lives = new Map<Storage, Life>();
  const inPlace = new Set<Storage>();
  let naive = 0;
  steps.forEach((step, i) => {
    written(step).forEach((storage, k) => {
      if (!storage.symbolic || placed.has(storage) || lives.has(storage)) return;
      const { reads, writes } = uses.get(storage)!;
      const to = Math.max(i, reads.at(-1) ?? 0, writes.at(-1) ?? 0);
      const bytes = Math.max(LINE, Math.ceil(storage.bytes / LINE) * LINE);
      naive += bytes;
      const place = k === 0 && step.outputs.length ? takenOver(step, i, lives) : undefined;
      const life = place ?? { from: i, to, bytes, storages: [] };
      life.to = to;
      life.storages.push(storage);
      lives.set(storage, life);
      if (place) inPlace.add(storage);
    });
  });
  const offsets = new Map<Storage, number>();
  const done: (Life & { offset: number })[] = [];
  let bytes = 0;
  for (const life of [...new Set(lives.values())].sort((a, b) => b.bytes - a.bytes)) {
    let offset = 0;
    for (const other of done) {
      if (other.to < life.from || other.from > life.to) continue;
      if (other.offset >= offset + life.bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    for (const storage of life.storages) offsets.set(storage, offset);
    const after = done.findIndex((other) => other.offset > offset);
    done.splice(after < 0 ? done.length : after, 0, { ...life, offset });
    bytes = Math.max(bytes, offset + life.bytes);
  }
  return { offsets, bytes, naive, inPlace };
}
