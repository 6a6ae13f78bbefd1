/**
 * Turns a recording into a program: runs the optimization passes, plans one arena, and writes one list of instructions to linear
 * memory. A run is one call into WebAssembly. If values are checked, a run takes up to three calls: one for the checks on
 * arguments, one for the steps up to the last check, and one for the rest.
 */
import { type Flaw, nonFinite } from "../core/anomaly.ts";
import { isGradEnabled } from "../core/context.ts";
import { epoch, journalWrite, Storage } from "../core/memory.ts";
import type { Value } from "../ops/definition/value.ts";
import { encodeShared, isWorthWaking } from "../ops/definition/work.ts";
import { WordList } from "../runtime/encoder.ts";
import { engine, execute } from "../runtime/engine.ts";
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

/** Frees the memory of programs that were garbage collected without dispose(). */
const finalizer = new FinalizationRegistry<Storage[]>(release);

function release(storages: Storage[]): void {
  for (const storage of storages.splice(0)) storage.releasePinned();
}

/** The passes, in order: each one benefits from those before it. */
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

/** The flaw to report if the NaN or ±∞ does not reappear when the recording is replayed. */
const UNKNOWN: Flaw = {
  order: 0,
  isNaN: true,
  isFromOp: true,
  origin: "a value is NaN or infinite",
  details: "",
  remedy: "Find it with detectAnomaly.",
};

/** The data that a program needs besides its recording. */
export interface ProgramOptions {
  /** The name of the function in errors. */
  readonly name: string;
  /** The real storage for each symbolic storage that outlives a call: arguments, results and gradients. */
  readonly real: ReadonlyMap<Storage, Storage>;
  /** The symbolic storages of gradients. */
  readonly gradients: ReadonlySet<Storage>;
  /** The name of an argument's storage in messages; undefined for other storages. */
  readonly nameOf: (storage: Storage) => string | undefined;
  /** Whether a run fails if NaN or ±∞ reaches results, gradients or state. */
  readonly finite: boolean;
}

export class Program {
  readonly steps: readonly Step[];
  readonly plan: Plan;
  /** The number of recorded ops, before the passes. */
  readonly recordedSteps: number;
  /** The instructions of each step. */
  readonly places: readonly Place[];
  /**
   * All storages that the program holds: the arena, the instructions, the workspace, saved state, inputs, results,
   * gradients, and the storages of captured tensors.
   */
  private readonly memory: Storage[];
  private readonly address: number;
  private readonly addresses: readonly [first: number, uncertain: number, rest: number];
  /**
   * Instructions that belong to no step: the number of instructions that copy state, and the location of those that
   * check for NaN and ±∞.
   */
  private readonly extra: { readonly saving: number; readonly finite: Place };
  /** Whether other threads take part in a run. */
  private readonly isShared: boolean;
  /** Storages that a run overwrites: results, and state. */
  private readonly results: readonly Storage[];
  private readonly state: readonly Storage[];
  /** Detects calls that must fail, and undoes them; undefined if nothing is checked. */
  private readonly guard: Guard | undefined;
  /**
   * The numbers of instructions in the three parts of a run: checks on arguments, steps up to the last check, and the
   * rest.
   */
  private readonly counts: readonly [first: number, uncertain: number, rest: number];
  /** The epoch at which the captured tensors were last checked. */
  private checkedEpoch = -1;
  /** The first captured tensor that was disposed. */
  private disposed: Captured | undefined;
  /** The number of steps up to the last check. */
  private readonly uncertainSteps: number;

  /** Takes ownership of the storages that the recording retained. */
  constructor(
    private readonly recording: Recording<unknown>,
    private readonly options: ProgramOptions,
  ) {
    const { real, finite } = options;
    const placed = new Set(real.keys());
    this.memory = [...recording.retained, ...Array.from(real.values(), (storage) => storage.retainPinned())];
    finalizer.register(this, this.memory, this);
    try {
      this.recordedSteps = recording.steps.length;
      const checked = withChecks(recording.steps, recording.checkedConstants);
      const fused = passes.reduce<Step[]>((steps, pass) => pass(steps, placed), [...checked.steps]);
      const { gradients } = options;
      const { first, ...plan } = schedule(fused, (storage) => !storage.symbolic || gradients.has(storage));
      this.steps = plan.steps;
      this.uncertainSteps = finite ? plan.steps.length : plan.uncertain;
      const state = stateWrittenBy(plan.steps, ({ symbolic }) => !symbolic);
      this.plan = planArena(this.steps, placed);
      const arena = this.allocate(this.plan.bytes);
      const address = (value: Value): number => {
        const { storage } = value as Operand;
        if (!storage.symbolic) return storage.address;
        const place = real.get(storage)?.address ?? arena + (this.plan.offsets.get(storage) ?? Number.NaN);
        if (Number.isNaN(place)) throw new Error("compile: a value has no slot in the arena. This is a bug in nabla.");
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
      // Encode twice: first to find the size of the workspace, then with the workspace's address.
      const { list, firsts, starts, saved } = encode(this.allocate(encode(0).list.workspaceBytes));
      this.isShared = isWorthWaking(saved);
      const total = list.starts.length;
      this.address = this.allocate(4 * list.words.length);
      engine().heap.u32.set(list.words, this.address / 4);
      const addressOf = (instruction: number): number =>
        this.address + 4 * (list.starts[instruction] ?? list.words.length);
      this.places = this.steps.map((_, i) => ({ address: addressOf(firsts[i]!), count: firsts[i + 1]! - firsts[i]! }));
      const [begin, sure] = [
        starts[0]!,
        finite ? total : this.uncertainSteps ? firsts[this.uncertainSteps]! : starts[0]!,
      ];
      this.counts = [begin, sure - begin, total - sure];
      this.addresses = [this.address, addressOf(begin), addressOf(sure)];
      this.extra = {
        saving: starts[1]! - begin,
        finite: { address: addressOf(firsts.at(-1)!), count: total - firsts.at(-1)! },
      };
      // The versions of these storages change on every run, so that backward throws if it needs results that were overwritten.
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

  /** The memory of a value in listings: `arena+40` (hexadecimal), `own` or `outside`. */
  placeOf({ storage }: Operand): string {
    const offset = this.plan.offsets.get(storage);
    if (offset !== undefined) return `arena+${offset.toString(16)}`;
    return this.options.real.has(storage) ? "own" : "outside";
  }

  /** Whether a captured tensor was disposed, so that a run will throw. */
  get isBroken(): boolean {
    return this.disposed !== undefined;
  }

  /** @throws TraceError if a captured tensor was disposed */
  private requireCaptured(): void {
    if (!this.disposed) return;
    const { tensor, use } = this.disposed;
    throw new TraceError(
      `compile: a ${tensor.dtype} tensor that the function used when it was recorded (in ${use}) was disposed. Compile the function again.`,
    );
  }

  /**
   * Whether the recording is still valid. Read this before a run: it also detects captured tensors that were disposed,
   * which make the run throw.
   */
  get isValid(): boolean {
    const { captured, guards, gradEnabled } = this.recording;
    if (isGradEnabled() !== gradEnabled || this.memory[0]?.isGone) return false;
    if (this.checkedEpoch !== epoch.value && !this.hasSameTensors(captured)) return false;
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
    this.checkedEpoch = epoch.value;
    return true;
  }

  /**
   * Runs the program. If it throws, it changes no state.
   * @throws TraceError if a captured tensor was disposed, the error of a failed check (the same as in eager mode), or NonFiniteError
   */
  run(): void {
    this.start();
    const { guard, addresses, counts, isShared } = this;
    if (guard) {
      if (counts[0]) this.checkFirst(guard);
      this.bumpVersions(this.results);
      if (counts[1]) {
        guard.begin();
        execute(addresses[1], counts[1], isShared);
        if (guard.failed) this.fail(guard);
      }
    } else this.bumpVersions(this.results);
    this.bumpVersions(this.state);
    if (counts[2]) execute(addresses[2], counts[2], isShared);
  }

  /** Runs the program step by step. @param time receives the index of each step and its time in milliseconds */
  runTimed(time: (step: number, milliseconds: number) => void): void {
    this.start();
    const { guard, addresses, counts, isShared, places } = this;
    if (guard && counts[0]) this.checkFirst(guard);
    this.bumpVersions(this.results);
    if (guard && counts[1]) {
      guard.begin();
      execute(addresses[1], this.extra.saving, isShared);
    }
    for (let i = 0; i < places.length; i++) {
      const { address, count } = places[i]!;
      const before = performance.now();
      execute(address, count, isShared);
      time(i, performance.now() - before);
      if (guard && i + 1 === this.uncertainSteps) {
        execute(this.extra.finite.address, this.extra.finite.count, isShared);
        if (guard.failed) this.fail(guard);
      }
    }
    this.bumpVersions(this.state);
  }

  /** Runs the checks on arguments. @throws the error that eager mode would throw first */
  private checkFirst(guard: Guard): void {
    const { addresses, counts, isShared } = this;
    execute(addresses[0], counts[0], false);
    if (!guard.failed) return;
    if (guard.mayFailBefore) {
      // Eager mode might fail at an earlier check, so run the steps that contain the other checks.
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

  private bumpVersions(storages: readonly Storage[]): void {
    for (let i = 0; i < storages.length; i++) storages[i]!.bumpVersion();
  }

  /** Undoes a call. @throws the error of the failed check */
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

  /** Frees the program's memory. A second call does nothing. */
  dispose(): void {
    finalizer.unregister(this);
    release(this.memory);
  }
}
