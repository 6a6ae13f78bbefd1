/** Work cut among threads: every share is really done by its thread, and together they give the bits of one thread. */
import { manualSeed, rand, randint, type Tensor, tidy } from "nabla";
import { expect, test } from "vitest";
import { Op } from "../assembly/opcodes.ts";
import { type AnyOp, applyAll } from "../src/ops/op.ts";
import { table } from "../src/ops/table.ts";
import { bytesPerElement } from "../src/ops/value.ts";
import { addressOf, draw, SplitEncoder, seeded, toTensor } from "./support/oracle.ts";

const THREADS = 3;
const together = new SplitEncoder(THREADS);
const [first, second] = [new SplitEncoder(THREADS, 0), new SplitEncoder(THREADS, 1)];

const floats = (shape: number[], low = 0.1, high = 1): Tensor =>
  rand(shape)
    .mul(high - low)
    .add(low);
const middle = (outer: number, n: number, inner: number, keep = false) => ({
  outer,
  n,
  inner,
  scale: 1,
  reverse: false,
  shape: keep ? [outer, n, inner] : [outer, 1, inner],
});

/** Inputs large enough to be cut, for each family of codes. */
function cases(code: Op): { inputs: Tensor[]; attributes: unknown }[] {
  if (code <= Op.Round) return [{ inputs: [floats([5001])], attributes: [0.25, 0.75] }];
  if (code <= Op.ClampGrad) return [{ inputs: [floats([5001]), floats([5001])], attributes: [0.25, 0.75] }];
  if (code <= Op.LessEqual) {
    return [
      [[5001], [5001]],
      [[70, 33], [33]],
      [
        [70, 33],
        [70, 1],
      ],
    ].map(([a, b]) => ({ inputs: [floats(a!), floats(b!)], attributes: null }));
  }
  if (code === Op.Where)
    return [{ inputs: [floats([5001]).gt(0.5), floats([5001]), floats([5001])], attributes: null }];
  if (code === Op.ArgMax || code === Op.ArgMin)
    return [{ inputs: [floats([70, 33])], attributes: { ...middle(70, 33, 1), shape: [70] } }];
  if (code <= Op.Cumsum) {
    return [
      [70, 33, 1],
      [3, 33, 90],
    ].map(([o, n, i]) => ({ inputs: [floats([o!, n!, i!])], attributes: middle(o!, n!, i!, code === Op.Cumsum) }));
  }
  if (code <= Op.LogSoftmax) return [{ inputs: [floats([70, 7])], attributes: null }];
  if (code <= Op.LogSoftmaxGrad) return [{ inputs: [floats([70, 7]), floats([70, 7])], attributes: null }];
  const target = code === Op.CrossEntropy || code === Op.CrossEntropyGrad ? randint(0, 7, [70]) : floats([70, 7]);
  if (code === Op.CrossEntropy || code === Op.SoftCrossEntropy)
    return [{ inputs: [floats([70, 7]), target], attributes: { ignoreIndex: -100 } }];
  if (code <= Op.SoftCrossEntropyGrad) {
    return [{ inputs: [floats([70]), floats([70, 7]), target, floats([70, 2])], attributes: { ignoreIndex: 2 } }];
  }
  if (code === Op.Fill) return [{ inputs: [], attributes: { shape: [5001], dtype: "float32", value: 3 } }];
  if (code === Op.Cast) return [{ inputs: [floats([5001])], attributes: { dtype: "int32" } }];
  if (code === Op.OneHot) return [{ inputs: [randint(0, 7, [70])], attributes: { classes: 7 } }];
  if (code >= Op.Uniform && code <= Op.Bernoulli)
    return [{ inputs: [], attributes: { shape: [5001], p: 0.25, q: 0.75 } }];
  const sample = table[code as keyof typeof table].samples?.[SAMPLES[code] ?? -1];
  if (!sample) return [];
  const random = seeded(code);
  return [
    { inputs: sample.inputs.map((input) => toTensor(draw(input, random), input)), attributes: sample.attributes },
  ];
}

/** Which of an op's samples has work for three threads. */
const SAMPLES: Partial<Record<Op, number>> = {
  [Op.Rnn]: 4,
  [Op.Lstm]: 4,
  [Op.Gru]: 4,
  [Op.RnnGrad]: 4,
  [Op.LstmGrad]: 4,
  [Op.GruGrad]: 4,
  [Op.Attention]: 1,
  [Op.AttentionGrad]: 1,
  [Op.Cholesky]: 3,
  [Op.Eigh]: 3,
  [Op.ArgSort]: 6,
};

for (const [key, op] of Object.entries(table) as [string, AnyOp][]) {
  const code = Number(key) as Op;
  if (!tidy(() => cases(code).length)) continue;
  test(`${op.name}: cut among ${THREADS} threads`, () => {
    tidy(() => {
      manualSeed(3);
      for (const { inputs, attributes } of cases(code)) {
        manualSeed(4);
        const whole = applyAll(op, inputs, attributes) as Tensor[];
        const bytes = whole.map((y) => y.size * bytesPerElement[y.dtype]);
        /** What an encoder writes into memory full of a mark. */
        const written = (encoder: SplitEncoder): Uint8Array[] => {
          manualSeed(4);
          const outputs = whole.map((y) => y.clone());
          for (const y of outputs)
            new Uint8Array(y.live().buffer, addressOf(y), y.size * bytesPerElement[y.dtype]).fill(0xab);
          const address = (value: unknown) => addressOf(outputs[whole.indexOf(value as Tensor)] ?? (value as Tensor));
          op.encode(encoder, { inputs, outputs: whole, attributes, address });
          return outputs.map((y, i) => new Uint8Array(y.data.buffer, 0, bytes[i]));
        };
        const expected = whole.map((y, i) => new Uint8Array(y.data.buffer, 0, bytes[i]));
        expect(written(together), "all shares together").toEqual(expected);
        // Each thread alone leaves some of the work to the others, and does some.
        for (const alone of [first, second]) {
          const part = written(alone)[0]!;
          expect(
            part.some((b) => b !== 0xab),
            "a thread does something",
          ).toBe(true);
          expect(part, "a thread does not do everything").not.toEqual(expected[0]);
        }
      }
    });
  });
}

test("optimizer updates: each element once, whichever thread", () => {
  for (const code of [Op.Sgd, Op.Adam, Op.RmsProp, Op.Adagrad, Op.Lion] as const) {
    tidy(() => {
      const op = table[code] as AnyOp;
      const make = () => {
        manualSeed(5);
        const state = [floats([5001]), floats([5001]), floats([5001])];
        return [floats([]), floats([5001]), floats([5001]), randint(2, 3, []), ...state];
      };
      const attributes = {
        flags: code === Op.Adam ? 4 : code === Op.RmsProp ? 16 : 0,
        constants: [0.9, 0.8, 0.01, 0.1],
        slots: [0, 1, 2],
      };
      const run = (encoder: SplitEncoder): number[][] => {
        const inputs = make();
        op.encode(encoder, { inputs, outputs: [], attributes, address: (value) => addressOf(value) });
        return inputs.map((x) => Array.from(x.data));
      };
      const [whole, cut] = [run(new SplitEncoder(1)), run(together)];
      expect(cut, op.name).toEqual(whole);
      expect(cut[1], `${op.name} changes the parameter`).not.toEqual(Array.from(make()[1]!.data));
    });
  }
});
