/** Explanations by gradients against closed forms, by-hand formulas and loops. */
import { compile, manualSeed, memory, nn, ones, rand, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import {
  gradientTimesInput,
  integratedGradients,
  saliency,
  smoothGrad,
} from "../../src/gradients/interpretation/interpret.ts";
import { gradCam, occlusion } from "../../src/gradients/interpretation/maps.ts";
import { rules } from "../../src/gradients/math/quadrature.ts";
import { expectClose } from "../support/oracle.ts";

/** A linear model with known weights: scores x·W + b, [batch, 3] of [batch, 4]. */
const W = [
  [1, -2, 0.5],
  [-0.25, 3, 1],
  [2, 0, -1],
  [0.75, -1, 4],
];
const linear = (x: Tensor) => x.matmul(tensor(W)).add(tensor([0.5, -1, 0.25]));
const X = [
  [1, 2, -1, 0.5],
  [0.5, -1, 2, 1],
];
const column = (c: number): number[] => W.map((row) => row[c]!);

function network(): nn.Sequential {
  manualSeed(4);
  return new nn.Sequential(
    new nn.Linear(6, 12),
    new nn.Tanh(),
    new nn.Linear(12, 8),
    new nn.Softplus(),
    new nn.Linear(8, 3),
  );
}
function convolutional(): nn.Sequential {
  manualSeed(5);
  return new nn.Sequential(
    new nn.Conv2d(2, 4, 3, { padding: "same" }),
    new nn.Tanh(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(4, 3, 3, { padding: "same" }),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(3 * 3 * 3, 3),
  );
}

describe("a linear model has closed forms", () => {
  const x = tensor(X);
  test("saliency is |w| of the class: of a number, of one for each sample, of the highest score", () => {
    expect(saliency(linear, x, { target: 1 }).toArray()).toEqual([column(1), column(1)].map((c) => c.map(Math.abs)));
    const targets = tensor([2, 0], { dtype: "int32" });
    expect(saliency(linear, x, { target: targets }).toArray()).toEqual(
      [column(2), column(0)].map((c) => c.map(Math.abs)),
    );
    const highest = linear(x).argMax(-1).data;
    expect(saliency(linear, x).toArray()).toEqual(Array.from(highest, (c) => column(c).map(Math.abs)));
  });

  test("gradient × input is w·x, and integrated gradients are w·(x − x₀), whatever the rule and steps", () => {
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

  test("SmoothGrad is the gradient itself; occlusion of one feature by v is (x − v)·w", () => {
    expectClose(smoothGrad(linear, x, { target: 2, samples: 9 }).data, [...column(2), ...column(2)], 1e-6);
    const drops = occlusion(linear, x, { target: 2, fill: 0.25 });
    expectClose(
      drops.data,
      X.flatMap((row) => row.map((v, i) => (v - 0.25) * column(2)[i]!)),
      1e-5,
    );
  });

  test("a function with one score a sample, [batch] or [batch, 1], has class 0 only", () => {
    const one = (z: Tensor) => z.matmul(tensor(column(0)));
    expect(saliency(one, x).toArray()).toEqual([column(0), column(0)].map((c) => c.map(Math.abs)));
    expect(saliency((z) => one(z).reshape([-1, 1]), x, { target: 0 }).shape).toEqual([2, 4]);
    expect(() => saliency(one, x, { target: 1 })).toThrow("saliency: target must be a class in 0 … 0, got 1.");
  });
});

describe("quadrature", () => {
  test("Gauss–Legendre of n nodes is exact to degree 2n − 1, weights add up to 1: to 1e-13 for n ≤ 100", () => {
    for (const n of [1, 2, 3, 5, 16, 50, 100]) {
      const { points, weights } = rules.gaussLegendre(n);
      for (const degree of [0, 1, n, 2 * n - 1]) {
        const integral = points.reduce((total, t, k) => total + weights[k]! * t ** degree, 0);
        expect(Math.abs(integral - 1 / (degree + 1)), `n ${n}, degree ${degree}`).toBeLessThan(1e-13);
      }
      expect([...points].sort((a, b) => a - b)).toEqual(points);
    }
  });
  test("the midpoint rule is off by 1/(12n²) on t²", () => {
    const { points, weights } = rules.midpoint(10);
    expect(points.reduce((total, t, k) => total + weights[k]! * t * t, 0) - 1 / 3).toBeCloseTo(-1 / 1200, 12);
  });
});

describe("integrated gradients", () => {
  test("a polynomial's shares are exact: f = x₁²·x₂ from 0 gives ⅔·f and ⅓·f with 2 Gauss–Legendre nodes", () => {
    const f = (z: Tensor) =>
      z
        .narrow(1, 0, 1)
        .square()
        .mul(z.narrow(1, 1, 1));
    const { attributions } = integratedGradients(f, tensor([[3, 2]]), { steps: 2 });
    expectClose(attributions.data, [12, 6], 1e-6);
  });

  test("a smooth network's are complete to float32 (2e-6 of the scores) with 16 nodes; the midpoint's error falls by 4 when steps double", () => {
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

  test("batchSize changes the memory that is needed, not the result: to 1e-6", () => {
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

  test("the class is the one that is highest at x, all along the path", () => {
    // Class 0 wins at x, class 1 at the baseline.
    const f = (z: Tensor) => z.mul(tensor([[2, 0]])).add(tensor([[0, 1]]));
    expectClose(integratedGradients(f, tensor([[1, 5]])).attributions.data, [2, 0], 1e-6);
    expectClose(integratedGradients(f, tensor([[0.25, 5]])).attributions.data, [0, 0], 1e-6);
  });
});

describe("SmoothGrad", () => {
  test("of a quadratic ½x'Ax it is the gradient at x with noise that averages out: within 5 standard errors", () => {
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
    // Noise's standard deviation is 0.2·(2 − (−1)); a row of A times it is the gradient's.
    const error = (row: number[]): number => (5 * 0.6 * Math.hypot(...row)) / Math.sqrt(samples);
    const rows = A.toArray() as number[][];
    [1, -4, 3].forEach((g, i) => expect(Math.abs(got.data[i]! - g)).toBeLessThan(error(rows[i]!)));
  });

  test("of x³ it is 3(x² + σ²), the gradient of the smoothed function, and σ is a part of each sample's own range", () => {
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

  test("the seed decides; without noise, or range, it is the gradient", () => {
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

describe("Grad-CAM", () => {
  test("is max(0, Σ α_c·A_c) with α the mean gradient, by hand from the layer's output on", () => {
    const model = convolutional();
    const x = randn([2, 6, 6, 2]);
    const targets = [2, 0];
    for (const at of [0, 1, 2, 3, 4]) {
      const layer = model.layers[at]!;
      const got = gradCam(model, layer, x, { target: tensor(targets, { dtype: "int32" }) });
      const A = model.layers.slice(0, at + 1).reduce((z, l) => l.forward(z) as Tensor, x) as Tensor;
      const [, h, w, channels] = A.shape as unknown as [number, number, number, number];
      expect(got.shape).toEqual([2, h, w]);
      const a = A.data;
      // ∂score/∂A by central differences.
      const step = 1 / 64;
      const rest = (z: Float32Array, sample: number): number =>
        (
          model.layers
            .slice(at + 1)
            .reduce((y, l) => l.forward(y) as Tensor, tensor(z, A.shape))
            .toArray() as number[][]
        )[sample]![targets[sample]!]!;
      const expected = tidy(() =>
        Array.from({ length: 2 }, (_, sample) => {
          const alpha = Array.from({ length: channels }, (_, c) => {
            // The mean over pixels of the gradient is 1/(hw) times the derivative along "all pixels of the channel".
            const from = sample * h * w * channels;
            let total = 0;
            for (let pixel = 0; pixel < h * w; pixel++) {
              const [up, down] = [1, -1].map((sign) => {
                const moved = Float32Array.from(a);
                moved[from + pixel * channels + c]! += sign * step;
                return rest(moved, sample);
              });
              total += (up! - down!) / (2 * step);
            }
            return total / (h * w);
          });
          return Array.from({ length: h * w }, (_, pixel) =>
            Math.max(
              0,
              alpha.reduce((sum, weight, c) => sum + weight * a[sample * h * w * channels + pixel * channels + c]!, 0),
            ),
          );
        }).flat(),
      );
      // Behind the pool and the ReLU the rest is linear; before, differences of its kinks are coarser.
      if (at >= 4) expectClose(got.data, expected, 1e-4, `layer ${at}`);
      else expect(Math.max(...expected.map((v, i) => Math.abs(v - got.data[i]!)))).toBeLessThan(0.02);
    }
    model.dispose();
  });

  test("a mean over pixels behind the layer makes it the class activation map, w_c·A_c/(hw) (Zhou et al. 2016)", () => {
    manualSeed(8);
    const conv = new nn.Conv2d(1, 3, 3, { padding: "same" });
    const head = new nn.Linear(3, 2);
    const model = new nn.Sequential(conv, new nn.ReLU(), new nn.GlobalAvgPool2d(), head);
    const x = rand([2, 5, 4, 1]);
    const map = conv
      .forward(x)
      .relu()
      .mul(head.weight.narrow(0, 1, 1).reshape([1, 1, 1, 3]))
      .sum(-1)
      .relu()
      .div(20);
    expectClose(gradCam(model, model.layers[1]!, x, { target: 1 }).data, map.data, 1e-6);
  });

  test("resize makes it as large as the inputs, bilinearly", () => {
    const model = convolutional();
    const x = randn([2, 6, 6, 2]);
    const small = gradCam(model, model.layers[4]!, x, { target: 1 });
    const large = gradCam(model, model.layers[4]!, x, { target: 1, resize: true });
    expect([small.shape, large.shape]).toEqual([
      [2, 3, 3],
      [2, 6, 6],
    ]);
    const expected = nn.interpolate(small.unsqueeze(-1), { size: [6, 6], mode: "bilinear" });
    expect(large.data).toEqual(expected.data);
    model.dispose();
  });

  test("the layer's forward is put back, its own or its class's, after errors too", () => {
    const model = convolutional();
    const layer = model.layers[0]!;
    const x = randn([1, 6, 6, 2]);
    gradCam(model, layer, x);
    expect(Object.hasOwn(layer, "forward")).toBe(false);
    const own = layer.forward.bind(layer);
    layer.forward = own;
    gradCam(model, layer, x);
    expect(layer.forward).toBe(own);
    expect(() => gradCam(model, layer, x, { target: 9 })).toThrow(/target must be a class in 0 … \d+, got 9/);
    expect(layer.forward).toBe(own);
    expect(() => gradCam(model, model.layers[6]!, x)).toThrow(
      ShapeErrorOf("Linear must be an image, [batch, h, w, channels], got a float32 tensor [1, 3]"),
    );
    expect(Object.hasOwn(model.layers[6]!, "forward")).toBe(false);
    model.dispose();
  });

  test("frozen parameters do not matter", () => {
    const model = convolutional();
    const x = randn([1, 6, 6, 2]);
    const before = gradCam(model, model.layers[1]!, x).data;
    for (const p of model.parameters()) p.requiresGrad = false;
    expect(gradCam(model, model.layers[1]!, x).data).toEqual(before);
    model.dispose();
  });
});

const ShapeErrorOf = (text: string): RegExp => new RegExp(text.replace(/[[\]]/g, "\\$&"));

describe("occlusion", () => {
  test("is what a loop over windows measures: mean fall of the score over the windows that cover a pixel", () => {
    const model = convolutional();
    const x = randn([3, 6, 6, 2]);
    const targets = [0, 2, 1];
    for (const [window, stride] of [
      [
        [1, 1],
        [1, 1],
      ],
      [
        [3, 2],
        [2, 1],
      ],
      [
        [4, 4],
        [4, 4],
      ],
      [
        [6, 6],
        [6, 6],
      ],
    ] as const) {
      const fill = tensor([0.5, -0.25]);
      const got = occlusion(model, x, {
        target: tensor(targets, { dtype: "int32" }),
        window,
        stride,
        fill,
        batchSize: 7,
      });
      expect(got.shape).toEqual([3, 6, 6]);
      const score = (values: Float32Array, i: number): number =>
        tidy(() => (model.forward(tensor(values, x.shape)).toArray() as number[][])[i]![targets[i]!]!);
      const starts = (w: number, s: number): number[] => {
        const list: number[] = [];
        for (let at = 0; at < 6 - w; at += s) list.push(at);
        return [...list, 6 - w];
      };
      const expected = targets.flatMap((_, i) => {
        const [sums, counts] = [new Float64Array(36), new Float64Array(36)];
        for (const top of starts(window[0], stride[0])) {
          for (const left of starts(window[1], stride[1])) {
            const covered = Float32Array.from(x.data);
            for (let r = top; r < top + window[0]; r++)
              for (let c = left; c < left + window[1]; c++)
                for (const [k, v] of [0.5, -0.25].entries()) covered[((i * 6 + r) * 6 + c) * 2 + k] = v;
            const fall = score(Float32Array.from(x.data), i) - score(covered, i);
            for (let r = top; r < top + window[0]; r++)
              for (let c = left; c < left + window[1]; c++) {
                sums[r * 6 + c]! += fall;
                counts[r * 6 + c]!++;
              }
          }
        }
        return Array.from(sums, (v, at) => v / counts[at]!);
      });
      expectClose(got.data, expected, 1e-5, `window ${window}`);
    }
    model.dispose();
  });

  test("sequences: [batch, length, channels] → [batch, length]", () => {
    const f = (z: Tensor) => z.sum([1, 2]);
    const drops = occlusion(f, ones([2, 5, 3]), { window: 2, stride: 2 });
    expect(drops.toArray()).toEqual(Array.from({ length: 2 }, () => [6, 6, 6, 6, 6]));
  });
});

describe("nothing is left behind", () => {
  const model = convolutional();
  const all = (x: Tensor): (() => unknown)[] => [
    () => saliency(model, x),
    () => gradientTimesInput(model, x, { target: 1 }),
    () => integratedGradients(model, x, { steps: 5, batchSize: 4 }),
    () => smoothGrad(model, x, { samples: 5, batchSize: 4 }),
    () => gradCam(model, model.layers[4]!, x, { resize: true }),
    () => occlusion(model, x, { window: 3 }),
  ];

  test("memory: tensors and bytes are as before once results are disposed, outside of scopes, and after errors", () => {
    const x = randn([3, 6, 6, 2]);
    for (const f of all(x)) tidy(() => void f()); // constants are cached
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

  test("gradients that parameters and inputs hold stay as they are; results carry no graph", () => {
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

  test("saliency, gradient × input, SmoothGrad and Grad-CAM work inside compile: the same bits", () => {
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

describe("errors name the remedy", () => {
  const x = tensor(X);
  const image = () => randn([1, 6, 6, 2]);
  const model = convolutional();
  test.each<[string, () => unknown, string]>([
    [
      "inputs' type",
      () => saliency(linear, tensor(X, { dtype: "int32" })),
      'saliency: x must be float32 to have gradients, got int32. Use x.to("float32").',
    ],
    [
      "no batch",
      () => saliency(linear, tensor([1, 2, 3, 4])),
      "saliency: x must be [batch, …] and not empty, got [4]. Make a batch of one sample with x.unsqueeze(0).",
    ],
    [
      "scores' shape",
      () => gradientTimesInput((z) => z.sum(), x),
      "gradientTimesInput: the scores must be [2, classes] or [2], one row for each sample of [2, 4], got [].",
    ],
    [
      "scores' batch",
      () => saliency((z) => z.narrow(0, 0, 1), x),
      "the scores must be [2, classes] or [2], one row for each sample of [2, 4], got [1, 4].",
    ],
    ["target's range", () => saliency(linear, x, { target: 3 }), "target must be a class in 0 … 2, got 3."],
    [
      "target's type",
      () => saliency(linear, x, { target: tensor([0, 1]) }),
      'target must be int32, got float32. Use target.to("int32").',
    ],
    [
      "target's count",
      () => saliency(linear, x, { target: tensor([0], { dtype: "int32" }) }),
      "target must be [2], one class for each sample, got [1].",
    ],
    ["target's values", () => saliency(linear, x, { target: tensor([0, 3], { dtype: "int32" }) }), "gather: index"],
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
    [
      "layer not reached",
      () => gradCam(model, new nn.ReLU(), image()),
      "gradCam: Sequential must run the layer ReLU once, got 0 runs. Pass a module whose forward() it calls, such as model.layers[0]",
    ],
    [
      "layer of no image",
      () => gradCam(model, model.layers[5]!, image()),
      "gradCam: the output of Flatten must be an image, [batch, h, w, channels], got a float32 tensor [1, 27].",
    ],
    [
      "resize of no images",
      () => gradCam(model, model.layers[0]!, x, { resize: true }),
      "gradCam: x must be images [batch, height, width, channels] for resize, got [2, 4]. Omit resize.",
    ],
    [
      "window",
      () => occlusion(model, image(), { window: [7, 1] }),
      "occlusion: window must be a whole number for each of the dimensions [6, 6], from 1 to its size, got [7, 1].",
    ],
    [
      "windows",
      () => occlusion(model, image(), { window: [1] }),
      "for each of the dimensions [6, 6], from 1 to its size, got [1].",
    ],
    [
      "gaps",
      () => occlusion(model, image(), { window: 2, stride: 3 }),
      "occlusion: stride must be at most 2, the window, to leave no gaps, got 3.",
    ],
    [
      "fill",
      () => occlusion(model, image(), { fill: tensor([1, 2, 3]) }),
      "occlusion: fill must be a number or broadcast to [6, 6, 2], got [3].",
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));

  test("a layer that the score does not pass", () => {
    class Aside extends nn.Module {
      aside = new nn.Conv2d(2, 2, 1);
      forward(z: Tensor): Tensor {
        this.aside.forward(z);
        return z.sum([1, 2]);
      }
    }
    const odd = new Aside();
    expect(() => gradCam(odd, odd.aside, image())).toThrow(
      "gradCam: the score does not depend on the output of Conv2d. Pass a layer between inputs and scores.",
    );
  });
});
