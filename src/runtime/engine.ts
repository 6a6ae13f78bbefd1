/**
 * The one engine: a memory, a build's kernels, and the instruction that eager mode runs. Started at first use, or
 * beforehand by `init` for those who want to choose.
 */
import { Advance, Head, Op } from "../../assembly/opcodes.ts";
import { Heap, RANDOM_STATE, SCRATCH, SCRATCH_WORDS } from "./heap.ts";
import { type Build, bestBuild, compileBuild, instantiate, type Kernels, probe } from "./load.ts";

export interface InitOptions {
  /** Which inlined build to run. Default: the fastest that the runtime can run. */
  build?: Build;
  /** A compiled module instead of the inlined bytes, for runtimes that forbid compiling bytes. */
  module?: WebAssembly.Module;
  /** The same bits on every machine: forces the `simd` build. Default false. */
  deterministic?: boolean;
  /** Bytes that linear memory may grow to. Default 4 GiB, the most that WebAssembly can address. */
  memoryLimit?: number;
}

interface Engine {
  readonly heap: Heap;
  readonly kernels: Kernels;
  readonly build: Build | "custom";
}

let current: Engine | undefined;

/** The engine, started with defaults if `init` was not called. */
export function engine(): Engine {
  current ??= start({});
  return current;
}

function start(options: InitOptions): Engine {
  const build = options.deterministic ? "simd" : (options.build ?? (options.module ? undefined : bestBuild()));
  const module = options.module ?? compileBuild(build ?? "simd");
  const heap = new Heap(options.memoryLimit === undefined ? {} : { limit: options.memoryLimit });
  const started: Engine = {
    heap,
    kernels: instantiate(module, heap.memory),
    build: build ?? "custom",
  };
  const seed = new Uint32Array(2);
  globalThis.crypto?.getRandomValues(seed);
  heap.u32.set(seed, RANDOM_STATE / 4);
  return started;
}

/**
 * Chooses how nabla runs; needed only by those who want something other than the defaults, and only before the first
 * tensor is made.
 * @throws Error if nabla has started already, or the build asked for cannot run here.
 */
export async function init(options: InitOptions = {}): Promise<void> {
  if (current) throw new Error("init: nabla has already started. Call init before the first tensor is created, once.");
  if (options.deterministic && options.build === "relaxed") {
    throw new Error('init: build "relaxed" is not deterministic. Leave out one of { build, deterministic }.');
  }
  if (options.build !== undefined && options.build !== "simd" && options.build !== "relaxed") {
    throw new Error(`init: "${options.build}" is not a build. Use "simd" or "relaxed".`);
  }
  if (options.module && (options.build || options.deterministic)) {
    throw new Error("init: a module of your own is what it is. Leave out { build, deterministic }.");
  }
  if (options.build === "relaxed" && !probe().relaxed) {
    throw new Error(
      'init: this runtime has no relaxed SIMD (Node ≥ 22, Chrome ≥ 114, Firefox ≥ 145). Use build: "simd".',
    );
  }
  if (options.memoryLimit !== undefined && !(options.memoryLimit >= 65536)) {
    throw new RangeError(`init: memoryLimit is ${options.memoryLimit}, but must be at least 65536 bytes.`);
  }
  current = start(options);
}

/** What was chosen. */
export function info(): {
  build: Build | "custom";
  simd: boolean;
  relaxed: boolean;
} {
  return { build: engine().build, ...probe() };
}

/** Seeds the generator of all random ops: the same seed gives the same numbers on every machine and thread count. */
export function manualSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`manualSeed: ${seed} is not an integer in 0 … 2⁵³ − 1.`);
  }
  engine().heap.u32.set([seed >>> 0, Math.floor(seed / 2 ** 32), 0, 0], RANDOM_STATE / 4);
}

/**
 * Writes instructions. `begin` opens one, `set…` fill its words (numbered as in opcodes.ts), `end` closes it. Workspace is
 * asked for before `begin`, since memory may grow.
 */
export interface Encoder {
  begin(code: Op, words: number): void;
  set(word: number, value: number): void;
  setFloat(word: number, value: number): void;
  setDouble(word: number, value: number): void;
  end(): void;
  /** The address of scratch memory for the next instruction. */
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

/** The encoder of eager mode: each instruction runs as soon as it is closed. */
class Immediate implements Encoder {
  private scratch = 0;
  private scratchBytes = 0;

  begin(code: Op, words: number): void {
    if (words > SCRATCH_WORDS) throw new RangeError(`an instruction of ${words} words is too long.`);
    this.set(Head.code, code);
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
    engine().kernels.run!(SCRATCH, 1, 0, 1);
  }
  workspace(bytes: number): number {
    if (bytes > this.scratchBytes) {
      const { heap } = engine();
      const scratch = heap.allocate(bytes);
      if (this.scratch) heap.release(this.scratch, this.scratchBytes);
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
  private start = 0;

  /** @param workspaceAddress scratch memory, which all instructions share: `workspaceBytes` says how much they need */
  constructor(private readonly workspaceAddress = 0) {}
  begin(code: Op, words: number): void {
    this.start = this.words.length;
    this.starts.push(this.start);
    for (let i = 0; i < words; i++) this.words.push(0);
    this.set(Head.code, code);
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
    this.workspaceBytes = Math.max(this.workspaceBytes, bytes);
    return this.workspaceAddress;
  }
}

/** The raw exports of the running build. */
export const kernels = (): Kernels => engine().kernels;

export const immediate: Encoder = new Immediate();

/** An instruction that moves the random counter on by `blocks` of four words. */
export function encodeAdvance(encoder: Encoder, address: number, by: number, wide: boolean): void {
  encoder.begin(Op.Advance, Advance.words);
  encoder.set(Advance.address, address);
  encoder.set(Advance.by, by);
  encoder.set(Advance.wide, wide ? 1 : 0);
  encoder.end();
}
