/**
 * Recurrent layers beyond the oracles' samples: inner sums that span several blocks, elements after a sequence's end, and errors.
 */
import { gru, lstm, manualSeed, nn, randn, rnn, type Tensor, tensor, tidy, zeros } from "nabla";
import { expect, test } from "vitest";
import { applyAll } from "../../src/ops/definition/op.ts";
import { recurrences } from "../../src/ops/sequence/recurrent.ts";
import { expectClose } from "../support/oracle.ts";

const GATES = { rnn: 1, lstm: 4, gru: 3 } as const;

test.each([
  ["rnn", 2, 7],
  ["lstm", 2, 7],
  ["gru", 2, 7],
  ["rnn", 3, 1],
  ["lstm", 3, 1],
  ["gru", 3, 1],
  ["lstm", 1, 2],
  ["gru", 1, 2],
  ["rnn", 5, 3],
  ["lstm", 5, 3],
  ["gru", 5, 3],
  ["rnn", 5, 7],
  ["lstm", 5, 7],
  ["gru", 5, 7],
] as const)(
  "%s: the kernel agrees with the composed ops for %i steps, %i sequences and 600 hidden units, which is more than one block",
  (kind, steps, batch) => {
    tidy(() => {
      manualSeed(3);
      const { forward } = recurrences[kind];
      const attributes = {
        batchFirst: true,
        reverse: false,
        initial: true,
        inputBias: false,
        bias: false,
        masked: false,
        rectify: false,
      };
      const n = GATES[kind] * 600;
      const states = Array.from({ length: kind === "lstm" ? 2 : 1 }, () => randn([batch, 600]));
      const weights = [randn([n, 4]), randn([n, 600]).mul(0.04)];
      const given = [randn([batch, steps, 4]), ...weights, ...states];
      const run = (f: (inputs: Tensor[]) => Tensor): Tensor[] => {
        const leaves = given.map((input) => input.clone());
        for (const leaf of leaves) leaf.requiresGrad = true;
        const y = f(leaves);
        y.square().sum().backward();
        return [y, ...leaves.map((leaf) => leaf.grad!)];
      };
      const kernel = run((inputs) => applyAll(forward, inputs, attributes)[0] as Tensor);
      const ops = run((inputs) => forward.composed!(inputs, attributes)[0] as Tensor);
      kernel.forEach((got, i) => {
        const largest = ops[i]!.abs().max().item();
        expectClose(got.div(largest).data, ops[i]!.div(largest).data, 2e-5, `array ${i}`);
      });
    });
  },
);

test("tanh in cells: error at most 3 ulp for |x| < 10, and ±1 beyond", () => {
  tidy(() => {
    const n = 40_000;
    const x = Float32Array.from({ length: n }, (_, i) => (i % 2 ? 12 * Math.sin(i) : Math.exp(i / 800 - 48)));
    const weights = { weightIh: tensor([[1]]), weightHh: tensor([[0]]) };
    const [y] = rnn(tensor(x, [1, n, 1]), null, weights) as [Tensor];
    y.data.forEach((got, i) => {
      const expected = Math.tanh(x[i]!);
      const ulp = 2 ** (Math.floor(Math.log2(Math.abs(expected))) - 23);
      if (!(Math.abs(got - expected) <= 3 * ulp)) throw new Error(`tanh ${x[i]} must be ${expected}, got ${got}`);
    });
  });
});

test("elements after a sequence's end, even NaN, affect neither results nor gradients", () => {
  tidy(() => {
    const layer = new nn.LSTM(2, 3, { bidirectional: true });
    const x = tensor([[[1, 2]], [[Number.NaN, Number.NaN]]]);
    const [y, [hn]] = layer.forward(x, undefined, { lengths: [1] });
    y.sum().add(hn.sum()).backward();
    for (const values of [y, ...layer.parameters().map((p) => p.grad!)])
      expect(values.data.every(Number.isFinite)).toBe(true);
  });
});

test.each<[string, () => unknown, RegExp]>([
  [
    "weights of inconsistent sizes",
    () => lstm(zeros([8, 8, 3]), null, null, { weightIh: zeros([16, 3]), weightHh: zeros([64, 16]) }),
    /lstm: the input's weight must be \[64, 3\], got \[16, 3\]/,
  ],
  [
    "only one of two states",
    () => lstm(zeros([1, 1, 3]), zeros([1, 4]), null, { weightIh: zeros([16, 3]), weightHh: zeros([16, 4]) }),
    /lstm: one of h0 and c0 is missing/,
  ],
  [
    "the weight of another kind of cell",
    () => gru(zeros([1, 1, 3]), null, { weightIh: zeros([3, 3]), weightHh: zeros([12, 4]) }),
    /gru: the input's weight must be \[12, 3\], got \[3, 3\]/,
  ],
  [
    "fractional lengths",
    () => new nn.GRU(3, 4).forward(zeros([2, 2, 3]), undefined, { lengths: [1.7, 2] }),
    /GRU: lengths must be whole numbers, got \[1\.7, 2\]/,
  ],
  [
    "a cell with an unknown nonlinearity",
    () => new nn.RNNCell(3, 4, { nonlinearity: "elu" as "relu" }),
    /RNNCell: nonlinearity must be one of tanh, relu, got "elu"/,
  ],
  [
    "an input of a cell without a batch dim",
    () => new nn.LSTMCell(3, 4).forward(zeros([3])),
    /LSTMCell: x must be \[batch, 3\], got \[3\]/,
  ],
])("%s is rejected", (_, f, message) => expect(f).toThrow(message));
