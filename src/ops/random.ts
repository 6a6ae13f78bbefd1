/** Random numbers from the one generator (manualSeed), and counters in memory. */
import { Op, Random } from "../../assembly/opcodes.ts";
import { encodeAdvance } from "../runtime/engine.ts";
import { RANDOM_STATE } from "../runtime/heap.ts";
import { apply, type OpDefinition } from "./op.ts";
import { type DType, requireShape, type Shape, type Value } from "./value.ts";

interface RandomAttributes {
  readonly shape: Shape;
  readonly p: number;
  readonly q: number;
}

function random(code: Op, name: string, doc: string, dtype: DType = "float32"): OpDefinition<RandomAttributes> {
  return {
    code,
    name,
    doc,
    infer: (_, { shape }) => [{ shape, dtype }],
    encode(encoder, { outputs: [out], attributes: { p, q }, address }) {
      encoder.begin(code, Random.words);
      encoder.set(Random.out, address(out!));
      encoder.set(Random.n, out!.size);
      encoder.set(Random.state, RANDOM_STATE);
      encoder.setFloat(Random.p, p);
      encoder.setFloat(Random.q, q);
      encoder.end();
      // A permutation uses a word pair an element; the others, a word.
      encodeAdvance(encoder, RANDOM_STATE + 8, Math.ceil(out!.size / (code === Op.RandomPermutation ? 2 : 4)), true);
    },
  };
}

export const randomDefinitions = {
  uniform: random(Op.Uniform, "rand", "Uniform in [p, q)."),
  normal: random(Op.Normal, "randn", "Normal with mean p and standard deviation q."),
  bernoulli: random(Op.Bernoulli, "bernoulli", "q with probability p, else 0."),
  permutation: random(Op.RandomPermutation, "randperm", "0 … n − 1 in random order.", "int32"),
};

/** Uniform in [low, high). */
export function rand(shape: Shape, low = 0, high = 1): Value {
  requireShape("rand", shape);
  return apply(randomDefinitions.uniform, [], { shape, p: low, q: high });
}

/** Normal with the given mean and standard deviation. */
export function randn(shape: Shape, mean = 0, std = 1): Value {
  requireShape("randn", shape);
  return apply(randomDefinitions.normal, [], { shape, p: mean, q: std });
}

/** `value` with probability p, else 0. @throws RangeError unless 0 ≤ p ≤ 1 */
export function bernoulli(shape: Shape, p: number, value = 1): Value {
  requireShape("bernoulli", shape);
  if (!(p >= 0 && p <= 1)) throw new RangeError(`bernoulli: p is ${p}, but must be in 0 … 1.`);
  return apply(randomDefinitions.bernoulli, [], { shape, p, q: value });
}

/** 0 … n − 1 in random order, int32. */
export function randperm(n: number): Value {
  requireShape("randperm", [n]);
  return apply(randomDefinitions.permutation, [], { shape: [n], p: 0, q: 0 });
}

export const advanceDefinition: OpDefinition<{ by: number }> = {
  code: Op.Advance,
  name: "advance",
  doc: "Adds to an int32 counter in place.",
  mutates: () => [0],
  infer: () => [],
  encode: (encoder, { inputs: [counter], attributes: { by }, address }) =>
    encodeAdvance(encoder, address(counter!), by, false),
};

/** Adds `by` to an int32 counter, in place. */
export function advance(counter: Value, by = 1): void {
  apply(advanceDefinition, [counter], { by });
}
