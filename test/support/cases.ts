/** Calls to ops that are large enough to be shared among threads. */
import { manualSeed, rand, randint, type Tensor, tensor } from "nabla";
import { Family, Op, WeightFormat } from "../../assembly/opcodes.ts";
import { type AnyOp, familyOf } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";
import { samplesOf } from "../ops/oracles/index.ts";
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

/** Calls to one op that are large enough to be shared. */
export function cases(code: Op): Case[] {
  const op = table[code];
  const target = (rows: number): Tensor =>
    code === Op.CrossEntropy || code === Op.CrossEntropyGrad ? randint(0, 7, [rows]) : floats([rows, 7]);
  switch (familyOf(op)) {
    case Family.Unary:
      return [{ inputs: [floats([5001])], attributes: [0.25, 0.75] }];
    case Family.Derivative:
      return [{ inputs: [floats([5001]), floats([5001])], attributes: [0.25, 0.75] }];
    case Family.Binary:
    case Family.Compare:
      return [
        [[5001], [5001]],
        [[70, 33], [33]],
        [
          [70, 33],
          [70, 1],
        ],
      ].map(([a, b]) => ({ inputs: [floats(a!), floats(b!)], attributes: null }));
    case Family.Where:
      return [{ inputs: [floats([5001]).gt(0.5), floats([5001]), floats([5001])], attributes: null }];
    case Family.Reduce:
      if (code === Op.ArgMax || code === Op.ArgMin)
        return [{ inputs: [floats([70, 33])], attributes: { ...middle(70, 33, 1), shape: [70] } }];
      return [
        [70, 33, 1],
        [3, 33, 90],
      ].map(([o, n, i]) => ({ inputs: [floats([o!, n!, i!])], attributes: middle(o!, n!, i!, code === Op.Cumsum) }));
    case Family.Softmax:
      return [{ inputs: [floats([70, 7])], attributes: null }];
    case Family.SoftmaxGrad:
      return [{ inputs: [floats([70, 7]), floats([70, 7])], attributes: null }];
    case Family.CrossEntropy:
      return [{ inputs: [floats([70, 7]), target(70)], attributes: { ignoreIndex: -100 } }];
    case Family.CrossEntropyGrad:
      return [{ inputs: [floats([70]), floats([70, 7]), target(70), floats([70, 2])], attributes: { ignoreIndex: 2 } }];
    case Family.Fill:
      return [{ inputs: [], attributes: { shape: [5001], dtype: "float32", value: 3 } }];
    case Family.Cast:
      return [{ inputs: [floats([5001])], attributes: { dtype: "int32" } }];
    case Family.OneHot:
      return [{ inputs: [randint(0, 7, [70])], attributes: { classes: 7 } }];
    case Family.Distribution:
    case Family.Bernoulli:
      return [{ inputs: [], attributes: { shape: [5001], p: 0.25, q: 0.75 } }];
    case Family.QuantizeRows:
      return [1, 2].map((planes) => ({ inputs: [floats([70, 33], -1)], attributes: { planes } }));
    case Family.QuantizedMatmul:
      return [
        [70, 40],
        [70, 200],
        [5, 200],
      ].map(([m, n]) => quantizedProduct(m!, n!));
    case Family.Widen:
      return SMALL.map((kind) => ({ inputs: smallMatrix(kind, 70), attributes: { kind, shape: [70, 33] } }));
    case Family.WidenedMatmul:
      return SMALL.flatMap((kind) =>
        [1, 70].map((m) => ({
          inputs: [floats([m, 33]), ...smallMatrix(kind, 200), floats([200])],
          attributes: { kind, first: 0, count: 200, hasScale: kind < WeightFormat.Float16 },
        })),
      );
    case Family.RandomInteger:
      return [{ inputs: [], attributes: { shape: [5001], p: -9, q: 2 ** 31 } }];
  }
  const sample = samplesOf(op)[SAMPLES[code] ?? -1];
  if (!sample) return [];
  const random = seeded(code);
  return [
    { inputs: sample.inputs.map((input) => toTensor(draw(input, random), input)), attributes: sample.attributes },
  ];
}

const SMALL = [WeightFormat.Int8, WeightFormat.Int4, WeightFormat.Float16, WeightFormat.BFloat16];

/** Rows of 33 low-precision numbers, and their scales. Every byte is below 64, so that 16-bit numbers are finite. */
function smallMatrix(kind: WeightFormat, rows: number): Tensor[] {
  const bytes = kind === WeightFormat.Int8 ? 33 : kind === WeightFormat.Int4 ? 32 : 66;
  const w = randint(0, 64, [rows, bytes], { dtype: "uint8" });
  return kind >= WeightFormat.Float16 ? [w] : [w, floats(kind === WeightFormat.Int8 ? [rows] : [rows, 2])];
}

/** A product of quantized rows with 33 columns, padded with zeros to 64. */
function quantizedProduct(m: number, count: number): Case {
  const planes = m > 8 ? 1 : 2;
  const matrix = [randint(1, 256, [count, 33], { dtype: "uint8" }), floats([count]), randint(-999, 999, [count])];
  const numbers = randint(0, 128, [m, planes, 33], { dtype: "uint8" });
  const rows = [numbers.pad([0, 31]), floats([m, 2])];
  return { inputs: [...rows, ...matrix, floats([count])], attributes: { planes, first: 0, count, k: 33 } };
}

/** For some ops, the index of a sample that is large enough for three threads. */
const SAMPLES: Partial<Record<Op, number>> = {
  [Op.Rnn]: 4,
  [Op.Lstm]: 4,
  [Op.Gru]: 4,
  [Op.RnnGrad]: 4,
  [Op.LstmGrad]: 4,
  [Op.GruGrad]: 4,
  [Op.RecurrentWeights]: 7,
  [Op.Attention]: 1,
  [Op.AttentionGrad]: 1,
  [Op.Cholesky]: 3,
  [Op.Eigh]: 3,
  [Op.ArgSort]: 6,
};

/** The codes of the optimizers' update ops. */
export const UPDATES = Object.values(table).flatMap((op: AnyOp) => (op.update ? [op.code] : []));
/** The update ops that support sparse gradients. */
const SPARSE = [Op.Sgd, Op.Adam, Op.Adagrad];

/** Calls to an update op, which changes a parameter and the optimizer's state in place. */
export const updateCases = (code: Op): (() => Case)[] => [
  () => denseUpdate(code),
  ...(SPARSE.includes(code) ? [sparseUpdate] : []),
];

function denseUpdate(code: Op): Case {
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

/** The gradient is 150 rows of a table with 400. The last of them belong to row −1, so they are ignored. */
function sparseUpdate(): Case {
  manualSeed(6);
  const rows = tensor(Int32Array.from({ length: 150 }, (_, i) => (i < 140 ? (i * 59) % 400 : -1)));
  const state = [floats([400, 33]), floats([400, 33])];
  return {
    inputs: [floats([]), floats([400, 33]), floats([150, 33]), randint(2, 3, []), ...state, rows],
    attributes: { flags: 0, constants: [0.9, 0.8, 0.01], slots: [0, 1], sparse: true },
  };
}
