/** Attention beyond the oracle's samples and PyTorch's values: several blocks, positions, and errors. */
import { eye, full, manualSeed, nn, randn, scaledDotProductAttention, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { apply } from "../../src/ops/definition/op.ts";
import { attentionDefinitions } from "../../src/ops/sequence/attention.ts";
import { expectClose } from "../support/oracle.ts";

const { attention } = attentionDefinitions;

test.each([
  [130, 130, 16, 16, 0],
  [70, 600, 8, 20, null],
  [64, 1100, 5, 7, 0],
  [77, 61, 3, 9, -5],
  [67, 530, 12, 10, 460],
])(
  "%d queries, %d keys, widths %d and %d, causal %s: computing in blocks gives the same result and gradients as computing everything at once",
  (t, s, d, e, causal) => {
    tidy(() => {
      manualSeed(3);
      const inputs = [randn([2, 2, t, d]), randn([2, 2, s, d]), randn([2, 2, s, e])] as const;
      const dy = randn([2, 2, t, e]);
      const attributes = { layout: "bhtd" as const, scale: 0.4, causal, masked: false };
      const [blocks, whole] = [
        (...x: Tensor[]) => apply(attention, x, attributes) as Tensor,
        (...x: Tensor[]) => attention.composed!(x, attributes)[0] as Tensor,
      ].map((f) => {
        const x = inputs.map((value) => value.clone());
        for (const leaf of x) leaf.requiresGrad = true;
        const y = f(...x);
        y.mul(dy).sum().backward();
        return [y, ...x.map(({ grad }) => grad!)];
      }) as [Tensor[], Tensor[]];
      for (const [k, what] of ["result", "dq", "dk", "dv"].entries())
        expectClose(blocks[k]!.data, whole[k]!.data, k ? 1e-5 : 2e-6, what);
    });
  },
);

test("a NaN among scores of −∞ gives NaN", () => {
  tidy(() => {
    const k = tensor([[1], [Number.NaN], [1], [1], [1], [1]]);
    const mask = tensor([-Infinity, 0, -Infinity, -Infinity, -Infinity, -Infinity]);
    expect(scaledDotProductAttention(tensor([[1]]), k, randn([6, 1]), { mask }).item()).toBeNaN();
  });
});

test.each([-2e38, -3.4028234663852886e38])(
  "a query whose keys are all masked with %d instead of −∞ attends to all of them equally",
  (least) => {
    tidy(() => {
      const [q, k, v] = [randn([1, 2]), randn([6, 2]), randn([6, 3])];
      const y = scaledDotProductAttention(q, k, v, { mask: full([6], least) });
      expectClose(y.data, v.mean(0).data, 1e-6, "result");
    });
  },
);

test("weights are exact to float32 if scores are large", () => {
  tidy(() => {
    // The scores are multiples of ½, so the products and their differences are exact.
    const scores = Array.from({ length: 11 }, (_, j) => 100_000 - j / 2);
    const y = scaledDotProductAttention(tensor([[1]]), tensor(scores, [11, 1]), eye(11), { scale: 1 });
    const powers = scores.map((s) => Math.exp(s - 100_000));
    const total = powers.reduce((a, b) => a + b, 0);
    expectClose(
      y.data,
      powers.map((p) => p / total),
      1e-6,
      "weights",
    );
  });
});

test("fully masked queries have output 0 and gradient 0", () => {
  tidy(() => {
    const [q, k, v] = [randn([2, 3]), randn([2, 3]), randn([2, 4])];
    for (const x of [q, k, v]) x.requiresGrad = true;
    const mask = tensor([
      [true, true],
      [false, false],
    ]);
    for (const dropout of [0, 0.5]) {
      const y = scaledDotProductAttention(q, k, v, { mask, dropout });
      expect(y.slice(1).toArray()).toEqual([0, 0, 0, 0]);
      for (const x of [q, k, v]) x.clearGrad();
      y.sum().backward();
      expect(q.grad!.slice(1).toArray()).toEqual([0, 0, 0]);
      expect([...k.grad!.data, ...v.grad!.data].every(Number.isFinite)).toBe(true);
    }
  });
});

test("a learned mask gets a gradient", () => {
  tidy(() => {
    const [q, k, v, mask] = [randn([3, 2]), randn([3, 2]), randn([3, 2]), randn([3])];
    mask.requiresGrad = true;
    const loss = (m: Tensor) => scaledDotProductAttention(q, k, v, { mask: m }).square().sum();
    loss(mask).backward();
    const [h, values] = [1e-2, mask.data as Float32Array];
    const numeric = Array.from(values, (_, i) => {
      const moved = (by: number) => loss(tensor(values.map((m, j) => (i === j ? m + by : m)))).item();
      return (moved(h) - moved(-h)) / (2 * h);
    });
    expectClose(mask.grad!.data, numeric, 1e-3, "gradient of the mask");
  });
});

describe("positional encodings", () => {
  test.each([true, false])(
    "rotary, interleaved %s: each pair is rotated by its angle, whichever dim holds the steps",
    (interleaved) => {
      tidy(() => {
        // The number of heads equals the number of pairs, so only the values can show a mix-up of the two.
        const x = randn([2, 5, 3, 6]);
        const y = new nn.RotaryEmbedding(6, { base: 100, interleaved }).forward(x, { offset: 7, dim: 1 });
        const expected = Float64Array.from(x.data);
        for (let r = 0; r < 30; r++)
          for (let i = 0; i < 3; i++) {
            const angle = (7 + (Math.floor(r / 3) % 5)) * 100 ** (-i / 3);
            const [p, q] = interleaved ? [2 * i, 2 * i + 1] : [i, 3 + i];
            const [a, b] = [x.data[6 * r + p]!, x.data[6 * r + q]!];
            expected[6 * r + p] = a * Math.cos(angle) - b * Math.sin(angle);
            expected[6 * r + q] = a * Math.sin(angle) + b * Math.cos(angle);
          }
        expectClose(y.data, expected, 1e-6, "turned");
      });
    },
  );

  test("rotary: scores depend only on the distance between positions", () => {
    tidy(() => {
      const rotary = new nn.RotaryEmbedding(4);
      const [q, k] = [randn([1, 4]), randn([1, 4])];
      const score = (i: number, j: number) =>
        rotary
          .forward(q, { offset: i })
          .mul(rotary.forward(k, { offset: j }))
          .sum()
          .item();
      expect(score(9, 5)).toBeCloseTo(score(104, 100), 4);
    });
  });

  test("sinusoidal: agrees with the formula of Vaswani et al. at any offset", () => {
    tidy(() => {
      const y = new nn.SinusoidalEncoding(5).forward(tensor(new Float32Array(15), [3, 5]), { offset: 2 });
      const expected = [2, 3, 4].flatMap((t) =>
        [0, 1, 2, 3, 4].map((i) => (i % 2 ? Math.cos : Math.sin)(t / 10000 ** ((i - (i % 2)) / 5))),
      );
      expectClose(y.data, expected, 1e-6);
    });
  });
});

test("an encoder and a decoder have finite gradients, and eval() turns dropout off", () => {
  manualSeed(9);
  const options = { dimFeedforward: 16, dropout: 0.2 };
  const encoder = new nn.TransformerEncoder([new nn.TransformerEncoderLayer(8, 2, options)]);
  const decoder = new nn.TransformerDecoder([new nn.TransformerDecoderLayer(8, 2, options)]);
  tidy(() => {
    const [src, tgt] = [randn([5, 3, 8]), randn([4, 3, 8])];
    const y = decoder.forward(tgt, encoder.forward(src), { tgtIsCausal: true });
    expect(y.shape).toEqual([4, 3, 8]);
    y.square().sum().backward();
    for (const [name, p] of [...encoder.namedParameters(), ...decoder.namedParameters()])
      expect(p.grad?.data.every(Number.isFinite), name).toBe(true);
    // Without dropout, two calls return the same result.
    encoder.eval();
    decoder.eval();
    const twice = [0, 1].map(() => decoder.forward(tgt, encoder.forward(src)).data);
    expect(twice[0]).toEqual(twice[1]);
  });
});

describe("invalid arguments are rejected", () => {
  const x = () => randn([2, 4, 6]);
  const attend = () => new nn.MultiheadAttention(6, 2, { batchFirst: true });
  test.each<[string, () => unknown, RegExp]>([
    ["heads", () => new nn.MultiheadAttention(6, 4), /embedDim must be a multiple of numHeads \(4\), got 6\./],
    ["dropout", () => new nn.MultiheadAttention(6, 2, { dropout: 2 }), /dropout must be in 0 … 1, got 2/],
    [
      "an input with another width",
      () => attend().forward(randn([2, 4, 5])),
      /the query must be \[batch, steps, 6\], or without the batch, got \[2, 4, 5\]/,
    ],
    [
      "a padding mask with a different shape",
      () => attend().forward(x(), x(), x(), { keyPaddingMask: tensor([[true]]) }),
      /keyPaddingMask must be \[2, 4\] \(\[batch, keys\]\), got \[1, 1\]/,
    ],
    [
      "a mask of another shape",
      () => attend().forward(x(), x(), x(), { attnMask: randn([3, 4]) }),
      /attnMask must be \[4, 4\] or \[4, 4, 4\], got \[3, 4\]/,
    ],
    ["rotary", () => new nn.RotaryEmbedding(5), /RotaryEmbedding: dim must be an even number above 0, got 5/],
    [
      "a rotary embedding of another width",
      () => new nn.MultiheadAttention(6, 2, { rotary: new nn.RotaryEmbedding(4) }),
      /rotary.dim must be the head size 3, got 4/,
    ],
    [
      "keys of another width",
      () => scaledDotProductAttention(randn([3, 4]), randn([3, 5]), randn([3, 4])),
      /attention: query .* the key must be \[1, 1, 3, 4\]/,
    ],
    [
      "a mask that does not broadcast",
      () => scaledDotProductAttention(randn([3, 4]), randn([5, 4]), randn([5, 4]), { mask: randn([4]) }),
      /scaledDotProductAttention: .*do not broadcast|the mask is \[4\], which does not broadcast to \[3, 5\]/,
    ],
    [
      "a mask of integers",
      () =>
        scaledDotProductAttention(randn([3, 4]), randn([5, 4]), randn([5, 4]), {
          mask: tensor([1, 0, 1, 1, 1], { dtype: "int32" }),
        }),
      /the mask must be bool or float32, got int32\. Convert it with \.to\("bool"\)/,
    ],
    [
      "a width of 0",
      () => scaledDotProductAttention(randn([2, 0]), randn([2, 0]), randn([2, 4])),
      /need a width above 0/,
    ],
    [
      "a layer instead of an array of layers",
      () => new nn.TransformerEncoder(new nn.TransformerEncoderLayer(4, 2) as never),
      /TransformerEncoder: pass a list of layers/,
    ],
    [
      "inputs of different ranks",
      () => scaledDotProductAttention(randn([3]), randn([3]), randn([3])),
      /must have the same number of dimensions, two or more/,
    ],
    [
      "an unknown activation",
      () => new nn.TransformerEncoderLayer(6, 2, { activation: "tanh" as "relu" }),
      /activation must be "relu", "gelu" or a function, got "tanh"/,
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
