/**
 * Selects, compiles and instantiates a WebAssembly build. The bytes are inlined and compiled synchronously, so there is nothing to fetch or
 * await.
 */

import { instantiateSync } from "@assemblyscript/loader";
import relaxedText from "./binaries/relaxed.ts";
import simdText from "./binaries/simd.ts";
import streamsText from "./binaries/streams.ts";
import { Error } from "./errors.ts";

/**
 * `simd` computes the same bits on every machine. `relaxed` uses fused multiply-add, which is faster, but the last bits
 * of a result may differ between machines.
 */
export type Build = "simd" | "relaxed";

/** The exports of a build. Kernels take addresses and sizes; `run(program, count, thread, threads)` runs instructions. */
export type Kernels = Record<string, (...args: number[]) => number>;

// (module (func (result v128) v128.const i32x4 0 0 0 0)), and the same module with f32x4.relaxed_madd of three such
// constants.
const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const CONST = [253, 12, ...new Array<number>(16).fill(0)];
const SIMD = [...HEADER, 22, 1, 20, 0, ...CONST, 11];
const RELAXED = [...HEADER, 61, 1, 59, 0, ...CONST, ...CONST, ...CONST, 253, 133, 2, 11];

/** The features of this runtime, detected by validating modules that use them, not by comparing versions. */
export function probe(): { simd: boolean; relaxed: boolean } {
  return {
    simd: WebAssembly.validate(new Uint8Array(SIMD)),
    relaxed: WebAssembly.validate(new Uint8Array(RELAXED)),
  };
}

/** The fastest build that this runtime supports. @throws Error if the runtime does not support WebAssembly SIMD */
export function bestBuild(): Build {
  const can = probe();
  if (!can.simd) {
    throw new Error("nabla needs WebAssembly SIMD: Node 16.4, Chrome 91, Firefox 89, Safari 16.4 or newer.");
  }
  return can.relaxed ? "relaxed" : "simd";
}

/** Precompiled modules, for runtimes that cannot compile bytes. */
let provided: Readonly<Record<Build, WebAssembly.Module>> | undefined;

/** Registers precompiled builds for memory that is not shared. */
export function provideModules(modules: Readonly<Record<Build, WebAssembly.Module>>): void {
  provided = modules;
}

/** Compiles an inlined build. @param shared whether the module imports shared memory */
export function compileBuild(build: Build, shared = false): WebAssembly.Module {
  return provided && !shared ? provided[build] : compileBytes(decodeBuild(build), shared);
}

/** Compiles a build. @param shared whether the module imports shared memory */
export function compileBytes(bytes: Uint8Array<ArrayBuffer>, shared: boolean): WebAssembly.Module {
  if (shared) bytes[sharedFlag(bytes)]! |= 2;
  return new WebAssembly.Module(bytes);
}

/** The position of the imported memory's flags, which follow its name and its kind (2). */
function sharedFlag(bytes: Uint8Array): number {
  const name = [..."memory"].map((c) => c.charCodeAt(0));
  return bytes.findIndex((_, i) => [...name, 2].every((byte, j) => bytes[i + j] === byte)) + name.length + 1;
}

/** Text from which each build is decoded. In Node's bundle, functions that return the bytes. */
type Texts = Readonly<Record<Build, Text>>;
type Text = string | (() => Uint8Array<ArrayBuffer>);
const base: Texts = { simd: simdText, relaxed: relaxedText };

/** Parts of the kernels that the program has imported, in the order in which they are imported. */
const parts: Texts[] = [];
/** The number of these parts. */
export const partCount = (): number => parts.length;
let onPart: (() => void) | undefined;

/** Registers the function to call when a program imports further parts of the kernels. */
export function onNewPart(f: () => void): void {
  onPart = f;
}

/** Registers kernels that only some programs need. tools/parts.mjs divides the builds. */
export function addPart(part: Texts): void {
  parts.push(part);
  onPart?.();
}

/** The bytes of an inlined build, with the parts that the program has imported. */
export function decodeBuild(build: Build): Uint8Array<ArrayBuffer> {
  // Insert parts from back to front, so that each is still where its header says.
  const decoded = parts.map((part) => decodeTexts(part, build)).sort((a, b) => numberAt(b, 0) - numberAt(a, 0));
  return decoded.reduce(insertPart, decodeTexts(base, build));
}

/** `simd` is stored as streams, `relaxed` as edits to `simd`. */
function decodeTexts({ simd, relaxed }: Texts, build: Build): Uint8Array<ArrayBuffer> {
  const bytes = decode(simd, true);
  return build === "simd" ? bytes : applyEdits(bytes, decode(relaxed));
}

/** A number of three bytes. */
const numberAt = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);

/** Replaces the stubs of a part by its functions; tools/parts.mjs documents the header of a part. */
function insertPart(module: Uint8Array, part: Uint8Array): Uint8Array<ArrayBuffer> {
  const [begin, end, sizeAt] = [0, 3, 6].map((at) => numberAt(part, at)) as [number, number, number];
  const functions = part.subarray(9);
  const bytes = new Uint8Array(module.length - (end - begin) + functions.length);
  bytes.set(module.subarray(0, begin));
  bytes.set(functions, begin);
  bytes.set(module.subarray(end), begin + functions.length);
  // The size of the code section, the last section, is a LEB128 number of three bytes.
  const size = bytes.length - sizeAt - 3;
  bytes.set([size | 128, (size >> 7) | 128, size >> 14], sizeAt);
  return bytes;
}

/** Applies edits to the bytes of another build; tools/edits.mjs documents the format. @internal */
export function applyEdits(base: Uint8Array, edits: Uint8Array): Uint8Array<ArrayBuffer> {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = edits[at++]!;
      value |= (byte & 127) << shift;
      // At the end of truncated edits, the byte is undefined.
      if (!(byte >= 128)) return value;
    }
  };
  const bytes = new Uint8Array(number());
  let size = 0;
  let from = 0;
  while (size < bytes.length && at < edits.length) {
    const fresh = number();
    bytes.set(edits.subarray(at, at + fresh), size);
    at += fresh;
    size += fresh;
    const length = number();
    const move = number();
    from += move & 1 ? -(move + 1) / 2 : move / 2;
    bytes.set(base.subarray(from, from + length), size);
    from += length;
    size += length;
  }
  return bytes;
}

/** Where assembly/streams.ts expects the text. */
const TEXT = 8192;
/** The compiled assembly/streams.ts, once text has been decoded. */
let decoder: WebAssembly.Module | undefined;

/** The size of the header of all texts, with which the base of `simd` begins. */
const TEXT_HEADER = 64;

/**
 * Decodes bytes from text; tools/wasm.mjs documents the encoding. A WebAssembly module decodes the text, because JavaScript that runs
 * only once would take five times as long.
 * @param joins whether the text encodes streams, which this function then joins
 */
export function decode(text: Text, joins = false): Uint8Array<ArrayBuffer> {
  if (typeof text !== "string") return text();
  decoder ??= new WebAssembly.Module(Uint8Array.from(atob(streamsText), (c) => c.charCodeAt(0)));
  const { memory, decode, join } = new WebAssembly.Instance(decoder).exports as {
    memory: WebAssembly.Memory;
    decode: (length: number) => number;
    join: (length: number) => number;
  };
  // Use simdText only once: bundlers copy it to wherever it is used.
  const whole = text === base.simd ? text : (base.simd as string).slice(0, TEXT_HEADER) + text;
  new TextEncoder().encodeInto(whole, new Uint8Array(memory.buffer, TEXT));
  const length = decode(whole.length);
  const bytes = new Uint8Array(memory.buffer as ArrayBuffer);
  if (!joins) return bytes.slice(TEXT, TEXT + length);
  const start = TEXT + length;
  return bytes.slice(start, start + join(length));
}

/** Instantiates a module with a memory. `stalled` is called if a thread has waited for others for a long time. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  stalled: () => void = () => {},
): Kernels {
  const imports = { env: { memory, stalled } };
  // The loader mistakes a module from another realm, such as one that an edge runtime compiled, for bytes.
  const isOwn = module instanceof WebAssembly.Module;
  const instance = isOwn ? instantiateSync(module, imports).instance : new WebAssembly.Instance(module, imports);
  // Do not use the loader's exports: they wrap each function to count its arguments, which kernels do not need.
  return instance.exports as Kernels;
}
