/**
 * A recording made runnable: passes, one arena, one list of instructions in linear memory. A run is one call into WebAssembly, or up to
 * three where values are checked: checks of arguments, what must run before all checks are known to hold, and the rest.
 */
import { type Flaw, nonFinite } from "../core/anomaly.ts";
import { epoch, journalWrite, Storage } from "../core/memory.ts";
import { isGradEnabled } from "../core/tensor.ts";
import type { Value } from "../ops/definition/value.ts";
import { encodeShared, isWorthWaking } from "../ops/definition/work.ts";
import { engine, execute, WordList } from "../runtime/engine.ts";
import { Error, TraceError } from "../runtime/errors.ts";
import { schedule, stateWrittenBy, withChecks } from "./checks.ts";
import { firstFlaw } from "./finite.ts";
import { Guard } from "./guard.ts";
import { type Plan, planArena } from "./passes/arena.ts";
import { fuseChains } from "./passes/chains.ts";
import { withoutCommonSubexpressions } from "./passes/commonSubexpressions.ts";
import { withoutDeadCode } from "./passes/deadCode.ts";
import { fuseMatmulEpilogues } from "./passes/matmulEpilogues.ts";
import { joinUpdates } from "./passes/updates.ts";
import type { Captured, Recording } from "./recording.ts";
import type { Operand, Pass, Step } from "./step.ts";

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

/** Instructions in linear memory. */
interface Place {
  readonly address: number;
  readonly count: number;
}

/** For what cannot be found again, such as a fault of a thread. */
const UNKNOWN: Flaw = {
  order: 0,
  isNaN: true,
  isMade: true,
  origin: "a value is NaN or infinite",
  details: "",
  remedy: "Look with detectAnomaly.",
};

/** What a program needs to know besides its recording. */
export interface ProgramOptions {
  /** How errors call the function. */
  readonly name: string;
  /** Memory for symbolic values that outlive a call: arguments, results, gradients. */
  readonly real: ReadonlyMap<Storage, Storage>;
  /** The symbolic values among these that are left as gradients. */
  readonly gradients: ReadonlySet<Storage>;
  /** How messages call an argument; undefined for what is not one. */
  readonly nameOf: (storage: Storage) => string | undefined;
  /** Whether NaN and ±∞ may not reach results, gradients or state. */
  readonly finite: boolean;
}

export class Program {
  readonly steps: readonly Step[];
  readonly plan: Plan;
  /** Ops that were recorded, before passes. */
  readonly recordedSteps: number;
  /** Where each step's instructions begin, and how many there are. */
  readonly places: readonly Place[];
  /** All that it holds: arena, instructions, what it uses from outside, inputs and results. */
  private readonly memory: Storage[];
  private readonly address: number;
  private readonly addresses: readonly [first: number, unsure: number, rest: number];
  /** Instructions that belong to no step: those that copy state, and those that look for NaN and ±∞. */
  private readonly aside: { readonly saving: number; readonly finite: Place };
  /** Whether other threads take part. */
  private readonly isShared: boolean;
  /** Memory whose version a run counts up: results, which every call overwrites, and state. */
  private readonly results: readonly Storage[];
  private readonly state: readonly Storage[];
  /** What finds that a call must fail, and undoes what it did; undefined where nothing is checked. */
  private readonly guard: Guard | undefined;
  /** How many instructions run first, how many more until all checks are known to hold, and how many are left. */
  private readonly counts: readonly [first: number, unsure: number, rest: number];
  /** The epoch at which all tensors that it uses were looked at. */
  private seen = -1;
  /** A tensor that it uses and that was disposed. */
  private disposed: Captured | undefined;
  /** How many steps these are. */
  private readonly unsureSteps: number;

  /** Takes over what the recording retained. */
  constructor(
    private readonly recording: Recording<unknown>,
    private readonly options: ProgramOptions,
  ) {
    const { real, finite } = options;
    const placed = new Set(real.keys());
    this.memory = [...recording.retained, ...Array.from(real.values(), (storage) => storage.hold())];
    finalizer.register(this, this.memory, this);
    try {
      this.recordedSteps = recording.steps.length;
      const checked = withChecks(recording.steps, recording.fixed);
      const fused = passes.reduce<Step[]>((steps, pass) => pass(steps, placed), [...checked.steps]);
      const { gradients } = options;
      const { first, ...plan } = schedule(fused, (storage) => !storage.symbolic || gradients.has(storage));
      this.steps = plan.steps;
      this.unsureSteps = finite ? plan.steps.length : plan.unsure;
      const state = stateWrittenBy(plan.steps, ({ symbolic }) => !symbolic);
      this.plan = planArena(this.steps, placed);
      const arena = this.allocate(this.plan.bytes);
      const address = (value: Value): number => {
        const { storage } = value as Operand;
        if (!storage.symbolic) return storage.address;
        const place = real.get(storage)?.address ?? arena + (this.plan.offsets.get(storage) ?? Number.NaN);
        if (Number.isNaN(place)) throw new Error("compile: a value has no place; that is a defect of the plan.");
        return place;
      };
      if (checked.checks.length || finite) {
        const memoryOf = (storage: Storage): Storage => real.get(storage) ?? storage;
        const saved = (finite ? state : plan.saved).map(memoryOf);
        const allocate = (bytes: number): Storage => {
          this.memory.push(new Storage(bytes).pin());
          return this.memory.at(-1)!;
        };
        const { checks } = checked;
        this.guard = new Guard({ checks, steps: this.steps, saved, finite: finite ? placed : undefined, allocate });
      }
      const encode = (workspace: number) => {
        const list = new WordList(workspace);
        let saved = 0;
        const firsts: number[] = [];
        const add = (step: Step): void => {
          firsts.push(list.starts.length);
          saved += encodeShared(step.op, list, { ...step, address });
        };
        for (const step of [...first, ...(this.guard?.saving ?? [])]) add(step);
        const before = firsts.splice(0);
        const starts = [before[first.length] ?? list.starts.length, list.starts.length];
        for (const step of this.steps) add(step);
        firsts.push(list.starts.length);
        for (const step of this.guard?.finite ?? []) add(step);
        return { list, firsts: firsts.slice(0, this.steps.length + 1), starts, saved };
      };
      // The first writing tells how much workspace is needed, the second knows where it is.
      const { list, firsts, starts, saved } = encode(this.allocate(encode(0).list.workspaceBytes));
      this.isShared = isWorthWaking(saved);
      const total = list.starts.length;
      this.address = this.allocate(4 * list.words.length);
      engine().heap.u32.set(list.words, this.address / 4);
      const addressOf = (instruction: number): number =>
        this.address + 4 * (list.starts[instruction] ?? list.words.length);
      this.places = this.steps.map((_, i) => ({ address: addressOf(firsts[i]!), count: firsts[i + 1]! - firsts[i]! }));
      const [begin, sure] = [starts[0]!, finite ? total : this.unsureSteps ? firsts[this.unsureSteps]! : starts[0]!];
      this.counts = [begin, sure - begin, total - sure];
      this.addresses = [this.address, addressOf(begin), addressOf(sure)];
      this.aside = {
        saving: starts[1]! - begin,
        finite: { address: addressOf(firsts.at(-1)!), count: total - firsts.at(-1)! },
      };
      // A gradient that still needs the last results must say so.
      this.results = [...real.values()];
      this.state = state;
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
    return this.options.real.has(storage) ? "own" : "outside";
  }

  /** Whether a tensor that it uses was disposed, so that a run will throw. */
  get isBroken(): boolean {
    return this.disposed !== undefined;
  }

  /** Refuses to run on memory that is gone. @throws TraceError */
  private requireCaptured(): void {
    if (!this.disposed) return;
    const { tensor, use } = this.disposed;
    throw new TraceError(
      `compile: a ${tensor.dtype} tensor that the function used when it was recorded (by ${use}) was disposed since. Compile the function again.`,
    );
  }

  /** Whether what the recording took for granted still holds. To be asked before a run, which tensors that are gone then refuse. */
  get isValid(): boolean {
    const { captured, guards, gradEnabled } = this.recording;
    if (isGradEnabled() !== gradEnabled || this.memory[0]?.isGone) return false;
    if (this.seen !== epoch.value && !this.hasSameTensors(captured)) return false;
    for (let i = 0; i < guards.length; i++) if (!guards[i]!()) return false;
    return true;
  }

  private hasSameTensors(captured: readonly Captured[]): boolean {
    this.disposed = undefined;
    for (let i = 0; i < captured.length; i++) {
      const { tensor, requiresGrad } = captured[i]!;
      if (tensor.isDisposed) this.disposed = captured[i];
      else if (tensor.requiresGrad !== requiresGrad) return false;
    }
    this.seen = epoch.value;
    return true;
  }

  /**
   * Runs the whole list. @throws TraceError where a tensor that it uses was disposed, the error of a check that fails, as eager mode throws
   * it, and NonFiniteError; state is then as it was before
   */
  run(): void {
    this.start();
    const { guard, addresses, counts, isShared } = this;
    if (guard) {
      if (counts[0]) this.checkFirst(guard);
      this.count(this.results);
      if (counts[1]) {
        guard.begin();
        execute(addresses[1], counts[1], isShared);
        if (guard.failed) this.fail(guard);
      }
    } else this.count(this.results);
    this.count(this.state);
    if (counts[2]) execute(addresses[2], counts[2], isShared);
  }

  /** Runs the list step by step; `time` is given each step's number and the milliseconds it took. */
  runTimed(time: (step: number, milliseconds: number) => void): void {
    this.start();
    const { guard, addresses, counts, isShared, places } = this;
    if (guard && counts[0]) this.checkFirst(guard);
    this.count(this.results);
    if (guard && counts[1]) {
      guard.begin();
      execute(addresses[1], this.aside.saving, isShared);
    }
    for (let i = 0; i < places.length; i++) {
      const { address, count } = places[i]!;
      const before = performance.now();
      execute(address, count, isShared);
      time(i, performance.now() - before);
      if (guard && i + 1 === this.unsureSteps) {
        execute(this.aside.finite.address, this.aside.finite.count, isShared);
        if (guard.failed) this.fail(guard);
      }
    }
    this.count(this.state);
  }

  /** Runs the checks of what is there beforehand. @throws the error that eager mode would throw first */
  private checkFirst(guard: Guard): void {
    const { addresses, counts, isShared } = this;
    execute(addresses[0], counts[0], false);
    if (!guard.failed) return;
    if (guard.mayFailBefore) {
      // Eager mode might come to another bad index before this one.
      guard.begin();
      execute(addresses[1], counts[1], isShared);
      guard.undo();
    }
    guard.require();
  }

  private start(): void {
    this.requireCaptured();
    this.guard?.clear();
    for (const storage of this.state) journalWrite(storage);
  }

  private count(storages: readonly Storage[]): void {
    for (let i = 0; i < storages.length; i++) storages[i]!.wrote();
  }

  /** Undoes what a call has done. @throws what the check that failed says */
  private fail(guard: Guard): never {
    guard.undo();
    guard.require();
    const { name, real, nameOf } = this.options;
    let flaw: Flaw | undefined;
    try {
      flaw = firstFlaw(this.recording.steps, real, guard.watched, nameOf);
    } finally {
      guard.undo();
    }
    throw nonFinite(`compile(${name})`, flaw ?? UNKNOWN);
  }

  /** Gives back all that it holds. Twice is fine. */
  dispose(): void {
    finalizer.unregister(this);
    release(this.memory);
  }
}
