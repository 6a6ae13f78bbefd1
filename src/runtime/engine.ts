/**
 * The one engine: a memory, a build's kernels, and the instruction that eager mode runs. Started at first use, or
 * beforehand by `init` for those who want to choose.
 */

import { Advance, Head, Op } from "../../assembly/opcodes.ts";
import { check } from "./arguments.ts";
import { Error, RangeError } from "./errors.ts";
import { Heap, limitOf, RANDOM_STATE, SCRATCH, SCRATCH_WORDS } from "./heap.ts";
import { type Build, bestBuild, compileBuild, instantiate, type Kernels, probe } from "./load.ts";
import type { Crew } from "./threads/index.ts";
import type { Pool } from "./threads/pool.ts";

export interface InitOptions {
  /** Which inlined build to run. Default: the fastest that the runtime can run. */
  build?: Build;
  /**
   * A compiled module instead of the inlined bytes, for runtimes that forbid compiling bytes. With `threads`, one whose memory is
   * shared; with another, nabla runs on one thread, and info() says why.
   */
  module?: WebAssembly.Module;
  /** The same bits on every machine: forces the `simd` build. Default false. */
  deterministic?: boolean;
  /** Bytes that linear memory may grow to. Default 4 GiB, the most that WebAssembly can address. */
  memoryLimit?: number;
  /**
   * Threads to run on: a number, or "auto" for as many as the process has cores, 8 at most. Results are the same bits for any
   * number. One where workers or shared memory are refused: `info()` says why. Default 1.
   */
  threads?: number | "auto";
}

interface Engine {
  readonly heap: Heap;
  readonly kernels: Kernels;
  readonly build: Build | "custom";
  readonly deterministic: boolean;
  readonly pool: Pool | undefined;
  readonly reason: string;
  readonly settings: Settings;
}

/** What options come to: two inits with equal settings are one. */
interface Settings {
  readonly build: Build | "custom";
  readonly deterministic: boolean;
  readonly module: WebAssembly.Module | undefined;
  readonly memoryLimit: number;
  readonly threads: number | "auto";
}

let current: Engine | undefined;
let relieve: (() => void) | undefined;

/** Has f called when linear memory cannot grow: it frees blocks whose contents can move elsewhere. */
export function onShortage(f: () => void): void {
  relieve = f;
}
/** An `init` that is under way. */
let starting: { readonly settings: Settings; readonly end: Promise<void> } | undefined;

/** The engine, started with defaults if `init` was not called. */
export function engine(): Engine {
  current ??= start({}, { reason: "init({ threads }) was not called" });
  return current;
}

/** The memory in use; undefined before the engine has started. */
export const currentHeap = (): Heap | undefined => current?.heap;

/** How many threads a program is cut for. */
export const threadCount = (): number => engine().pool?.threads ?? 1;

const buildOf = ({ deterministic, build, module }: InitOptions): Build | undefined =>
  deterministic ? "simd" : (build ?? (module ? undefined : bestBuild()));

function start(options: InitOptions, { heap = new Heap(options), pool, reason }: Crew): Engine {
  const build = buildOf(options);
  const kernels = pool?.kernels ?? instantiate(options.module ?? compileBuild(build ?? "simd"), heap.memory);
  // Not a secret: and Node takes ten times as long to load its crypto as all of this takes.
  const seed = (): number => Math.floor(Math.random() * 2 ** 32);
  heap.u32.set([seed(), seed()], RANDOM_STATE / 4);
  heap.relieve = relieve;
  const settings = settingsOf(options);
  return { heap, kernels, build: build ?? "custom", deterministic: settings.deterministic, pool, reason, settings };
}

const settingsOf = (options: InitOptions): Settings => ({
  build: buildOf(options) ?? "custom",
  deterministic: options.deterministic ?? false,
  module: options.module,
  memoryLimit: limitOf(options.memoryLimit),
  threads: options.threads ?? 1,
});

/** @throws Error listing the settings that differ from those that nabla runs with, or starts with */
function requireEqual(running: Settings, asked: Settings, state: string): void {
  const showSetting = (value: unknown): string => (typeof value === "object" ? "[module]" : String(value));
  const differ = (Object.keys(running) as (keyof Settings)[]).filter((key) => running[key] !== asked[key]);
  if (!differ.length) return;
  const list = differ.map((key) => `${key} is ${showSetting(running[key])}, not ${showSetting(asked[key])}`);
  throw new Error(
    `init: nabla ${state} with other options: ${list.join("; ")}. ` +
      "Call init once, before the first tensor is made, or await dispose() before you call it again.",
  );
}

/**
 * Chooses how nabla runs. Call it before the first tensor is made if you want something other than the defaults. Calling it
 * again with equal options does nothing; calls at the same time share one start.
 * @throws Error if nabla runs with other options already, or the requested build cannot run here
 */
export async function init(options: InitOptions = {}): Promise<void> {
  check("init", arguments, "{threads:number|string build:any module:any deterministic:boolean memoryLimit:number}");
  const { deterministic, build, module, memoryLimit, threads = 1 } = options;
  if (deterministic && build === "relaxed") {
    throw new Error('init: build "relaxed" is not deterministic. Leave out one of { build, deterministic }.');
  }
  if (build !== undefined && build !== "simd" && build !== "relaxed") {
    throw new Error(`init: "${build}" is not a build. Use "simd" or "relaxed".`);
  }
  if (module && (build || deterministic)) {
    throw new Error("init: a module of your own is what it is. Leave out { build, deterministic }.");
  }
  if (build === "relaxed" && !probe().relaxed) {
    throw new Error(
      'init: this runtime has no relaxed SIMD (Node ≥ 22, Chrome ≥ 114, Firefox ≥ 145). Use build: "simd".',
    );
  }
  if (memoryLimit !== undefined && !(memoryLimit >= 65536)) {
    throw new RangeError(`init: memoryLimit is ${memoryLimit}, but must be at least 65536 bytes.`);
  }
  if (threads !== "auto" && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw new RangeError(`init: threads is ${threads}, but must be "auto" or a whole number in 1 … ${MOST_THREADS}.`);
  }
  const settings = settingsOf(options);
  if (current) return requireEqual(current.settings, settings, "runs");
  if (starting) {
    requireEqual(starting.settings, settings, "is starting");
    return starting.end;
  }
  if (threads === 1) {
    current = start(options, { reason: "as asked for" });
    return;
  }
  starting = { settings, end: startThreads(threads, options) };
  try {
    await starting.end;
  } finally {
    starting = undefined;
  }
}

async function startThreads(threads: number | "auto", options: InitOptions): Promise<void> {
  // Those who want one thread load nothing of this.
  const { assemble } = await import("./threads/index.ts");
  const compile = (): WebAssembly.Module => options.module ?? compileBuild(buildOf(options)!, true);
  const crew = await assemble(threads, options.memoryLimit, compile);
  if (current) {
    await crew.pool?.close();
    throw new Error(
      "init: a tensor was made while nabla was starting its threads. Await init before the first tensor.",
    );
  }
  current = start(options, crew);
}

/** More workers than this are a mistake. */
const MOST_THREADS = 64;

/**
 * Ends nabla: its threads leave, and its memory goes. Tensors made until then are disposed, and compiled functions that use any
 * from outside; others are recorded anew. `init`, or the next tensor, starts anew. Twice is fine; an `init` that is under way is
 * awaited, and what it started ended.
 */
export async function dispose(): Promise<void> {
  // Whoever called init hears of its failure.
  if (starting) await starting.end.catch(() => {});
  const ended = current;
  current = undefined;
  await ended?.pool?.close();
  ended?.heap.close();
}

/** What was chosen, and why. */
export function info(): {
  build: Build | "custom";
  /** Whether init asked for the same bits on every machine. */
  deterministic: boolean;
  /** What the runtime can run. */
  simd: boolean;
  relaxed: boolean;
  /** Threads that programs are cut for, and why there are so many. */
  threads: number;
  reason: string;
} {
  const { build, deterministic, pool, reason } = engine();
  const trouble = pool?.trouble ? `${reason}; ${pool.trouble}` : reason;
  return { build, deterministic, ...probe(), threads: threadCount(), reason: trouble };
}

/** Runs instructions; `shared` if any of them is worth the other threads' time. */
export function execute(program: number, count: number, shared: boolean): void {
  const { kernels, pool } = engine();
  if (shared && pool) pool.run(program, count);
  else kernels.run!(program, count, 0, 1);
}

/** Seeds all random ops: the same seed gives the same numbers on every machine, in both builds, with any number of threads. */
export function manualSeed(seed: number): void {
  check("manualSeed", arguments, "seed:number");
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`manualSeed: ${seed} is not an integer in 0 … 2⁵³ − 1.`);
  }
  engine().heap.u32.set([seed >>> 0, Math.floor(seed / 2 ** 32), 0, 0], RANDOM_STATE / 4);
}

/** The generator's state: seed and counter, four words. */
export const randomState = (): Uint32Array => engine().heap.u32.slice(RANDOM_STATE / 4, RANDOM_STATE / 4 + 4);

/** Has the generator go on from such a state. */
export function setRandomState(state: ArrayLike<number>): void {
  engine().heap.u32.set(state, RANDOM_STATE / 4);
}

/**
 * Writes instructions. `begin` opens one, `set…` fill its words (numbered as in opcodes.ts), `end` closes it. Workspace is
 * asked for before `begin`, since memory may grow.
 */
export interface Encoder {
  /** Into how many shares the next instructions are cut; 1: they are not. */
  shares: number;
  begin(code: Op, words: number): void;
  set(word: number, value: number): void;
  setFloat(word: number, value: number): void;
  setDouble(word: number, value: number): void;
  end(): void;
  /** The address of scratch memory for the next instruction: so many bytes for each share. */
  workspace(bytes: number): number;
}

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer);
const float = new Float32Array(1);
const floatWord = new Uint32Array(float.buffer);

/** The bits of a number as float32. */
export function bitsOf(value: number): number {
  float[0] = value;
  return floatWord[0]!;
}

/** An instruction's first word. */
const headOf = (code: Op, shares: number): number => (shares > 1 ? code | (shares << Head.shares) : code);

/** The encoder of eager mode: each instruction runs as soon as it is closed. */
class Immediate implements Encoder {
  shares = 1;
  private heap: Heap | undefined;
  private scratch = 0;
  private scratchBytes = 0;

  begin(code: Op, words: number): void {
    if (words > SCRATCH_WORDS) throw new RangeError(`an instruction of ${words} words is too long.`);
    this.set(Head.code, headOf(code, this.shares));
    this.set(Head.length, words);
  }
  set(word: number, value: number): void {
    engine().heap.u32[SCRATCH / 4 + word] = value;
  }
  setFloat(word: number, value: number): void {
    engine().heap.f32[SCRATCH / 4 + word] = value;
  }
  setDouble(word: number, value: number): void {
    double[0] = value;
    engine().heap.u32.set(doubleWords, SCRATCH / 4 + word);
  }
  end(): void {
    execute(SCRATCH, 1, this.shares > 1);
  }
  workspace(bytesOfOne: number): number {
    const { heap } = engine();
    const bytes = bytesOfOne * this.shares;
    if (heap !== this.heap) {
      this.heap = heap;
      this.scratchBytes = 0;
    }
    if (bytes > this.scratchBytes) {
      const scratch = heap.allocate(bytes);
      if (this.scratchBytes) heap.release(this.scratch, this.scratchBytes);
      this.scratch = scratch;
      this.scratchBytes = bytes;
    }
    return this.scratch;
  }
}

/** Writes instructions one behind the other into a list of words, to be run later. */
export class WordList implements Encoder {
  readonly words: number[] = [];
  /** Where each instruction begins. */
  readonly starts: number[] = [];
  workspaceBytes = 0;
  shares = 1;
  private start = 0;

  /** @param workspaceAddress scratch memory, which all instructions share: `workspaceBytes` says how much they need */
  constructor(private readonly workspaceAddress = 0) {}
  begin(code: Op, words: number): void {
    this.start = this.words.length;
    this.starts.push(this.start);
    for (let i = 0; i < words; i++) this.words.push(0);
    this.set(Head.code, headOf(code, this.shares));
    this.set(Head.length, words);
  }
  set(word: number, value: number): void {
    this.words[this.start + word] = value;
  }
  setFloat(word: number, value: number): void {
    this.set(word, bitsOf(value));
  }
  setDouble(word: number, value: number): void {
    double[0] = value;
    this.set(word, doubleWords[0]!);
    this.set(word + 1, doubleWords[1]!);
  }
  end(): void {}
  workspace(bytes: number): number {
    this.workspaceBytes = Math.max(this.workspaceBytes, bytes * this.shares);
    return this.workspaceAddress;
  }
}

/** The raw exports of the running build. */
export const kernels = (): Kernels => engine().kernels;

export const immediate: Encoder = new Immediate();

/** Writes instructions that are too small to be shared, among some that are. */
export function encodeAlone(encoder: Encoder, write: () => void): void {
  const { shares } = encoder;
  encoder.shares = 1;
  write();
  encoder.shares = shares;
}

/** An instruction that moves the random counter on by `blocks` of four words. */
export function encodeAdvance(encoder: Encoder, address: number, by: number, wide: boolean): void {
  encodeAlone(encoder, () => {
    encoder.begin(Op.Advance, Advance.words);
    encoder.set(Advance.address, address);
    encoder.set(Advance.by, by);
    encoder.set(Advance.wide, wide ? 1 : 0);
    encoder.end();
  });
}
