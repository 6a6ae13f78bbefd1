/**
 * Choosing and starting the WebAssembly build. The bytes are inlined and compiled synchronously, so nothing has to be
 * fetched, configured or awaited.
 */
import { instantiateSync } from "@assemblyscript/loader";
import relaxedHex from "./binaries/relaxed.ts";
import simdHex from "./binaries/simd.ts";

/**
 * `simd`: the same bits on every machine. `relaxed`: fused multiply-add; faster, and the last bits may differ between
 * machines.
 */
export type Build = "simd" | "relaxed";

/** What the kernels export: addresses and sizes in, nothing out. `run(program, count, thread, threads)` is the engine. */
export type Kernels = Record<string, (...args: number[]) => number>;

// (module (func (result v128) v128.const i32x4 0 0 0 0)) and the same with f32x4.relaxed_madd of three such constants.
const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const CONST = [253, 12, ...new Array<number>(16).fill(0)];
const SIMD = [...HEADER, 22, 1, 20, 0, ...CONST, 11];
const RELAXED = [...HEADER, 61, 1, 59, 0, ...CONST, ...CONST, ...CONST, 253, 133, 2, 11];

/** What this runtime can run, found by validating a module that uses it: never by version. */
export function probe(): { simd: boolean; relaxed: boolean } {
  return {
    simd: WebAssembly.validate(new Uint8Array(SIMD)),
    relaxed: WebAssembly.validate(new Uint8Array(RELAXED)),
  };
}

/** The fastest build that this runtime can run. */
export function bestBuild(): Build {
  const can = probe();
  if (!can.simd) {
    throw new Error("nabla needs WebAssembly SIMD: Node 16.4, Chrome 91, Firefox 89, Safari 16.4 or newer.");
  }
  return can.relaxed ? "relaxed" : "simd";
}

/** Compiles an inlined build. Throws where the runtime forbids compiling bytes (Workers): pass init({ module }) there. */
export function compileBuild(build: Build): WebAssembly.Module {
  const hex = build === "relaxed" ? relaxedHex : simdHex;
  const bytes = new Uint8Array(hex.length / 2);
  const digit = (at: number): number => {
    const code = hex.charCodeAt(at);
    return code < 58 ? code - 48 : code - 87; // "0" is 48, "a" is 97
  };
  for (let i = 0; i < bytes.length; i++) bytes[i] = digit(2 * i) * 16 + digit(2 * i + 1);
  return new WebAssembly.Module(bytes);
}

/** Starts a module on a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  // The exports the loader wraps are called raw: its wrappers would cost more than a small kernel does.
  return instantiateSync(module, { env: { memory } }).instance.exports as Kernels;
}
