/** Passes over a recording, and its memory plan. Pure: steps in, steps or offsets out. */

import { Op } from "../../assembly/opcodes.ts";
import type { Storage } from "../memory.ts";
import type { Step } from "./recording.ts";

/** Ops that do something besides their outputs: updates in place, and random ones, which move the generator on. */
const hasEffect = ({ op }: Step): boolean =>
  op.mutates !== undefined || (op.code >= Op.Uniform && op.code <= Op.RandomPermutation);

/** The steps on which a result, or an effect, depends. */
export function withoutDeadCode(steps: readonly Step[], results: ReadonlySet<Storage>): Step[] {
  const needed = new Set(results);
  const kept: Step[] = [];
  for (const step of [...steps].reverse()) {
    const storages = (xs: Step["inputs"]) => xs.map((x) => step.storageOf.get(x)!);
    if (!hasEffect(step) && !storages(step.outputs).some((s) => needed.has(s))) continue;
    for (const storage of storages(step.inputs)) needed.add(storage);
    kept.push(step);
  }
  return kept.reverse();
}

const LINE = 64;

/** Where each value lives in one arena, in bytes from its start, and how large that is. */
export interface Plan {
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly bytes: number;
  /** What it would take if nothing shared memory. */
  readonly naive: number;
}

/**
 * Places values so that no two that live at the same time overlap: the largest first, each at the lowest offset that is free
 * during its life, from the step that makes it to the last that reads it.
 */
export function plan(steps: readonly Step[], placed: ReadonlySet<Storage>): Plan {
  const lives = new Map<Storage, { storage: Storage; from: number; to: number; bytes: number }>();
  steps.forEach((step, i) => {
    for (const storage of step.storageOf.values()) {
      if (!storage.symbolic || placed.has(storage)) continue;
      const known = lives.get(storage);
      if (known) known.to = i;
      else
        lives.set(storage, { storage, from: i, to: i, bytes: Math.max(LINE, Math.ceil(storage.bytes / LINE) * LINE) });
    }
  });
  const offsets = new Map<Storage, number>();
  const done: { from: number; to: number; offset: number; end: number }[] = [];
  let bytes = 0;
  for (const life of [...lives.values()].sort((a, b) => b.bytes - a.bytes)) {
    let offset = 0;
    for (const other of done) {
      if (other.to < life.from || other.from > life.to) continue;
      if (other.offset >= offset + life.bytes) break;
      offset = Math.max(offset, other.end);
    }
    offsets.set(life.storage, offset);
    done.push({ from: life.from, to: life.to, offset, end: offset + life.bytes });
    done.sort((a, b) => a.offset - b.offset);
    bytes = Math.max(bytes, offset + life.bytes);
  }
  return { offsets, bytes, naive: [...lives.values()].reduce((total, { bytes: own }) => total + own, 0) };
}
