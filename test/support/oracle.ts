/**
 * Sample values, tolerances and finite differences for the float64 oracle. Pages load this file, so it does not import the
 * test runner.
 */
import { type Tensor, tensor } from "nabla";
import type { AnyOp } from "../../src/ops/definition/op.ts";
import { sizeOf, type Value } from "../../src/ops/definition/value.ts";
import type { Encoder } from "../../src/runtime/encoder.ts";
import { engine } from "../../src/runtime/engine.ts";
import { referenceOf } from "../ops/oracles/index.ts";
import type { Reference, Sample, SampleInput } from "../ops/oracles/oracle.ts";

/** A seeded random generator (mulberry32), so that failures are reproducible. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Values for one input of a sample, exact in float32 and away from kinks. */
export function draw(input: SampleInput, random: () => number): Reference {
  const {
    shape,
    dtype = "float32",
    low = dtype === "uint8" ? 0 : -2,
    high = dtype === "uint8" ? 200 : 2,
    kinks = [],
  } = input;
  const one = (): number => {
    if (dtype === "bool") return Number(random() < 0.5);
    if (dtype !== "float32") return Math.floor(low + random() * (high - low));
    for (;;) {
      const v = Math.fround(low + random() * (high - low));
      if (kinks.every((kink) => Math.abs(v - kink) > 0.05)) return v;
    }
  };
  const data = Float64Array.from({ length: sizeOf(shape) }, one);
  const n = shape.at(-1) ?? 1;
  if (input.diagonal)
    data.forEach((v, i) => {
      if (Math.floor(i / n) % n === i % n)
        data[i] = Math.fround(v + input.diagonal![(i % n) % input.diagonal!.length]!);
    });
  return { shape, data };
}

export function toTensor(x: Reference, input: SampleInput): Tensor {
  const dtype = input.dtype ?? "float32";
  const values =
    dtype === "float32"
      ? Float32Array.from(x.data)
      : dtype === "int32"
        ? Int32Array.from(x.data)
        : Uint8Array.from(x.data);
  return tensor(values, x.shape, { dtype });
}

/**
 * Asserts |actual − expected| ≤ tolerance·max(1, |expected|), and that NaN and ∞ occur in the same places. The error names
 * the first element that fails.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "",
): void {
  if (actual.length !== expected.length)
    throw new Error(`${what}: must have ${expected.length} elements, got ${actual.length}`);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    const same = Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e));
    const near = Number.isFinite(e) && Math.abs(a - e) <= tolerance * Math.max(1, Math.abs(e));
    if (!same && !near) throw new Error(`${what}: element ${i} must be ${e} within ${tolerance}, got ${a}`);
  }
}

/** The indices of a sample's differentiable inputs. */
export function differentiable(sample: Sample<unknown>): number[] {
  return sample.inputs.flatMap((input, i) => ((input.dtype ?? "float32") === "float32" && !input.constant ? [i] : []));
}

/** L(x) = Σ u·op(x), summed over the outputs that u covers. The oracle computes op(x). */
export function objective(
  op: AnyOp,
  inputs: readonly Reference[],
  attributes: unknown,
  u: readonly Reference[],
): number {
  const ys = referenceOf(op, inputs, attributes);
  let total = 0;
  u.forEach(({ data }, k) => {
    for (let i = 0; i < data.length; i++) total += data[i]! * ys[k]!.data[i]!;
  });
  return total;
}

/**
 * The inputs moved by `amount` along `direction`, which has one list per input, or undefined for an input that does not move.
 */
export function moved(
  inputs: readonly Reference[],
  direction: readonly (ArrayLike<number> | undefined)[],
  amount: number,
): Reference[] {
  return inputs.map((x, i) => {
    const d = direction[i];
    return d ? { shape: x.shape, data: Float64Array.from(x.data, (v, j) => v + amount * d[j]!) } : x;
  });
}

/** A basis direction: 1 at one element of one input, and 0 elsewhere. */
export function basis(inputs: readonly Reference[], input: number, at: number): (ArrayLike<number> | undefined)[] {
  return inputs.map((x, i) =>
    i === input ? Float64Array.from({ length: x.data.length }, (_, j) => Number(j === at)) : undefined,
  );
}

/** The number of bytes after a workspace that kernels must not change. */
const GUARD = 1 << 20;

/** An encoder that runs the share of each thread in sequence. */
export class SplitEncoder implements Encoder {
  private readonly program = engine().heap.allocate(4096);
  private scratch = 0;
  scratchBytes = 0;
  private used = 0;
  shares: number;
  constructor(
    readonly threads: number,
    /** The thread whose share runs; undefined to run the shares of all threads. */
    private readonly only?: number,
  ) {
    this.shares = threads;
  }
  begin(code: number, words: number): void {
    this.set(0, code);
    this.set(1, words);
  }
  set(word: number, value: number): void {
    engine().heap.u32[this.program / 4 + word] = value;
  }
  setFloat(word: number, value: number): void {
    engine().heap.f32[this.program / 4 + word] = value;
  }
  setDouble(word: number, value: number): void {
    new DataView(engine().heap.memory.buffer).setFloat64(this.program + 4 * word, value, true);
  }
  end(): void {
    for (let thread = this.threads - 1; thread >= 0; thread--) {
      if (this.only === undefined || this.only === thread) engine().kernels.run!(this.program, 1, thread, this.threads);
    }
    if (!this.used) return;
    const guard = engine().heap.u8.subarray(this.scratch + this.used, this.scratch + this.used + GUARD);
    if (guard.some((byte) => byte !== 0xff)) throw new Error("a kernel wrote past its workspace");
  }
  workspace(bytes: number): number {
    const needed = bytes * this.threads;
    if (needed + GUARD > this.scratchBytes) {
      if (this.scratch) engine().heap.release(this.scratch, this.scratchBytes);
      this.scratch = engine().heap.allocate(needed + GUARD);
      this.scratchBytes = needed + GUARD;
    }
    this.used = needed;
    // Kernels must not depend on the workspace's initial content, nor write past its end.
    engine().heap.u8.fill(0xff, this.scratch, this.scratch + needed + GUARD);
    return this.scratch;
  }
}

export const addressOf = (value: Value): number => (value as Tensor).storage("test").address;
