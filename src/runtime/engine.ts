/**
 * The single engine: linear memory, the kernels of one build, and the instruction that eager mode runs. It starts on first
 * use, or when `init` is called with options.
 */

import { check } from "./arguments.ts";
import { Error, RangeError } from "./errors.ts";
import { Heap, limitOf, RANDOM_STATE } from "./heap.ts";
import { describe } from "./kinds.ts";
import { type Build, bestBuild, compileBuild, instantiate, type Kernels, onNewPart, partCount, probe } from "./load.ts";
import type { ThreadSetup } from "./threads/index.ts";
import type { WorkerPool } from "./threads/workerPool.ts";
import type { WideSetup } from "./wide/index.ts";

/** Options for init. */
export interface InitOptions {
  /** The inlined build to run. Default: the fastest that the runtime supports. */
  build?: Build;
  /**
   * A compiled module to run instead of an inlined build, for runtimes that cannot compile bytes. `threads` needs a module that imports
   * shared memory; with any other module nabla runs on one thread, and info() says why.
   */
  module?: WebAssembly.Module;
  /** Whether to compute the same bits on every machine. If true, selects the `simd` build. Default false. */
  deterministic?: boolean;
  /** The size in bytes that linear memory may grow to, at least 65536. Default 4 GiB, the most that WebAssembly can address. */
  memoryLimit?: number;
  /**
   * The number of threads, from 1 to 64, or "auto" for one per available core, up to 8. Results have the same bits for
   * any number of threads. If the runtime does not allow workers or shared memory, nabla runs on one thread, and
   * `info()` says why. Default 1.
   */
  threads?: number | "auto";
  /**
   * Whether convolutions with a 3×3 kernel and stride 1 may use Winograd's method, which needs 2.25× fewer multiplications. nabla uses it
   * if a cost model predicts that it is faster. Rounding errors are at most about 4 times those of the direct method, and usually smaller. A
   * NaN or an infinity also reaches the other results of the 2×2 tiles that it affects. Default true, or false with `deterministic`, which
   * keeps the results of earlier versions.
   */
  winograd?: boolean;
  /**
   * Experimental: whether to let V8 combine pairs of 128-bit vectors into 256-bit ones, which makes matrix products up to twice as fast. Needs
   * Node ≥ 24 on an x64 processor with AVX2. Results have the same bits as those of the `relaxed` build. nabla sets V8's option
   * `--experimental-wasm-revectorize`, which affects all WebAssembly in the process and stays set. `init` first tests that combined vectors
   * are faster and that products are correct. If the wide build cannot run or fails a test, nabla runs the build that it would run without
   * `wide`, and `info().wide` says why. Default false.
   */
  wide?: boolean;
}

interface Engine {
  readonly heap: Heap;
  /** The kernels. After the program imports further parts of them, these are the exports of a new instance. */
  kernels: Kernels;
  readonly build: Build | "wide" | "custom";
  readonly deterministic: boolean;
  readonly wide: string;
  readonly pool: WorkerPool | undefined;
  readonly reason: string;
  readonly settings: Settings;
}

/** Options with defaults filled in. A second init with equal settings does nothing. */
interface Settings {
  readonly build: Build | "custom";
  readonly deterministic: boolean;
  readonly winograd: boolean;
  readonly wide: boolean;
  readonly module: WebAssembly.Module | undefined;
  readonly memoryLimit: number;
  readonly threads: number | "auto";
}

let current: Engine | undefined;
let onFull: (() => void) | undefined;

/** Registers the function to call if linear memory cannot grow: it frees blocks whose contents can move elsewhere. */
export function onShortage(f: () => void): void {
  onFull = f;
}
/**
 * Replaces the kernels of a running engine on their next use, because the program has imported further parts of them. Programs import
 * several parts at a time, and need one new instance for all.
 */
function renewKernels(): void {
  const engine = current;
  if (!engine || engine.settings.build === "custom") return;
  const { heap, pool } = engine;
  let renewed: Kernels | undefined;
  const renew = (): Kernels => {
    const module = compileBuild(engine.settings.build as Build, Boolean(pool));
    renewed = engine.kernels = pool?.renew(module) ?? instantiate(module, heap.memory);
    return renewed;
  };
  // A caller may read several kernels from the proxy.
  engine.kernels = new Proxy({}, { get: (_, name: string) => (renewed ?? renew())[name] });
}
onNewPart(renewKernels);
/** A call to `init` that has not finished yet. */
let starting: { readonly settings: Settings; readonly end: Promise<void> } | undefined;

/** The engine. Starts the engine with default options if `init` was not called. */
export function engine(): Engine {
  current ??= start({}, { reason: "init({ threads }) was not called" });
  return current;
}

/** The current heap; undefined before the engine has started. */
export const currentHeap = (): Heap | undefined => current?.heap;

/** Whether convolutions may use Winograd's method. */
export const allowsWinograd = (): boolean => engine().settings.winograd;

/** The number of threads that share a program. */
export const threadCount = (): number => engine().pool?.threads ?? 1;

const buildOf = ({ deterministic, build, module }: InitOptions): Build | undefined =>
  deterministic ? "simd" : (build ?? (module ? undefined : bestBuild()));

function start(
  options: InitOptions,
  { heap = new Heap(options), pool, reason }: ThreadSetup,
  wide: WideSetup = { reason: "init({ wide: true }) was not called" },
): Engine {
  const build = wide.compile ? "wide" : (buildOf(options) ?? "custom");
  const kernels = pool?.kernels ?? instantiate(compilerOf(options, wide)(false), heap.memory);
  // The seed is not a secret, so Math.random() is enough: loading crypto takes Node ten times as long as the rest of
  // this function.
  const seed = (): number => Math.floor(Math.random() * 2 ** 32);
  heap.u32.set([seed(), seed()], RANDOM_STATE / 4);
  heap.onFull = onFull;
  const settings = settingsOf(options);
  return { heap, kernels, build, deterministic: settings.deterministic, wide: wide.reason, pool, reason, settings };
}

/** A function that compiles the kernels for shared or for unshared memory. */
const compilerOf =
  (options: InitOptions, wide?: WideSetup) =>
  (shared: boolean): WebAssembly.Module =>
    wide?.compile?.(shared) ?? options.module ?? compileBuild(buildOf(options)!, shared);

const settingsOf = (options: InitOptions): Settings => ({
  build: buildOf(options) ?? "custom",
  deterministic: options.deterministic ?? false,
  winograd: options.winograd ?? !options.deterministic,
  wide: options.wide ?? false,
  module: options.module,
  memoryLimit: limitOf(options.memoryLimit),
  threads: options.threads ?? 1,
});

/** @throws Error that lists the requested settings that differ from those in use */
function requireEqual(running: Settings, requested: Settings, state: string): void {
  const showSetting = (value: unknown): string => (typeof value === "object" ? "[module]" : String(value));
  const differ = (Object.keys(running) as (keyof Settings)[]).filter(
    // winograd's default depends on deterministic.
    (key) =>
      running[key] !== requested[key] && (key !== "winograd" || running.deterministic === requested.deterministic),
  );
  if (!differ.length) return;
  const list = differ.map((key) => `${key} is ${showSetting(running[key])}, not ${showSetting(requested[key])}`);
  throw new Error(
    `init: nabla ${state} with other options: ${list.join("; ")}. ` +
      "Call init once, before the first tensor, or await dispose() first.",
  );
}

/**
 * Starts nabla with options other than the defaults. Call init before you make the first tensor. Another call with the same
 * options does nothing; concurrent calls share one start.
 *
 * ```ts
 * await init({ threads: "auto" });
 * ```
 * @throws Error if nabla already runs with other options, or if the runtime does not support the requested build
 * @throws RangeError if `memoryLimit` or `threads` is out of range
 */
export async function init(options: InitOptions = {}): Promise<void> {
  check(
    "init",
    arguments,
    "{threads:number|string build:any module:any deterministic:boolean memoryLimit:number winograd:boolean wide:boolean}",
  );
  const { deterministic, build, module, memoryLimit, threads = 1, wide } = options;
  if (deterministic && build === "relaxed") {
    throw new Error('init: build "relaxed" is not deterministic. Omit build or deterministic.');
  }
  if (build !== undefined && build !== "simd" && build !== "relaxed") {
    throw new Error(`init: unknown build "${build}". Use "simd" or "relaxed".`);
  }
  if (module && (build || deterministic)) {
    throw new Error("init: build and deterministic do not apply to a custom module. Omit them.");
  }
  if (wide && (deterministic || build === "simd" || module)) {
    throw new Error(
      'init: wide computes the bits of build "relaxed". Omit wide, or omit build, deterministic and module.',
    );
  }
  if (build === "relaxed" && !probe().relaxed) {
    throw new Error(
      'init: this runtime does not support relaxed SIMD, which needs Node ≥ 22, Chrome ≥ 114 or Firefox ≥ 145. Use build: "simd".',
    );
  }
  if (memoryLimit !== undefined && !(memoryLimit >= 65536)) {
    throw new RangeError(`init: memoryLimit must be at least 65536 bytes, got ${memoryLimit}.`);
  }
  if (threads !== "auto" && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new RangeError(
      `init: threads must be "auto" or a whole number in 1 … ${MAX_THREADS}, got ${describe(threads)}.`,
    );
  }
  const settings = settingsOf(options);
  if (current) return requireEqual(current.settings, settings, "runs");
  if (starting) {
    requireEqual(starting.settings, settings, "is starting");
    return starting.end;
  }
  if (threads === 1 && !wide) {
    current = start(options, { reason: "as requested" });
    return;
  }
  starting = { settings, end: startLater(threads, options) };
  try {
    await starting.end;
  } finally {
    starting = undefined;
  }
}

/** Starts the engine with threads or the wide build, which are imported on demand because most programs do not use them. */
async function startLater(threads: number | "auto", options: InitOptions): Promise<void> {
  const wide = options.wide ? await (await import("./wide/index.ts")).setUpWide() : undefined;
  const parts = partCount();
  let setup: ThreadSetup | undefined;
  try {
    setup =
      threads === 1
        ? { reason: "as requested" }
        : await (await import("./threads/index.ts")).setUpThreads(threads, options.memoryLimit, () =>
            compilerOf(options, wide)(true),
          );
    if (current)
      throw new Error("init: a tensor was made while nabla was starting. Await init before the first tensor.");
    current = start(options, setup, wide);
    if (partCount() > parts) renewKernels();
  } catch (error) {
    await setup?.pool?.close();
    wide?.withdraw?.();
    throw error;
  }
}

/** The largest permitted number of threads. A larger number is probably a mistake. */
const MAX_THREADS = 64;

/**
 * Stops nabla: ends its threads and frees its memory. All tensors are disposed. Compiled functions that use tensors from outside
 * throw from then on; others are recorded again on their next call. `init`, or the next tensor, starts nabla again. Waits for an
 * `init` that has not finished. A second call does nothing.
 */
export async function dispose(): Promise<void> {
  // If the start fails, the caller of init handles the error.
  if (starting) await starting.end.catch(() => {});
  const ended = current;
  current = undefined;
  await ended?.pool?.close();
  ended?.heap.close();
}

/** Reports the build and the threads in use, with the reasons. Starts nabla if necessary. */
export function info(): {
  /** The WASM build that runs. */
  build: Build | "wide" | "custom";
  /** Whether init requested the same bits on every machine. */
  deterministic: boolean;
  /** Whether the runtime supports SIMD, which every build needs. */
  simd: boolean;
  /** Whether the runtime supports relaxed SIMD, which the `relaxed` build needs. */
  relaxed: boolean;
  /** Whether convolutions may use Winograd's method. */
  winograd: boolean;
  /** The reason why the `wide` build runs, or why not. */
  wide: string;
  /** The number of threads in use. */
  threads: number;
  /** The reason for this number of threads. */
  reason: string;
} {
  const { build, deterministic, wide, pool, reason, settings } = engine();
  const trouble = pool?.trouble ? `${reason}; ${pool.trouble}` : reason;
  return {
    build,
    deterministic,
    ...probe(),
    winograd: settings.winograd,
    wide,
    threads: threadCount(),
    reason: trouble,
  };
}

/** Runs the `count` instructions at address `program`, on all threads if `shared`. */
export function execute(program: number, count: number, shared: boolean): void {
  const { kernels, pool } = engine();
  if (shared && kernels === pool?.kernels) pool.run(program, count);
  else kernels.run!(program, count, 0, 1);
}

/**
 * Seeds all random ops. The same seed produces the same numbers on every machine, in every build, with any number of
 * threads.
 * @param seed an integer from 0 to 2⁵³ − 1
 * @throws RangeError
 */
export function manualSeed(seed: number): void {
  check("manualSeed", arguments, "seed:number");
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`manualSeed: seed must be an integer in 0 … 2⁵³ − 1, got ${seed}.`);
  }
  engine().heap.u32.set([seed >>> 0, Math.floor(seed / 2 ** 32), 0, 0], RANDOM_STATE / 4);
}

/**
 * The state of the random generator: four words, [seed low, seed high, counter low, counter high]. Pass the state to
 * `setRandomState` to continue from it.
 * @example
 * ```ts
 * const state = randomState();
 * const first = randn([3]);
 * setRandomState(state);
 * randn([3]).sub(first).abs().max().item(); // 0
 * ```
 */
export const randomState = (): Uint32Array => engine().heap.u32.slice(RANDOM_STATE / 4, RANDOM_STATE / 4 + 4);

/**
 * Continues the sequence of random numbers from a state that `randomState` returned.
 * @throws RangeError if the state does not consist of four numbers
 */
export function setRandomState(state: ArrayLike<number>): void {
  check("setRandomState", arguments, "state:numbers");
  if (state.length !== 4)
    throw new RangeError(
      `setRandomState: state must have 4 numbers, got ${state.length}. Pass the result of randomState().`,
    );
  engine().heap.u32.set(state, RANDOM_STATE / 4);
}

/** The raw exports of the running build. */
export const kernels = (): Kernels => engine().kernels;
