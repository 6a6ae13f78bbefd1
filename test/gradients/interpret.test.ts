/** Saliency, gradient × input, integrated gradients and SmoothGrad against closed forms. */
import { compile, manualSeed, memory, nn, ones, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import {
  gradientTimesInput,
  integratedGradients,
  saliency,
  smoothGrad,
} from "../../src/gradients/interpretation/interpret.ts";
import { gradCam, occlusion } from "../../src/gradients/interpretation/maps.ts";
import { expectClose } from "../support/oracle.ts";
import { column, convolutional, linear, network, X } from "./interpretation.ts";

describe("for a linear model", () => {
  const x = tensor(X);
  test("saliency is |w| of the target class: a number, one per sample, or the class with the highest score", () => {
    expect(saliency(linear, x, { target: 1 }).toArray()).toEqual([column(1), column(1)].map((c) => c.map(Math.abs)));
    const targets = tensor([2, 0], { dtype: "int32" });
    expect(saliency(linear, x, { target: targets }).toArray()).toEqual(
      [column(2), column(0)].map((c) => c.map(Math.abs)),
    );
    const highest = linear(x).argMax(-1).data;
    expect(saliency(linear, x).toArray()).toEqual(Array.from(highest, (c) => column(c).map(Math.abs)));
  });

  test("gradient × input is w·x, and integrated gradients are w·(x − x₀) for any rule and number of steps", () => {
    const parts = X.map((row) => row.map((v, i) => v * column(1)[i]!));
    expectClose(gradientTimesInput(linear, x, { target: 1 }).data, parts.flat(), 1e-6);
    const from = [0.5, -0.5, 1, 0.25];
    for (const [baseline, start] of [
      [0, [0, 0, 0, 0]],
      [0.5, [0.5, 0.5, 0.5, 0.5]],
      [tensor(from), from],
      [tensor([from, from]), from],
    ] as const) {
      for (const rule of ["midpoint", "gaussLegendre"] as const) {
        for (const steps of [1, 7]) {
          const { attributions, completeness } = integratedGradients(linear, x, { target: 1, baseline, rule, steps });
          const expected = X.map((row) => row.map((v, i) => (v - start[i]!) * column(1)[i]!));
          expectClose(attributions.data, expected.flat(), 2e-6, `${rule} ${steps}`);
          for (const [i, { sum, difference, error }] of completeness.entries()) {
            expect(sum).toBeCloseTo(
              expected[i]!.reduce((a, b) => a + b),
              5,
            );
            expect(Math.abs(error)).toBeLessThan(1e-5);
            expect(error).toBe(sum - difference);
          }
        }
      }
    }
  });

  test("SmoothGrad equals the gradient, and occluding a feature with v gives (x − v)·w", () => {
    expectClose(smoothGrad(linear, x, { target: 2, samples: 9 }).data, [...column(2), ...column(2)], 1e-6);
    const drops = occlusion(linear, x, { target: 2, fill: 0.25 });
    expectClose(
      drops.data,
      X.flatMap((row) => row.map((v, i) => (v - 0.25) * column(2)[i]!)),
      1e-5,
    );
  });

  test("a function with one score per sample, [batch] or [batch, 1], has only class 0", () => {
    const one = (z: Tensor) => z.matmul(tensor(column(0)));
    expect(saliency(one, x).toArray()).toEqual([column(0), column(0)].map((c) => c.map(Math.abs)));
    expect(saliency((z) => one(z).reshape([-1, 1]), x, { target: 0 }).shape).toEqual([2, 4]);
    expect(() => saliency(one, x, { target: 1 })).toThrow("saliency: target must be a class in 0 … 0, got 1.");
  });
});

describe("integrated gradients", () => {
  test("are exact for polynomials: f = x₁²·x₂ gives ⅔·f and ⅓·f with 2 Gauss–Legendre nodes", () => {
    const f = (z: Tensor) =>
      z
        .narrow(1, 0, 1)
        .square()
        .mul(z.narrow(1, 1, 1));
    const { attributions } = integratedGradients(f, tensor([[3, 2]]), { steps: 2 });
    expectClose(attributions.data, [12, 6], 1e-6);
  });

  test("add up to the score difference within 2e-6 with 16 nodes; the midpoint rule's error falls 4× if the number of steps doubles", () => {
    const model = network();
    const x = randn([5, 6]).mul(2);
    const { completeness } = integratedGradients(model, x, { steps: 16, baseline: -1 });
    for (const { sum, difference, error } of completeness) {
      expect(Math.abs(error)).toBeLessThan(2e-6 * (1 + Math.abs(difference)));
      expect(Math.abs(sum)).toBeGreaterThan(0.01);
    }
    const worst = (steps: number): number =>
      Math.max(
        ...integratedGradients(model, x, { steps, rule: "midpoint" }).completeness.map((c) => Math.abs(c.error)),
      );
    const ratio = worst(10) / worst(20);
    expect(ratio).toBeGreaterThan(3.3);
    expect(ratio).toBeLessThan(4.7);
    model.dispose();
  });

  test("batchSize limits the size of batches and changes the result by at most 1e-6", () => {
    const model = network();
    const x = randn([5, 6]);
    const all = integratedGradients(model, x, { steps: 11, batchSize: 1000 });
    for (const batchSize of [1, 2, 5, 13]) {
      const some = integratedGradients(model, x, { steps: 11, batchSize });
      expectClose(some.attributions.data, all.attributions.data, 1e-6, `batchSize ${batchSize}`);
      some.completeness.forEach(({ error }, i) => expect(error).toBeCloseTo(all.completeness[i]!.error, 5));
    }
    let most = 0;
    const counting = (z: Tensor): Tensor => {
      most = Math.max(most, z.shape[0]!);
      return model.forward(z);
    };
    integratedGradients(counting, x, {
      steps: 11,
      batchSize: 3,
    });
    expect(most).toBe(3);
    model.dispose();
  });

  test("the class with the highest score at x is used along the whole path", () => {
    // Class 0 has the highest score at x, and class 1 has the highest score at the baseline.
    const f = (z: Tensor) => z.mul(tensor([[2, 0]])).add(tensor([[0, 1]]));
    expectClose(integratedGradients(f, tensor([[1, 5]])).attributions.data, [2, 0], 1e-6);
    expectClose(integratedGradients(f, tensor([[0.25, 5]])).attributions.data, [0, 0], 1e-6);
  });
});

describe("SmoothGrad", () => {
  test("equals the gradient for a quadratic ½xᵀAx, within 5 standard errors", () => {
    const A = tensor([
      [2, 1, 0],
      [1, 3, -1],
      [0, -1, 1],
    ]);
    const x = tensor([[1, -1, 2]]);
    const f = (z: Tensor) => z.matmul(A).mul(z).sum(1).mul(0.5);
    manualSeed(2);
    const samples = 4000;
    const got = smoothGrad(f, x, { noise: 0.2, samples });
    // The noise has standard deviation σ = 0.2·(2 − (−1)), and gradient component i has standard deviation σ·‖Aᵢ‖.
    const error = (row: number[]): number => (5 * 0.6 * Math.hypot(...row)) / Math.sqrt(samples);
    const rows = A.toArray() as number[][];
    [1, -4, 3].forEach((g, i) => expect(Math.abs(got.data[i]! - g)).toBeLessThan(error(rows[i]!)));
  });

  test("equals 3(x² + σ²) for x³, where σ is proportional to each sample's range", () => {
    manualSeed(3);
    const x = tensor([
      [1, -1],
      [4, 0],
    ]);
    const samples = 20000;
    const got = smoothGrad((z) => z.pow(3).sum(1), x, { noise: 0.25, samples }).data;
    const [a, b] = [0.5, 1]; // 0.25·range
    const smoothed = [3 * (1 + a * a), 3 * (1 + a * a), 3 * (16 + b * b), 3 * b * b];
    // Var 3(x + σε)² = 9(4x²σ² + 2σ⁴).
    const errors = [
      [1, a],
      [1, a],
      [4, b],
      [0, b],
    ].map(([v, s]) => (5 * Math.sqrt(9 * (4 * v! * v! * s! * s! + 2 * s! ** 4))) / Math.sqrt(samples));
    smoothed.forEach((g, i) => expect(Math.abs(got[i]! - g), `element ${i}`).toBeLessThan(errors[i]!));
  });

  test("depends on the seed, and equals the gradient if the noise or a sample's range is 0", () => {
    const model = network();
    const x = randn([3, 6]);
    const at = (seed: number) => {
      manualSeed(seed);
      return smoothGrad(model, x, { samples: 5, target: 1 }).data;
    };
    expect(at(1)).toEqual(at(1));
    expect(at(1)).not.toEqual(at(2));
    expectClose(smoothGrad(model, x, { noise: 0 }).abs().data, saliency(model, x).data, 1e-6);
    expectClose(smoothGrad(model, ones([2, 6])).abs().data, saliency(model, ones([2, 6])).data, 1e-6);
    model.dispose();
  });
});

describe("side effects", () => {
  const model = convolutional();
  const all = (x: Tensor): (() => unknown)[] => [
    () => saliency(model, x),
    () => gradientTimesInput(model, x, { target: 1 }),
    () => integratedGradients(model, x, { steps: 5, batchSize: 4 }),
    () => smoothGrad(model, x, { samples: 5, batchSize: 4 }),
    () => gradCam(model, model.layers[4]!, x, { resize: true }),
    () => occlusion(model, x, { window: 3 }),
  ];

  test("disposing the result frees all memory, and so does an error", () => {
    const x = randn([3, 6, 6, 2]);
    for (const f of all(x)) tidy(() => void f()); // the first calls cache constants
    const before = memory();
    for (const f of all(x)) {
      const result = f() as Tensor | { attributions: Tensor };
      expect(memory().tensors).toBe(before.tensors + 1);
      ("attributions" in result ? result.attributions : result).dispose();
      expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    }
    expect(() => gradCam(model, new nn.ReLU(), x)).toThrow();
    expect(() => integratedGradients(model, x, { target: 7 })).toThrow();
    expect(() => occlusion(model, x, { target: 7 })).toThrow();
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  test("existing gradients do not change, and results are not part of a graph", () => {
    const x = randn([2, 6, 6, 2]);
    x.requiresGrad = true;
    model.forward(x).sum().backward();
    const held = [x, ...model.parameters()].map((p) => p.grad!);
    const values = held.map((g) => g.data);
    for (const f of all(x)) {
      const result = f() as Tensor | { attributions: Tensor };
      expect(("attributions" in result ? result.attributions : result).requiresGrad).toBe(false);
    }
    expect([x, ...model.parameters()].every((p, i) => p.grad === held[i])).toBe(true);
    expect(held.map((g) => g.data)).toEqual(values);
    model.zeroGrad();
    for (const f of all(x)) f();
    expect(model.parameters().every((p) => p.grad === null)).toBe(true);
  });

  test("saliency, gradient × input, SmoothGrad and Grad-CAM are bit-identical inside compile", () => {
    const x = randn([2, 6, 6, 2]);
    const functions = [
      (z: Tensor) => saliency(model, z),
      (z: Tensor) => gradientTimesInput(model, z, { target: 1 }),
      (z: Tensor) => smoothGrad(model, z, { target: 1, samples: 3 }),
      (z: Tensor) => gradCam(model, model.layers[4]!, z),
    ];
    for (const f of functions) {
      const compiled = compile(f);
      manualSeed(1);
      const eager = f(x).data;
      manualSeed(1);
      expect(compiled(x).data).toEqual(eager);
      compiled.dispose();
    }
  });
});

describe("errors say how to fix the call", () => {
  const x = tensor(X);
  test.each<[string, () => unknown, string]>([
    [
      "the inputs' element type",
      () => saliency(linear, tensor(X, { dtype: "int32" })),
      'saliency: x must be float32 to have gradients, got int32. Use x.to("float32").',
    ],
    [
      "inputs without a batch",
      () => saliency(linear, tensor([1, 2, 3, 4])),
      "saliency: x must be [batch, …] and not empty, got [4]. Make a batch of one sample with x.unsqueeze(0).",
    ],
    [
      "the shape of the scores",
      () => gradientTimesInput((z) => z.sum(), x),
      "gradientTimesInput: the scores must be [2, classes] or [2], one row for each sample of [2, 4], got [].",
    ],
    [
      "the batch size of the scores",
      () => saliency((z) => z.narrow(0, 0, 1), x),
      "the scores must be [2, classes] or [2], one row for each sample of [2, 4], got [1, 4].",
    ],
    ["the range of target", () => saliency(linear, x, { target: 3 }), "target must be a class in 0 … 2, got 3."],
    [
      "the element type of target",
      () => saliency(linear, x, { target: tensor([0, 1]) }),
      'target must be int32, got float32. Use target.to("int32").',
    ],
    [
      "the length of target",
      () => saliency(linear, x, { target: tensor([0], { dtype: "int32" }) }),
      "target must be [2], one class for each sample, got [1].",
    ],
    [
      "the values of target",
      () => saliency(linear, x, { target: tensor([0, 3], { dtype: "int32" }) }),
      "gather: index",
    ],
    [
      "baseline",
      () => integratedGradients(linear, x, { baseline: tensor([1, 2]) }),
      "integratedGradients: baseline must be a number or broadcast to [2, 4], got [2].",
    ],
    [
      "steps",
      () => integratedGradients(linear, x, { steps: 0 }),
      "integratedGradients: steps must be a whole number ≥ 1, got 0.",
    ],
    [
      "batchSize",
      () => integratedGradients(linear, x, { batchSize: 0.5 }),
      "integratedGradients: batchSize must be a whole number ≥ 1, got 0.5.",
    ],
    [
      "rule",
      () => integratedGradients(linear, x, { rule: "simpson" as "midpoint" }),
      'rule must be one of midpoint, gaussLegendre, got "simpson".',
    ],
    ["noise", () => smoothGrad(linear, x, { noise: -1 }), "smoothGrad: noise must be a number ≥ 0, got -1."],
    ["samples", () => smoothGrad(linear, x, { samples: 0 }), "smoothGrad: samples must be a whole number ≥ 1, got 0."],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
