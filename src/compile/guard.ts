/**
 * Reads the result of a program's checks and undoes a failed call, using copies of the random counter and of the state
 * that the call writes.
 */
import { Status } from "../../assembly/opcodes.ts";
import type { Storage } from "../core/memory.ts";
import { type CheckAttributes, checkDefinition, LARGEST } from "../ops/definition/check.ts";
import type { RangeCheck } from "../ops/definition/op.ts";
import { moves } from "../ops/shape/move.ts";
import { engine } from "../runtime/engine.ts";
import { RANDOM_STATE, STATUS } from "../runtime/heap.ts";
import { isCheck } from "./checks.ts";
import { draws, mutated, type Operand, type Step } from "./step.ts";

/**
 * The id of checks for NaN and ±∞. It is higher than the ids of index checks, so that an invalid index, which may have caused the
 * NaN, is reported first.
 */
const FINITE_ID = 0x40000000;

export interface GuardOptions {
  /** The index checks. The check at index n has id n + 1. */
  readonly checks: readonly RangeCheck[];
  readonly steps: readonly Step[];
  /** The state to copy before a run overwrites it. */
  readonly saved: readonly Storage[];
  /**
   * The symbolic storages that outlive the call, if their elements and those of the state must be finite; undefined if values
   * need not be finite.
   */
  readonly finite: ReadonlySet<Storage> | undefined;
  readonly allocate: (bytes: number) => Storage;
}

export class Guard {
  /** Steps that copy state. They run before all others. */
  readonly saving: readonly Step[];
  /** Steps that check for NaN and ±∞. They run after all others. */
  readonly finite: readonly Step[];
  /** The storages that these steps check. */
  readonly watched: ReadonlySet<Storage>;
  private readonly copies: readonly (readonly [state: Storage, copy: Storage])[];
  private readonly checks: readonly RangeCheck[];
  private readonly draws: boolean;
  /** The lowest id among the steps' checks. */
  private readonly earliest: number;
  private readonly counter = new Uint32Array(2);

  constructor({ checks, steps, saved, finite, allocate }: GuardOptions) {
    this.checks = checks;
    this.draws = steps.some(draws);
    this.earliest = Math.min(...steps.filter(isCheck).map(({ attributes }) => (attributes as CheckAttributes).id));
    this.copies = saved.map((state) => [state, allocate(state.bytes)]);
    this.saving = this.copies.map(([from, to]): Step => {
      const inputs = [wholeOf(to, from.bytes), wholeOf(from, from.bytes)];
      return { op: moves.assign, inputs, outputs: [], attributes: null, site: "" };
    });
    const watched = new Map<Storage, Operand>();
    for (const step of finite ? steps : []) {
      const changed = new Set(mutated(step));
      for (const x of [...step.outputs, ...step.inputs.filter(({ storage }) => changed.has(storage))])
        if (x.dtype === "float32" && x.size && (!x.storage.symbolic || finite!.has(x.storage)))
          watched.set(x.storage, x);
    }
    this.watched = new Set(watched.keys());
    this.finite = Array.from(watched.values(), (x): Step => {
      const attributes = { low: -LARGEST, high: LARGEST, id: FINITE_ID };
      return { op: checkDefinition, inputs: [x], outputs: [], attributes, site: "" };
    });
  }

  /** Clears the result of the checks. Must be called before a run. */
  clear(): void {
    engine().heap.u32[(STATUS + Status.id) / 4] = 0;
  }

  /** Saves the random counter. Must be called before the first step that may be undone. */
  begin(): void {
    if (!this.draws) return;
    const { u32 } = engine().heap;
    this.counter[0] = u32[RANDOM_STATE / 4 + 2]!;
    this.counter[1] = u32[RANDOM_STATE / 4 + 3]!;
  }

  /** Whether a check has failed. */
  get failed(): boolean {
    return engine().heap.u32[(STATUS + Status.id) / 4] !== 0;
  }

  /** Whether eager mode would run one of these steps' checks before the check that failed. */
  get mayFailBefore(): boolean {
    return this.earliest < engine().heap.u32[(STATUS + Status.id) / 4]!;
  }

  /** @throws the error of the failed index check. Returns if no index check failed, even if NaN or ±∞ was found */
  require(): void {
    const { u32, i32, f32 } = engine().heap;
    const id = u32[(STATUS + Status.id) / 4]!;
    if (!id || id >= FINITE_ID) return;
    const check = this.checks[id - 1]!;
    const value = (check.isFloat ? f32 : i32)[(STATUS + Status.value) / 4]!;
    throw check.error(value, u32[(STATUS + Status.at) / 4]!);
  }

  /** Restores the state from before the call. */
  undo(): void {
    const { u8, u32 } = engine().heap;
    for (const [{ address, bytes }, copy] of this.copies) u8.copyWithin(address, copy.address, copy.address + bytes);
    if (this.draws) u32.set(this.counter, RANDOM_STATE / 4 + 2);
  }
}

/** An operand for copying a whole storage: all of its bytes, as 32-bit words if possible. */
function wholeOf(storage: Storage, bytes: number): Operand {
  const size = bytes % 4 ? bytes : bytes / 4;
  return { storage, shape: [size], dtype: bytes % 4 ? "uint8" : "int32", size };
}
