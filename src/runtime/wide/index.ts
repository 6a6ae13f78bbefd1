/**
 * The wide build, for V8's experimental option to combine operations on adjacent 128-bit vectors into one on 256 bits. Before the build
 * runs, this module checks that V8 combines vectors here and that products are correct. It is loaded on demand, because most programs do
 * not use it.
 */
import { Activation } from "../../../assembly/opcodes.ts";
import wideText from "../binaries/wide.ts";
import { applyEdits, compileBytes, decode, decodeBuild, instantiate, type Kernels, probe } from "../load.ts";
import { nodeModule } from "../nodeModule.ts";
// The wide build is stored as edits to the whole relaxed build.
import "../parts/image.ts";
import "../parts/norm.ts";
import "../parts/quantized.ts";
import "../parts/sequence.ts";
import { pairProbe } from "./pairProbe.ts";

export interface WideSetup {
  /** Compiles the wide build; undefined if it cannot run here. */
  readonly compile?: (shared: boolean) => WebAssembly.Module;
  /** Why the wide build runs or not, for info(). */
  readonly reason: string;
  /** Disables the option again, if the start fails and nothing else needs the option. */
  readonly withdraw?: () => void;
}

type SetFlags = (flags: string) => void;

const FLAG = "experimental-wasm-revectorize";
const SYNC = "wasm-sync-tier-up";
/** The first version of V8 that combines multiply-adds. */
const V8 = 13;

const USERS: unique symbol = Symbol.for("nabla.wide");

interface Process {
  readonly versions: Readonly<Record<string, string | undefined>>;
  readonly arch: string;
  readonly version: string;
  readonly execArgv: readonly string[];
  /** The number of copies of nabla in this thread that run the wide build. */
  [USERS]?: number;
}

/** The bytes of the wide build, which is stored as edits to `relaxed`. */
export const decodeWide = (): Uint8Array<ArrayBuffer> => applyEdits(decodeBuild("relaxed"), decode(wideText));

/** Enables the option for the whole process, if this runtime benefits from it. Never throws; `reason` says why the build cannot run. */
export async function setUpWide(): Promise<WideSetup> {
  const { process } = globalThis as { process?: Process };
  const problem = obstacle(process);
  if (problem) return { reason: problem };
  const compile = (shared: boolean): WebAssembly.Module => compileBytes(decodeWide(), shared);
  let withdraw: (() => void) | undefined;
  let reason: string | undefined;
  try {
    const { setFlagsFromString: setFlags } = (await nodeModule<{ setFlagsFromString: SetFlags }>("v8"))!;
    const { isMainThread } = (await nodeModule<{ isMainThread: boolean }>("worker_threads"))!;
    setFlags(`--${FLAG}`);
    // Other threads may run the wide build, so a worker leaves the option to the main thread.
    const isOwn = isMainThread && !optionsOf(process!).includes(`--${FLAG}`);
    withdraw = () => {
      if (isOwn && !process![USERS]) setFlags(`--no-${FLAG}`);
    };
    reason = check(setFlags, compile, !optionsOf(process!).includes(`--${SYNC}`));
  } catch (error) {
    reason = String(error);
  }
  if (reason) {
    withdraw?.();
    return { reason };
  }
  process![USERS] = (process![USERS] ?? 0) + 1;
  return {
    compile,
    reason: "as requested",
    withdraw() {
      process![USERS]!--;
      withdraw!();
    },
  };
}

/** The options with which Node was started, in the spelling of V8's documentation. */
const optionsOf = ({ execArgv }: Process): string[] =>
  execArgv.map((option) => option.replaceAll("_", "-").replace(/^--no-?(?=[a-z])/, "--no-"));

/** Why this runtime does not support the wide build; undefined if it may support it. */
function obstacle(process: Process | undefined): string | undefined {
  const { node, bun, deno, v8 = "" } = process?.versions ?? {};
  const needs = "wide needs Node 24 or newer on x64";
  // Cloudflare Workers imitate Node, but do not state a version of V8.
  if (!node || bun || deno || !v8) return `${needs}, not a browser or another runtime`;
  if (Number.parseInt(v8, 10) < V8 || process!.arch !== "x64" || !probe().relaxed)
    return `${needs}, got Node ${process!.version} on ${process!.arch}`;
  if (optionsOf(process!).includes(`--no-${FLAG}`)) return `Node was started with --no-${FLAG}`;
  return undefined;
}

/**
 * Runs the checks. Meanwhile, V8 does not optimize functions in the background but waits for the optimized code, so that the checks run
 * this code.
 * @param isOwn whether to end this behavior afterwards
 * @returns the problem; undefined if there is none
 */
function check(
  setFlags: SetFlags,
  compile: (shared: boolean) => WebAssembly.Module,
  isOwn: boolean,
): string | undefined {
  setFlags(`--${SYNC}`);
  try {
    if (!pairs()) return "V8 does not combine vectors on this processor, or it has no AVX2";
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
    const wrong = wrongProduct(instantiate(compile(false), memory), memory);
    return wrong && `V8 computes a wrong product of ${wrong} with combined vectors`;
  } finally {
    if (isOwn) setFlags(`--no-${SYNC}`);
  }
}

/** How many times as fast combined additions must be. They take half the time, unless the processor splits 256-bit operations. */
const GAIN = 1.4;
const STEPS = 2000;
const ROUNDS = 500;

/** Whether V8 combines vectors, and whether this makes additions faster. */
function pairs(): boolean {
  const { paired, single } = pairProbe();
  let [a, b] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  // Other programs can only make a round slower, so compare the shortest times.
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    paired(STEPS, 1);
    const middle = performance.now();
    single(STEPS, 1);
    b = Math.min(b, performance.now() - middle);
    a = Math.min(a, middle - begin);
    if (round > 5 && b > GAIN * a) return true;
  }
  return false;
}

/**
 * The products to check: [m, n, k, transA, transB, whether to add a bias and apply relu]. Together, they cover whole and partial tiles,
 * several blocks of k, and all packings.
 */
const PRODUCTS = [
  [17, 53, 71, 0, 0, 0],
  [20, 37, 64, 0, 1, 1],
  [29, 48, 530, 1, 0, 1],
] as const;
/** The addresses of the operands. A, B and BIAS get LARGEST numbers each, and the memory has PAGES pages. */
const [OUT, A, B, BIAS, WORKSPACE] = [0, 0x10000, 0x30000, 0x50000, 0x70000];
const LARGEST = 0x8000;
const PAGES = 32;

/** The number of calls after which V8 has optimized all functions that compute a product. */
const CALLS = 60;

/** The sizes of the first wrong product; undefined if there is none. All values are small integers, so sums are exact in any order. */
function wrongProduct({ gemm }: Kernels, memory: WebAssembly.Memory): string | undefined {
  const floats = new Float32Array(memory.buffer);
  const value = (i: number): number => ((7 * i) % 11) - 5;
  for (const address of [A, B, BIAS]) for (let i = 0; i < LARGEST; i++) floats[address / 4 + i] = value(i + address);
  for (const [m, n, k, transA, transB, isLayer] of PRODUCTS) {
    const expected = Array.from({ length: m * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      let sum = isLayer && value(j + BIAS);
      for (let p = 0; p < k; p++)
        sum += value(A + (transA ? p * m + i : i * k + p)) * value(B + (transB ? j * k + p : p * n + j));
      return isLayer ? Math.max(0, sum) : sum;
    });
    const [bias, activation] = isLayer ? [BIAS, Activation.Relu] : [0, Activation.None];
    for (let call = 0; call < CALLS; call++) {
      gemm!(OUT, A, B, bias, 0, m, n, k, transA, transB, 1, activation, 0, WORKSPACE, 0, m, 0, n);
      if (expected.some((v, i) => floats[OUT / 4 + i] !== v)) return `${m}×${k}×${n}`;
    }
  }
  return undefined;
}
