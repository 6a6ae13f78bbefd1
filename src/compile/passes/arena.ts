/**
 * The memory plan: places all values that live only during a call in one arena, so that values that live at the same
 * time do not overlap. If the last op that uses an operand can work in place, the result reuses the operand's place.
 */
import type { Storage } from "../../core/memory.ts";
import { sameShape } from "../../ops/definition/value.ts";
import { type Step, usesOf, written } from "../step.ts";

const LINE = 64;

/** A place's size and its lifetime, from the first step that writes it to the last step that reads it. */
interface Life {
  readonly from: number;
  to: number;
  readonly bytes: number;
  /** The values that occupy this place, one after another. */
  readonly storages: Storage[];
}

/** The offsets of values in the arena, in bytes, and the size of the arena. */
export interface Plan {
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly bytes: number;
  /** The size that the arena would have if every value had its own memory. */
  readonly naive: number;
  /** Values that reuse the place of an operand. */
  readonly inPlace: ReadonlySet<Storage>;
  /** The number of comparisons between places, which measures the cost of planning independently of the machine. */
  readonly looks: number;
}

/** The lifetime of an operand whose place the step's first output can reuse; undefined if there is none. */
function reusable(step: Step, i: number, lives: ReadonlyMap<Storage, Life>): Life | undefined {
  const out = step.outputs[0];
  for (const k of (out && step.op.inPlace) ?? []) {
    const x = step.inputs[k];
    const life = x && lives.get(x.storage);
    // If the step also reads the operand with a different shape, it would overwrite elements that it has not read yet.
    const same = step.inputs.every((other) => other.storage !== x?.storage || sameShape(other.shape, out!.shape));
    if (life?.to === i && life.storages.at(-1) === x!.storage && x!.storage.bytes === out!.storage.bytes && same)
      return life;
  }
  return undefined;
}

/**
 * The number of lifetimes, largest first, that are placed by comparing each with all those placed before it, in
 * quadratic time. A faster method places the rest.
 */
const EXACT = 1024;

/** The offset of each lifetime, the size of the memory that all of them need, and the number of comparisons. */
interface Places {
  readonly offsets: readonly number[];
  readonly bytes: number;
  readonly looks: number;
}

/** Places the lifetimes, the largest first, each at the lowest offset that is free for its duration. */
function placeLargest(lives: readonly Life[]): Places {
  const offsets: number[] = [];
  /** The indices of the lifetimes that are already placed, sorted by offset. */
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

/**
 * Places the lifetimes in the order in which they begin: each at a place of the same size whose lifetime has ended, or else at
 * the end.
 */
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
    const reused = free.get(life.bytes)?.pop();
    offsets[number] = reused ?? bytes;
    if (reused === undefined) bytes += life.bytes;
  }
  return { offsets, bytes, looks: lives.length };
}

/** @param placed storages that outlive the call and are therefore not in the arena */
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
      const place = k === 0 && step.outputs.length ? reusable(step, i, lives) : undefined;
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
