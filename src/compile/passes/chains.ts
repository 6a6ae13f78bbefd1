/**
 * Fuses pointwise steps on the same elements: each block of elements goes through all steps while it is in the L1
 * cache. Values that only these steps read stay in a block of scratch memory.
 */
import type { Storage } from "../../core/memory.ts";
import { bytesPerElement, type Value } from "../../ops/definition/value.ts";
import { type ChainAttributes, chainDefinition, isChainable } from "../../ops/pointwise/chain.ts";
import {
  type Accesses,
  addAccesses,
  collides,
  conflict,
  mutated,
  noAccesses,
  type Operand,
  type Pass,
  read,
  type Step,
  written,
} from "../step.ts";

/** The maximum number of positions by which a step may move up to join a chain. */
const REACH = 32;

interface Group extends Accesses {
  readonly n: number;
  readonly parts: Step[];
}

/** Groups chainable steps. A step moves only if the results stay the same. */
function group(steps: readonly Step[]): (Step | Group)[] {
  const list: (Step | Group)[] = [];
  for (const step of steps) {
    if (!isChainable(step.op, step.inputs, step.outputs)) {
      list.push(step);
      continue;
    }
    const n = step.outputs[0]!.size;
    let joined: Group | undefined;
    for (let i = list.length - 1; i >= Math.max(0, list.length - REACH) && !joined; i--) {
      const other = list[i]!;
      if ("parts" in other) {
        if (other.n === n && sharesElements(step, other)) joined = other;
        else if (collides(step, other)) break;
      } else if (conflict(step, other)) break;
    }
    if (!joined) list.push((joined = { n, parts: [], ...noAccesses() }));
    joined.parts.push(step);
    addAccesses(joined, step);
  }
  return list;
}

/**
 * Whether a step can join a chain: it reads elements that the chain reads or writes (otherwise fusing gains nothing), and reads
 * no one-element operand that the chain writes, because the chain has not finished when the step runs. If n is 1, operands with
 * one element are like all others.
 */
function sharesElements(step: Step, { n, reads, writes }: Group): boolean {
  const whole = step.inputs.filter(({ size }) => size === n);
  return (
    whole.some(({ storage }) => reads.has(storage) || writes.has(storage)) &&
    step.inputs.every(({ storage, size }) => size === n || !writes.has(storage))
  );
}

/** Assigns blocks of scratch memory to the values inside a chain. A block is reused after the last use of its value. */
function placeBlocks(
  parts: readonly Step[],
  inside: ReadonlySet<Storage>,
): { blocks: Map<Storage, number>; count: number } {
  const last = new Map<Storage, number>();
  parts.forEach((part, i) => {
    for (const storage of [...read(part), ...written(part)]) if (inside.has(storage)) last.set(storage, i);
  });
  const blocks = new Map<Storage, number>();
  const free: number[] = [];
  let count = 0;
  parts.forEach((part, i) => {
    const { storage } = part.outputs[0]!;
    if (inside.has(storage) && !blocks.has(storage)) blocks.set(storage, free.pop() ?? count++);
    for (const done of new Set([...read(part), ...written(part)]))
      if (last.get(done) === i) free.push(blocks.get(done)!);
  });
  return { blocks, count };
}

export const fuseChains: Pass = (steps, placed) => {
  const grouped = group(steps);
  /** The groups and steps that read each storage. */
  const readers = new Map<Storage, Set<Step | Group>>();
  for (const item of grouped) {
    for (const storage of ("parts" in item ? item.parts : [item]).flatMap((step) => [
      ...read(step),
      ...mutated(step),
    ])) {
      readers.set(storage, (readers.get(storage) ?? new Set()).add(item));
    }
  }
  return grouped.flatMap((item): Step | Step[] => {
    if (!("parts" in item)) return item;
    const { n, parts } = item;
    if (parts.length === 1) return parts;
    const outputs = parts.flatMap((part) => part.outputs);
    const isInside = ({ storage, dtype }: Operand): boolean =>
      !placed.has(storage) &&
      storage.symbolic &&
      bytesPerElement[dtype] === 4 &&
      [...(readers.get(storage) ?? [])].every((reader) => reader === item);
    const inside = new Set(outputs.filter(isInside).map(({ storage }) => storage));
    const made = new Set(outputs.map(({ storage }) => storage));
    const { blocks, count } = placeBlocks(parts, inside);
    const attributes: ChainAttributes = {
      n,
      parts,
      blocks: count,
      blockOf: (x: Value) => blocks.get((x as Operand).storage),
    };
    return {
      op: chainDefinition,
      inputs: unique(parts.flatMap(({ inputs }) => inputs)).filter(({ storage }) => !made.has(storage)),
      outputs: unique(outputs).filter(({ storage }) => !inside.has(storage)),
      attributes,
      site: parts[0]!.site,
      fused: parts.map(({ op }) => op.name),
    };
  });
};

const unique = (operands: readonly Operand[]): Operand[] => [
  ...new Map(operands.map((x) => [x.storage, x] as const)).values(),
];
