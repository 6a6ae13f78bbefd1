/** Layers, optimizers, gradient clipping and initial values against PyTorch. */
import { losses, manualSeed, nn, optim, type Tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { expectTorch, type LayerCase, load, type OptimizerCase, values } from "../support/torch.ts";

const { problem } = values;

function build({ layers, state }: LayerCase): nn.Sequential {
  const classes = nn as unknown as Record<string, new (...args: unknown[]) => nn.Module>;
  const model = new nn.Sequential(...layers.map(([name, ...args]) => new classes[name]!(...args)));
  model.loadStateDict(Object.fromEntries(Object.entries(state).map(([name, stored]) => [name, load(stored)])));
  return model;
}

describe(`layers agree with PyTorch ${values.torch}: values, and gradients of input and parameters`, () => {
  for (const c of values.layers) {
    test(c.name, () => {
      const model = build(c);
      const x = load(c.x);
      x.requiresGrad = true;
      const out = model.forward(x);
      expectTorch(out, c.out, "value");
      out.backward({ gradient: load(c.dy) });
      expectTorch(x.grad!, c.dx, "gradient of the input");
      const named = [...model.namedParameters()];
      expect(named.map(([name]) => name)).toEqual(Object.keys(c.grads));
      for (const [name, p] of named) expectTorch(p.grad!, c.grads[name]!, `gradient of ${name}`);
    });
  }
});

const STEPS = [1, 2, 5, 10, 20];

/** Takes 20 steps on tanh(x·W1ᵀ + b1)·W2ᵀ, and calls `inspect` with the parameters after each of the steps in STEPS. */
function run(
  { optimizer: kind, options, lrs, late }: OptimizerCase,
  inspect: (step: number, params: Tensor[]) => void,
): void {
  const params = problem.start.map(load);
  for (const p of params) p.requiresGrad = true;
  const [w1, b1, w2] = params as [Tensor, Tensor, Tensor];
  const [x, y] = [load(problem.x), load(problem.y)];
  const groups = lrs ? params.map((p, i) => ({ params: [p], ...(lrs[i] === null ? {} : { lr: lrs[i]! }) })) : params;
  const optimizer = new (optim[kind] as unknown as new (params: unknown, options: object) => optim.Adam)(
    groups,
    options,
  );
  for (let step = 1; step <= STEPS.at(-1)!; step++) {
    optimizer.zeroGrad();
    tidy(() => losses.mse(x.matmul(w1.t()).add(b1).tanh().matmul(w2.t()), y).backward());
    if (late !== undefined && step <= 3) params[late]!.grad = null;
    optimizer.step();
    if (STEPS.includes(step)) inspect(step, params);
  }
}

describe(`optimizers take the same steps as PyTorch ${values.torch}: parameters after ${STEPS} steps`, () => {
  for (const c of values.optimizers) {
    test(c.name, () => {
      let seen = 0;
      run(c, (step, params) => {
        for (const [i, p] of params.entries()) expectTorch(p, c.at[seen]![i]!, `parameter ${i} after step ${step}`);
        seen++;
      });
      expect(seen).toBe(STEPS.length);
    });
  }
});

describe(`gradients are clipped as in PyTorch ${values.torch}`, () => {
  for (const { name, max, normType, before, total, after } of values.clips) {
    test(name, () => {
      const params = before.map((stored) => {
        const g = load(stored);
        const p = zeros(g.shape, { requiresGrad: true });
        p.grad = g;
        return p;
      });
      if (normType === undefined) optim.clipGradValue(params, max);
      else
        expectTorch(
          optim.clipGradNorm(params, max, { normType: Number(normType) }),
          { shape: [], data: [total!] },
          "norm",
        );
      for (const [i, p] of params.entries()) expectTorch(p.grad!, after[i]!, `gradient ${i}`);
    });
  }
});

/** Mean, standard deviation and extremes, in float64. */
function moments(x: Tensor): { mean: number; std: number; low: number; high: number } {
  const data = Array.from(x.data);
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  const std = Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / (data.length - 1));
  return { mean, std, low: data.reduce((a, b) => Math.min(a, b)), high: data.reduce((a, b) => Math.max(a, b)) };
}

/**
 * The tolerance, in standard errors, for statistics of n ≥ 120,000 draws. The standard error of the mean is σ/√n. That of the standard
 * deviation is σ/√(2n) for a normal distribution, and less for a bounded one.
 */
const SIGMAS = 5;

/** Asserts the mean and deviation of the draws, and that they span [low, high] to within a thousandth of its width. */
function expectDistribution(x: Tensor, mean: number, std: number, low = -Infinity, high = Infinity): void {
  const got = moments(x);
  expect(Math.abs(got.mean - mean)).toBeLessThan((SIGMAS * std) / Math.sqrt(x.size));
  expect(Math.abs(got.std - std)).toBeLessThan((SIGMAS * std) / Math.sqrt(2 * x.size));
  if (low === -Infinity) return;
  const edge = (high - low) / 1000;
  for (const [at, bound] of [
    [got.low, low],
    [got.high, high],
  ] as const)
    expect(Math.abs(at - bound)).toBeLessThan(edge);
  expect(got.low).toBeGreaterThanOrEqual(Math.fround(low));
  expect(got.high).toBeLessThanOrEqual(Math.fround(high));
}

describe("initial values have the distributions of PyTorch's formulas", () => {
  for (const { name, args, gain } of values.gains) {
    test(`the gain of ${name} equals PyTorch's`, () => expect(nn.init.calculateGain(...args)).toBeCloseTo(gain, 7));
  }
  for (const { name, shape, options, bound, std, mean = 0, low, high } of values.inits) {
    test(`${name} of [${shape}] ${JSON.stringify(options)}: mean, deviation and bounds are correct`, () => {
      manualSeed(11);
      const x = nn.init[name](zeros(shape), options);
      if (bound !== undefined) expectDistribution(x, 0, bound / Math.sqrt(3), -bound, bound);
      else expectDistribution(x, mean, std!, low, high);
    });
  }
  for (const { layer, args, shape, fanIn, fanOut } of values.fans) {
    const make = () =>
      new (nn as unknown as Record<string, new (...args: unknown[]) => nn.Linear>)[layer]!(...args).weight;
    test(`${layer}(${JSON.stringify(args).slice(1, -1)}): the fans of its weight [${shape}] are ${fanIn} and ${fanOut}, as in PyTorch`, () => {
      expect([...make().shape]).toEqual(shape);
      expect(nn.init.fans(make())).toEqual({ fanIn, fanOut });
    });
    test(`${layer}(${JSON.stringify(args).slice(1, -1)}): Kaiming and Xavier initialization use these fans`, () => {
      const largest = (x: Tensor): number => x.abs().max().item();
      const [kaiming, xavier] = [fanOut, (fanIn + fanOut) / 2].map((fan) => Math.sqrt(3 / fan)) as [number, number];
      manualSeed(14);
      for (const [x, bound] of [
        [nn.init.kaimingUniform(make(), { mode: "fanOut", nonlinearity: "linear" }), kaiming],
        [nn.init.kaimingUniform(make(), { nonlinearity: "linear" }), Math.sqrt(3 / fanIn)],
        [nn.init.xavierUniform(make()), xavier],
      ] as const) {
        expect(largest(x)).toBeLessThanOrEqual(Math.fround(bound));
        expect(largest(x)).toBeGreaterThan(0.8 * bound);
      }
    });
  }
  for (const { shape, gain } of values.orthogonals) {
    test(`orthogonal of [${shape}], gain ${gain}: W·Wᵀ (or Wᵀ·W if that is smaller) is gain²·I`, () => {
      manualSeed(12);
      const w = nn.init.orthogonal(zeros(shape), { gain }).flatten(1);
      const product = w.shape[0]! <= w.shape[1]! ? w.matmul(w.t()) : w.t().matmul(w);
      const n = product.shape[0]!;
      expectTorch(
        product,
        { shape: [n, n], data: Array.from({ length: n * n }, (_, i) => (i % (n + 1) ? 0 : gain ** 2)) },
        "product",
      );
    });
  }
  for (const { args, bound } of values.linears) {
    test(`Linear(${args}): weight and bias are initialized uniformly in ±1/√inFeatures`, () => {
      manualSeed(13);
      const { weight, bias } = new nn.Linear(...args);
      expectDistribution(weight, 0, bound / Math.sqrt(3), -bound, bound);
      const { low, high, std } = moments(bias!);
      expect(std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
      for (const at of [-low, high]) {
        expect(at).toBeLessThanOrEqual(Math.fround(bound));
        expect(at).toBeGreaterThan(0.97 * bound);
      }
    });
  }
});
