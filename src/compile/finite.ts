/** Finds the op in a recorded function that produced the first NaN or ±∞, by running the recording again, one op at a time. */
import { externalFlaw, type Flaw, flawOf, nonFiniteIn } from "../core/anomaly.ts";
import { Storage } from "../core/memory.ts";
import { encodeShared } from "../ops/definition/work.ts";
import { immediate } from "../runtime/encoder.ts";
import { mutated, type Operand, type Step, usesOf, written } from "./step.ts";

/**
 * The earliest flaw in any of the `wanted` storages; undefined if there is none.
 * @param real maps the symbolic storages of arguments, results and gradients to real ones
 * @param nameOf the name of an argument in messages
 */
export function firstFlaw(
  steps: readonly Step[],
  real: ReadonlyMap<Storage, Storage>,
  wanted: ReadonlySet<Storage>,
  nameOf: (storage: Storage) => string | undefined,
): Flaw | undefined {
  const uses = usesOf(steps);
  /** Storages for values that live only during the call. */
  const own = new Map<Storage, Storage>();
  const flaws = new Map<Storage, Flaw | undefined>();
  const placeOf = ({ storage }: Operand): number => (real.get(storage) ?? own.get(storage) ?? storage).address;

  const inputFlaw = (x: Operand, site: string): Flaw | undefined => {
    if (flaws.has(x.storage)) return flaws.get(x.storage);
    const found = nonFiniteIn(x, placeOf(x));
    const name = nameOf(x.storage) ?? `a tensor from outside${site && `, used at ${site},`}`;
    const flaw = found && externalFlaw(name, x, found);
    flaws.set(x.storage, flaw);
    return flaw;
  };
  try {
    steps.forEach((step, i) => {
      const { op, inputs, outputs, attributes, site, gradientOf } = step;
      const before = inputs.flatMap((x) => inputFlaw(x, site) ?? []);
      for (const storage of written(step))
        if (storage.symbolic && !real.has(storage) && !own.has(storage)) own.set(storage, new Storage(storage.bytes));
      encodeShared(op, immediate, { inputs, outputs, attributes, address: (x) => placeOf(x as Operand) }, true);
      const changed = new Set(mutated(step));
      for (const x of [...outputs, ...inputs.filter(({ storage }) => changed.has(storage))]) {
        const found = nonFiniteIn(x, placeOf(x));
        flaws.set(x.storage, found && flawOf({ op, order: i, site, gradientOf }, x, found, before));
      }
      for (const x of [...inputs, ...outputs]) {
        const { reads, writes } = uses.get(x.storage)!;
        if (Math.max(reads.at(-1) ?? 0, writes.at(-1) ?? 0) > i) continue;
        own.get(x.storage)?.release();
        own.delete(x.storage);
      }
    });
  } finally {
    for (const storage of own.values()) storage.release();
  }
  const found = Array.from(wanted).flatMap((storage) => flaws.get(storage) ?? []);
  return found.sort((a, b) => a.order - b.order)[0];
}
