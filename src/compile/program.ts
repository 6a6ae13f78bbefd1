/** A recording made runnable: passes, one arena, one list of instructions in linear memory, one call into WebAssembly. */
import { Storage } from "../memory.ts";
import type { Value } from "../ops/value.ts";
import { encodeShared, isWorthWaking } from "../ops/work.ts";
import { engine, execute, WordList } from "../runtime/engine.ts";
import { TraceError } from "../runtime/errors.ts";
import { isGradEnabled } from "../tensor.ts";
import { type Plan, planArena } from "./passes/arena.ts";
import { fuseChains } from "./passes/chains.ts";
import { withoutCommonSubexpressions } from "./passes/commonSubexpressions.ts";
import { withoutDeadCode } from "./passes/deadCode.ts";
import { fuseMatmulEpilogues } from "./passes/matmulEpilogues.ts";
import { joinUpdates } from "./passes/updates.ts";
import type { Recording } from "./recording.ts";
import { mutated, type Operand, type Pass, type Step } from "./step.ts";

/** The net under dispose(): memory of programs that nobody can call any more. */
const finalizer = new FinalizationRegistry<Storage[]>(release);

function release(storages: Storage[]): void {
  for (const storage of storages.splice(0)) storage.letGo();
}

/** In this order: each finds more when the ones before it are done. */
const passes: readonly Pass[] = [
  withoutDeadCode,
  withoutCommonSubexpressions,
  fuseMatmulEpilogues,
  fuseChains,
  joinUpdates,
];

export class Program {
  readonly steps: readonly Step[];
  readonly plan: Plan;
  /** Ops that were recorded, before passes. */
  readonly recordedSteps: number;
  /** Where each step's instructions begin, and how many there are. */
  readonly places: readonly { readonly address: number; readonly count: number }[];
  /** All that it holds: arena, instructions, what it uses from outside, inputs and results. */
  private readonly memory: Storage[];
  private readonly address: number;
  private readonly instructions: number;
  /** Whether other threads take part. */
  private readonly isShared: boolean;
  private readonly written: readonly Storage[];

  /** Takes over what the recording retained. @param real memory for symbolic values that outlive a call: inputs, results, gradients */
  constructor(
    private readonly recording: Recording<unknown>,
    private readonly real: ReadonlyMap<Storage, Storage>,
  ) {
    const placed = new Set(real.keys());
    this.memory = [...recording.retained, ...Array.from(real.values(), (storage) => storage.hold())];
    finalizer.register(this, this.memory, this);
    try {
      this.recordedSteps = recording.steps.length;
      this.steps = passes.reduce<Step[]>((steps, pass) => pass(steps, placed), [...recording.steps]);
      this.plan = planArena(this.steps, placed);
      const arena = this.allocate(this.plan.bytes);
      const address = (value: Value): number => {
        const { storage } = value as Operand;
        if (!storage.symbolic) return storage.address;
        const place = real.get(storage)?.address ?? arena + (this.plan.offsets.get(storage) ?? Number.NaN);
        if (Number.isNaN(place)) throw new Error("compile: a value has no place; that is a defect of the plan.");
        return place;
      };
      const encode = (workspace: number): { list: WordList; firsts: number[]; saved: number } => {
        const list = new WordList(workspace);
        let saved = 0;
        const firsts = this.steps.map((step) => {
          const first = list.starts.length;
          saved += encodeShared(step.op, list, { ...step, address });
          return first;
        });
        return { list, firsts, saved };
      };
      // The first writing tells how much workspace is needed, the second knows where it is.
      const { list, firsts, saved } = encode(this.allocate(encode(0).list.workspaceBytes));
      this.isShared = isWorthWaking(saved);
      this.instructions = list.starts.length;
      this.address = this.allocate(4 * list.words.length);
      engine().heap.u32.set(list.words, this.address / 4);
      this.places = firsts.map((first, i) => ({
        address: this.address + 4 * (list.starts[first] ?? 0),
        count: (firsts[i + 1] ?? this.instructions) - first,
      }));
      // Results are overwritten by every call: a gradient that still needs the last ones must say so.
      this.written = [...this.steps.flatMap(mutated).filter(({ symbolic }) => !symbolic), ...real.values()];
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  private allocate(bytes: number): number {
    const storage = new Storage(bytes).pin();
    this.memory.push(storage);
    return storage.address;
  }

  /** How listings name the memory of a value: `arena+0x40`, or what holds it. */
  placeOf({ storage }: Operand): string {
    const offset = this.plan.offsets.get(storage);
    if (offset !== undefined) return `arena+${offset.toString(16)}`;
    return this.real.has(storage) ? "own" : "outside";
  }

  /** Refuses to run on memory that is gone. @throws TraceError */
  private requireCaptured(): void {
    const { captured } = this.recording;
    for (let i = 0; i < captured.length; i++) {
      const { tensor, use } = captured[i]!;
      if (tensor.isDisposed) {
        throw new TraceError(
          `compile: a ${tensor.dtype} tensor that the function used when it was recorded (by ${use}) was disposed since. Compile it anew.`,
        );
      }
    }
  }

  /** Whether what the recording took for granted still holds. */
  get isValid(): boolean {
    const { captured, guards, gradEnabled } = this.recording;
    if (isGradEnabled() !== gradEnabled || this.memory[0]?.isGone) return false;
    for (let i = 0; i < captured.length; i++) {
      const { tensor, requiresGrad } = captured[i]!;
      if (!tensor.isDisposed && tensor.requiresGrad !== requiresGrad) return false;
    }
    for (let i = 0; i < guards.length; i++) if (!guards[i]!()) return false;
    return true;
  }

  /** Runs the whole list: one crossing. @throws TraceError where a tensor that it uses was disposed */
  run(): void {
    this.start();
    execute(this.address, this.instructions, this.isShared);
  }

  /** Runs the list step by step; `time` is given each step's number and the milliseconds it took. */
  runTimed(time: (step: number, milliseconds: number) => void): void {
    this.start();
    for (let i = 0; i < this.places.length; i++) {
      const { address, count } = this.places[i]!;
      const before = performance.now();
      execute(address, count, this.isShared);
      time(i, performance.now() - before);
    }
  }

  private start(): void {
    this.requireCaptured();
    for (let i = 0; i < this.written.length; i++) this.written[i]!.version++;
  }

  /** Gives back all that it holds. Twice is fine. */
  dispose(): void {
    finalizer.unregister(this);
    release(this.memory);
  }
}
