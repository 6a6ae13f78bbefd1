/**
 * The memory plan: every value that lives only during a call gets a place in one arena, such that no two that live at the same
 * time overlap. Where an operand dies in an op that may work in place, its result takes the operand's place.
 */
import type { Storage } from "../../core/memory.ts";
import { sameShape } from "../../ops/definition/value.ts";
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
  /** How many places were looked at to find free ones: what planning costs, whatever the machine. */
  readonly looks: number;
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

/** Lives that are placed one against all others, which takes time that grows with the square of their number. */
const EXACT = 1024;

/** Where lives have their places, where these end, and how many other places were looked at to find them. */
interface Places {
  readonly offsets: readonly number[];
  readonly bytes: number;
  readonly looks: number;
}

/** The largest first, each at the lowest offset that is free during its life. */
function placeLargest(lives: readonly Life[]): Places {
  const offsets: number[] = [];
  /** Numbers of the lives that have a place, by offset. */
  const done: number[] = [];
  let [bytes, looks] = [0, 0];
  lives.forEach((life, number) => {
    let offset = 0;
    for (const n of done) {
      looks++;
      const other = lives[n]!;
      if (other.to < life.from || other.from > life.to) continue;
      const start = offsets[n]!;
      if (start >= offset + life.bytes) break;
      offset = Math.max(offset, start + other.bytes);
    }
    offsets.push(offset);
    let [low, high] = [0, done.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (offsets[done[middle]!]! > offset) high = middle;
      else low = middle + 1;
    }
    done.splice(low, 0, number);
    bytes = Math.max(bytes, offset + life.bytes);
  });
  return { offsets, bytes, looks };
}

/** In the order of time, each at a place of its size that is free again, else behind all others. */
function placeRest(lives: readonly Life[], start: number): Places {
  const offsets: number[] = [];
  const free = new Map<number, number[]>();
  const order = Array.from(lives.keys()).sort((a, b) => lives[a]!.from - lives[b]!.from);
  const ends = Array.from(lives.keys()).sort((a, b) => lives[a]!.to - lives[b]!.to);
  let [bytes, ended] = [start, 0];
  for (const number of order) {
    const life = lives[number]!;
    for (; lives[ends[ended]!]!.to < life.from; ended++) {
      const over = ends[ended]!;
      const known = free.get(lives[over]!.bytes);
      if (known) known.push(offsets[over]!);
      else free.set(lives[over]!.bytes, [offsets[over]!]);
    }
    const again = free.get(life.bytes)?.pop();
    offsets[number] = again ?? bytes;
    if (again === undefined) bytes += life.bytes;
  }
  return { offsets, bytes, looks: lives.length };
}

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
  const sorted = [...new Set(lives.values())].sort((a, b) => b.bytes - a.bytes);
  const largest = placeLargest(sorted.slice(0, EXACT));
  const rest = placeRest(sorted.slice(EXACT), largest.bytes);
  const offsets = new Map<Storage, number>();
  sorted.forEach(({ storages }, i) => {
    const offset = i < EXACT ? largest.offsets[i]! : rest.offsets[i - EXACT]!;
    for (const storage of storages) offsets.set(storage, offset);
  });
  return { offsets, bytes: rest.bytes, naive, inPlace, looks: largest.looks + rest.looks };
}
