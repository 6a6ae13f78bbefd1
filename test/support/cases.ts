/** Op calls large enough to be shared among threads, for the tests of shares and threads. */
import { manualSeed, rand, randint, type Tensor } from "nabla";
import { Op } from "../../assembly/opcodes.ts";
import { table } from "../../src/ops/table.ts";
import { draw, seeded, toTensor } from "./oracle.ts";

export interface Case {
  readonly inputs: Tensor[];
  readonly attributes: unknown;
}

const floats = (shape: number[], low = 0.1, high = 1): Tensor =>
  rand(shape)
    .mul(high - low)
    .add(low);
const middle = (outer: number, n: number, inner: number, keep = false) => ({
  outer,
  n,
  inner,
  divisor: 1,
  reverse: false,
  shape: keep ? [outer, n, inner] : [outer, 1, inner],
});

/** Inputs large enough to be cut, for each family of codes. */
export function cases(code: Op): Case[] {
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
  if (code === Op.RandomInteger) return [{ inputs: [], attributes: { shape: [5001], p: -9, q: 2 ** 31 } }];
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

/** The codes of updates, and one call of each: a parameter, its gradient and the optimizer's state, all changed in place. */
export const UPDATES = [Op.Sgd, Op.Adam, Op.RmsProp, Op.Adagrad, Op.Lion] as const;
export function updateCase(code: (typeof UPDATES)[number]): Case {
  manualSeed(5);
  const state = [floats([5001]), floats([5001]), floats([5001])];
  return {
    inputs: [floats([]), floats([5001]), floats([5001]), randint(2, 3, []), ...state],
    attributes: {
      flags: code === Op.Adam ? 4 : code === Op.RmsProp ? 16 : 0,
      constants: [0.9, 0.8, 0.01, 0.1],
      slots: [0, 1, 2],
    },
  };
}
