/** Draws random numbers from the global generator, which manualSeed seeds, and advances counters in linear memory. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Encoder, encodeAlone } from "../../runtime/encoder.ts";
import { RangeError, requireRange } from "../../runtime/errors.ts";
import { RANDOM_STATE } from "../../runtime/heap.ts";
import {
  type DistributionCode,
  encodeAdvance,
  encodeBernoulli,
  encodeDistribution,
  encodeRandomInteger,
  encodeRandomPermutation,
} from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { type DType, requireShape, type Shape, type Value } from "../definition/value.ts";
import { copyElements, whole } from "../shape/copy.ts";

interface RandomAttributes {
  readonly shape: Shape;
  readonly p: number;
  readonly q: number;
}

/** Writes the instruction that draws n numbers with parameters p and q. */
type Draw = (encoder: Encoder, places: { out: number; n: number; state: number }, p: number, q: number) => void;

const distribution =
  (code: DistributionCode): Draw =>
  (encoder, places, p, q) =>
    encodeDistribution(encoder, code, { out: places.out, n: places.n, state: places.state, p, q });

/**
 * Passes p·2⁶⁴ − 1 in two words: the kernel draws the value if 64 random bits do not exceed this number. No such number
 * exists for p = 0; the value to draw is then 0.
 */
const drawBernoulli: Draw = (encoder, places, p, value) => {
  const scaled = p * 2 ** 32;
  let high = Math.floor(scaled);
  let low = Math.ceil((scaled - high) * 2 ** 32) - 1;
  if (low < 0) {
    high--;
    low = 2 ** 32 - 1;
  }
  encodeBernoulli(encoder, {
    out: places.out,
    n: places.n,
    state: places.state,
    low,
    high,
    value: p > 0 ? value : 0,
  });
};

/** Passes the lowest result, and the number of possible results modulo 2³². */
const drawInteger: Draw = (encoder, places, low, high) =>
  encodeRandomInteger(encoder, { out: places.out, n: places.n, state: places.state, low, range: high - low });

/**
 * Draws from the global generator or, if there is an input, from a generator whose state the input holds (see generatorState).
 * @param words the number of random words that an element needs
 */
function random(
  code: Op,
  name: string,
  cost: number,
  draw: Draw,
  dtype: DType = "float32",
  words = 1,
): OpDefinition<RandomAttributes> {
  return {
    code,
    name,
    cost,
    random: true,
    mutates: (inputs) => inputs.map((_, i) => i),
    infer: (_, { shape }) => [{ shape, dtype }],
    encode(encoder, { inputs: [own], outputs: [out], attributes: { p, q }, address }) {
      const state = own ? address(own) : RANDOM_STATE;
      draw(encoder, { out: address(out!), n: out!.size, state }, p, q);
      // The generator's counter counts blocks of four random words.
      advanceBy(encoder, state + 8, Math.ceil((out!.size * words) / 4), true);
    },
  };
}

const stateDefinition: OpDefinition<null> = {
  code: Op.Assign,
  cost: 0,
  name: "randomState",
  // compile must not move this op across draws.
  random: true,
  infer: () => [{ shape: [4], dtype: "int32" }],
  encode: (encoder, { outputs: [out], address }) =>
    copyElements(encoder, Op.Assign, "int32", [4], whole(address(out!), [4]), whole(RANDOM_STATE, [4])),
};

/** A copy of the global generator's state, int32 [4]. A random op that gets such a tensor as its input draws from that state instead. */
export const generatorState = (): Value => apply(stateDefinition, [], null);

/** Adds `by` to a 32-bit counter, or to a 64-bit counter if `wide` is true. */
const advanceBy = (encoder: Encoder, address: number, by: number, wide: boolean): void =>
  encodeAlone(encoder, () => encodeAdvance(encoder, { address, by, wide: Number(wide) }));

export const randomDefinitions = {
  /** Uniform in [p, q). */
  uniform: random(Op.Uniform, "rand", 6, distribution(Op.Uniform)),
  /** Normal with mean p and standard deviation q. */
  normal: random(Op.Normal, "randn", 11, distribution(Op.Normal)),
  /** q with probability p, else 0. */
  bernoulli: random(Op.Bernoulli, "bernoulli", 6, drawBernoulli),
  /** Whole numbers p … q − 1, each equally likely. */
  integer: random(Op.RandomInteger, "randint", 6, drawInteger, "int32"),
  /** The numbers 0 … n − 1 in random order. A single thread draws them. */
  permutation: random(Op.RandomPermutation, "randperm", 0, encodeRandomPermutation, "int32", 2),
};

const BELOW = 2 ** 31;

/** Draws float32 numbers uniformly from [low, high). @throws RangeError unless low ≤ high and both are finite in float32 */
export function rand(shape: Shape, low = 0, high = 1, name = "rand"): Value {
  requireShape(name, shape);
  requireRange(name, { low, high }, (v) => Number.isFinite(Math.fround(v)), "a finite float32");
  if (low > high) throw new RangeError(`${name}: low must not be above high (${high}), got ${low}.`);
  return apply(randomDefinitions.uniform, [], { shape, p: low, q: high });
}

/** Draws float32 numbers from the normal distribution with the given mean and standard deviation. @throws RangeError unless both are finite and std ≥ 0 */
export function randn(shape: Shape, mean = 0, std = 1, name = "randn"): Value {
  requireShape(name, shape);
  requireRange(name, { mean }, Number.isFinite, "finite");
  requireRange(name, { std }, (v) => v >= 0 && Number.isFinite(v), "finite and at least 0");
  return apply(randomDefinitions.normal, [], { shape, p: mean, q: std });
}

/**
 * Draws int32 numbers uniformly from low to high − 1. @throws RangeError unless low and high are whole, low < high, and
 * int32 can represent all results
 */
export function randint(low: number, high: number, shape: Shape): Value {
  requireRange("randint", { low, high }, Number.isInteger, "a whole number");
  requireShape("randint", shape);
  if (low < -BELOW || high > BELOW)
    throw new RangeError(`randint: ${low} … ${high - 1} exceeds the range of int32. Use bounds from −2³¹ to 2³¹.`);
  if (low >= high) throw new RangeError(`randint: low must be below high (${high}), got ${low}.`);
  return apply(randomDefinitions.integer, [], { shape, p: low, q: high });
}

/**
 * Draws `value` with probability p (to within 2⁻⁶⁴), else 0, independently for each element. manualSeed makes the
 * result repeatable. No gradient.
 *
 * → `shape`, float32.
 *
 * @param shape The sizes of the result.
 * @param p The probability, from 0 to 1.
 * @param value The number to draw with probability p. Default 1.
 * @throws RangeError if p is not between 0 and 1
 * @example
 * ```ts
 * const kept = bernoulli([1000], 0.25);
 * kept.max().item(); // 1
 * bernoulli([2], 1, 5).toArray(); // [5, 5]
 * ```
 * @op function
 */
export function bernoulli(shape: Shape, p: number, value = 1): Value {
  requireShape("bernoulli", shape);
  if (!(p >= 0 && p <= 1)) throw new RangeError(`bernoulli: p must be in 0 … 1, got ${p}.`);
  return apply(randomDefinitions.bernoulli, [], { shape, p, q: value });
}

/**
 * The numbers 0 … n − 1 in random order; manualSeed makes the order repeatable. No gradient.
 *
 * → [n], int32.
 *
 * @param n The number of elements.
 * @throws ShapeError if n is not a whole number ≥ 0
 * @example
 * ```ts
 * const order = randperm(5);
 * order.sort()[0]!.toArray(); // [0, 1, 2, 3, 4]
 * ```
 * @op function
 */
export function randperm(n: number): Value {
  requireShape("randperm", [n]);
  return apply(randomDefinitions.permutation, [], { shape: [n], p: 0, q: 0 });
}

/** Adds `by` to an int32 counter, in place. */
export const advanceDefinition: OpDefinition<{ by: number }> = {
  code: Op.Advance,
  cost: 0,
  name: "advance",
  mutates: () => [0],
  infer: () => [],
  encode: (encoder, { inputs: [counter], attributes: { by }, address }) =>
    advanceBy(encoder, address(counter!), by, false),
};

/** Adds `by` to an int32 counter, in place. */
export function advance(counter: Value, by = 1): void {
  apply(advanceDefinition, [counter], { by });
}
