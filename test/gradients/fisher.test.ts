import { losses, manualSeed, memory, nn, randint, randn, type Tensor, tensor, tidy } from "nabla";
import {
  conjugateGradient,
  empiricalFisher,
  fisherDiagonal,
  fisherMatrix,
  fisherProduct,
  hessianExtremes,
  KFAC,
  kroneckerFactors,
  type Likelihood,
  NaturalGradient,
  naturalGradient,
  objective,
  perSampleGradients,
} from "nabla/gradients";
import { describe, expect, test } from "vitest";

const net = (sizes: readonly number[]) =>
  new nn.Sequential(
    ...sizes
      .slice(1)
      .flatMap((n, i) => [new nn.Linear(sizes[i]!, n), ...(i < sizes.length - 2 ? [new nn.Tanh()] : [])]),
  );
const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance: number) => {
  const scale = Math.max(...Array.from(b).map(Math.abs), 1e-30);
  expect(Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!))) / scale).toBeLessThan(tolerance);
};
/** F from its definition: E[s·sᵀ] over inputs and labels, where s is the score ∂log p/∂θ. */
function byDefinition(model: nn.Module, x: Tensor): Float64Array {
  const [n, classes] = [x.shape[0]!, 3];
  const at = objective(model, () => losses.crossEntropy(model.forward(x), tensor([0], { dtype: "int32" })));
  const f = new Float64Array(at.size ** 2);
  const p = (model.forward(x) as Tensor).softmax().toArray() as number[][];
  for (let i = 0; i < n; i++)
    for (let c = 0; c < classes; c++) {
      const one = objective(model, () =>
        losses.crossEntropy(model.forward(x.narrow(0, i, 1)), tensor([c], { dtype: "int32" })),
      );
      const g = one.gradient();
      g.forEach((a, j) => g.forEach((b, k) => void (f[j * at.size + k]! += (p[i]![c]! * a * b) / n)));
    }
  return f;
}

describe("the Fisher information matrix", () => {
  test("equals its definition for softmax outputs, as a matrix and as a product", () => {
    manualSeed(1);
    const model = net([2, 3, 3]);
    const x = randn([5, 2]);
    const f = fisherMatrix(model, () => model.forward(x), { likelihood: "softmax" });
    close(f, byDefinition(model, x), 1e-5);
    const v = Float64Array.from({ length: 21 }, (_, i) => Math.sin(i));
    const product = fisherProduct(model, () => model.forward(x), v, { likelihood: "softmax" });
    close(
      product,
      Float64Array.from({ length: 21 }, (_, i) => v.reduce((sum, w, k) => sum + f[i * 21 + k]! * w, 0)),
      1e-5,
    );
  });
  test("equals the Hessian of linear models: logistic, softmax and least squares", () => {
    manualSeed(2);
    const [x, layer] = [randn([9, 3]), new nn.Linear(3, 4)];
    const targets: Record<Likelihood, [Tensor, (y: Tensor, t: Tensor) => Tensor]> = {
      softmax: [randint(0, 4, [9]), losses.crossEntropy],
      bernoulli: [
        randint(0, 2, [9, 4]).to("float32"),
        (y, t) => losses.bceWithLogits(y, t, { reduction: "sum" }).div(9),
      ],
      gaussian: [randn([9, 4]), (y, t) => losses.mse(y, t, { reduction: "sum" }).div(18)],
    };
    for (const [likelihood, [target, loss]] of Object.entries(targets)) {
      const at = objective(layer, () => loss(layer.forward(x), target));
      const v = Float64Array.from({ length: at.size }, (_, i) => Math.cos(3 * i));
      close(
        fisherProduct(layer, () => layer.forward(x), v, { likelihood: likelihood as Likelihood }),
        at.hvp(v),
        1e-5,
      );
    }
  });
  test("the exact diagonal equals the matrix's diagonal, the sampled one equals it on average, and the empirical matrix is GᵀG/n", () => {
    manualSeed(3);
    const model = net([3, 4, 3]);
    const x = randn([6, 3]);
    for (const likelihood of ["softmax", "bernoulli", "gaussian"] as const) {
      const f = fisherMatrix(model, () => model.forward(x), { likelihood });
      const n = Math.sqrt(f.length);
      const exact = fisherDiagonal(model, (z) => model.forward(z), [x], { likelihood });
      const flat = Object.values(exact).flatMap((part) => [...part]);
      close(
        flat,
        Float64Array.from({ length: n }, (_, i) => f[i * n + i]!),
        1e-5,
      );
      const sums = new Float64Array(n);
      for (let k = 0; k < 300; k++)
        Object.values(fisherDiagonal(model, (z) => model.forward(z), [x], { likelihood, kind: "sampled" }))
          .flatMap((part) => [...part])
          .forEach((v, i) => void (sums[i]! += v / 300));
      const total = (a: ArrayLike<number>) => Array.from(a).reduce((s, v) => s + v, 0);
      expect(Math.abs(total(sums) / total(flat) - 1), likelihood).toBeLessThan(0.1);
    }
    const labels = randint(0, 3, [6]);
    const samples = perSampleGradients(model, (z, y) =>
      losses.crossEntropy(model.forward(z), y, { reduction: "none" }),
    )(x, labels);
    const e = empiricalFisher(samples);
    const first = Array.from({ length: 6 }, (_, i) => (samples["0.weight"]!.toArray() as number[][][])[i]![0]![0]!);
    expect(e[0]).toBeCloseTo(first.reduce((s, g) => s + g * g, 0) / 6, 6);
  });
  test("Kronecker factors of a linear layer: A is exact, and the mean of G is the outputs' covariance", () => {
    manualSeed(4);
    const layer = new nn.Linear(3, 2);
    const x = randn([1, 3]);
    const a = kroneckerFactors(layer, () => layer.forward(x), { likelihood: "gaussian" })[""]!.a;
    const bar = [...x.data, 1];
    close(
      a.data,
      bar.flatMap((p) => bar.map((q) => p * q)),
      1e-6,
    );
    const g = new Float64Array(4);
    for (let k = 0; k < 3000; k++)
      tidy(() => kroneckerFactors(layer, () => layer.forward(x), { likelihood: "gaussian" })[""]!.g.data).forEach(
        (v, i) => void (g[i]! += v / 3000),
      );
    // The covariance of Gaussian scores is the identity.
    [1, 0, 0, 1].forEach((v, i) => expect(Math.abs(g[i]! - v)).toBeLessThan(0.1));
  });
});

test("conjugate gradients solve a damped system with 5 distinct eigenvalues in at most 6 steps", () => {
  const d = Float64Array.from({ length: 30 }, (_, i) => 1 + (i % 5));
  const b = Float64Array.from({ length: 30 }, (_, i) => Math.sin(i));
  const { x, iterations, residual } = conjugateGradient((v) => v.map((y, i) => y * d[i]!), b, {
    damping: 0.5,
    tolerance: 1e-12,
  });
  expect(iterations).toBeLessThanOrEqual(6);
  expect(residual).toBeLessThan(1e-11);
  x.forEach((v, i) => expect(v).toBeCloseTo(b[i]! / (d[i]! + 0.5), 10));
});

describe("the natural gradient", () => {
  test("divides the first component by 100 for F = diag(100, 1)", () => {
    // y = (10·θ₁, θ₂) with unit variance: F = JᵀJ = diag(100, 1).
    const theta = tensor([0.3, 0.4], { requiresGrad: true });
    const scale = tensor([10, 1]);
    const outputs = () => theta.mul(scale).reshape([1, 2]);
    expect([...fisherMatrix([theta], outputs, { likelihood: "gaussian" })]).toEqual([100, 0, 0, 1]);
    const { direction, gradient } = naturalGradient([theta], outputs, tensor([[0, 0]]), { likelihood: "gaussian" });
    close(gradient, [100 * 0.3, 0.4], 1e-6);
    close(direction, [0.3, 0.4], 1e-6);
  });
  test("does not depend on the parametrization, unlike the plain gradient", () => {
    // θ = B·φ: the same logistic models in other coordinates.
    manualSeed(5);
    const [x, y] = [randn([12, 2]), randint(0, 2, [12, 1]).to("float32")];
    const b = tensor([
      [3, 1],
      [0.5, 0.2],
    ]);
    const theta = tensor([0.4, -0.3], { requiresGrad: true });
    const phi = tensor([0.4 * 2 + 0.3 * 10, -0.4 * 5 - 0.3 * 30], { requiresGrad: true }); // B⁻¹θ
    const byTheta = () => x.matmul(theta).reshape([12, 1]);
    const byPhi = () => x.matmul(b.matmul(phi)).reshape([12, 1]);
    close(byPhi().data, byTheta().data, 1e-4);
    const options = { likelihood: "bernoulli", tolerance: 1e-10 } as const;
    const inTheta = naturalGradient([theta], byTheta, y, options);
    const inPhi = naturalGradient([phi], byPhi, y, options);
    const moved = (v: ArrayLike<number>) => [3 * v[0]! + v[1]!, 0.5 * v[0]! + 0.2 * v[1]!];
    close(moved(inPhi.direction), inTheta.direction, 1e-3);
    const plain = moved(inPhi.gradient).map((v, i) => Math.abs(v / inTheta.gradient[i]! - 1));
    expect(Math.max(...plain)).toBeGreaterThan(0.5);
  });
});

describe("optimizers", () => {
  const problem = () => {
    manualSeed(6);
    const x = randn([90, 5]);
    const labels = (x.matmul(randn([5, 3])) as Tensor).argMax(-1);
    return { x, labels };
  };
  const trained = (make: (model: nn.Module) => { minimize(o: () => Tensor, t: Tensor): number }, steps: number) => {
    const { x, labels } = problem();
    const model = net([5, 8, 3]);
    const optimizer = make(model);
    return Array.from({ length: steps }, () => optimizer.minimize(() => model.forward(x), labels));
  };
  test("NaturalGradient and KFAC reach a loss below 0.02 in 40 steps, and NaturalGradient never increases it", () => {
    const natural = trained((model) => new NaturalGradient(model, { likelihood: "softmax" }), 40);
    expect(natural.at(-1)).toBeLessThan(0.02);
    natural.slice(1).forEach((loss, i) => expect(loss).toBeLessThanOrEqual(natural[i]! + 1e-6));
    expect(trained((model) => new KFAC(model, { likelihood: "softmax" }), 40).at(-1)).toBeLessThan(0.02);
  });
  test("NaturalGradient shortens a step that raises the loss, so a fixed damping that is too small does not stop it", () => {
    const path = trained((m) => new NaturalGradient(m, { likelihood: "softmax", damping: 1e-6, adapt: false }), 40);
    path.slice(1).forEach((loss, i) => expect(loss).toBeLessThan(path[i]!));
    expect(path.at(-1)).toBeLessThan(0.02);
  });
  test("KFAC trains padded convolutions, and solves a linear model with nearly one Newton step", () => {
    manualSeed(7);
    const images = randn([40, 6, 6, 1]);
    const labels = images.slice([], [0, 3], [], []).mean([1, 2, 3]).gt(0).to("int32");
    const model = new nn.Sequential(
      new nn.Conv2d(1, 4, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(144, 2),
    );
    const optimizer = new KFAC(model, { likelihood: "softmax", every: 2 });
    const path = Array.from({ length: 25 }, () => optimizer.minimize(() => model.forward(images), labels));
    expect(path.at(-1)).toBeLessThan(0.05 * path[0]!);
    // For least squares, A is exact and G, estimated from 50 samples, has a relative error of about 1/√50, so the first step is nearly Newton's.
    const [x, layer] = [randn([50, 4]), new nn.Linear(4, 2)];
    const y = x.matmul(randn([4, 2]));
    const newton = new KFAC(layer, { likelihood: "gaussian", damping: 1e-6, adapt: false });
    const before = newton.minimize(() => layer.forward(x), y);
    expect(newton.minimize(() => layer.forward(x), y)).toBeLessThan(0.05 * before);
  });
  test("steps leave no tensors behind", () => {
    const { x, labels } = problem();
    const model = net([5, 8, 3]);
    const [natural, kfac] = [
      new NaturalGradient(model, { likelihood: "softmax" }),
      new KFAC(model, { likelihood: "softmax" }),
    ];
    const step = () => {
      natural.minimize(() => model.forward(x), labels);
      kfac.minimize(() => model.forward(x), labels);
    };
    step();
    const before = memory().tensors;
    for (let i = 0; i < 12; i++) step();
    expect(memory().tensors).toBe(before);
    kfac.dispose();
    expect(memory().tensors).toBe(before - 8);
  });
  test("at a minimum, the damping stays bounded, and the optimizer can learn new targets", () => {
    for (const make of [
      (m: nn.Module) => new NaturalGradient(m, { likelihood: "gaussian" }),
      (m: nn.Module) => new KFAC(m, { likelihood: "gaussian" }),
    ]) {
      manualSeed(11);
      const layer = new nn.Linear(3, 1);
      const x = randn([30, 3]);
      const [first, second] = [x.matmul(randn([3, 1])), x.matmul(randn([3, 1])).add(3)];
      const optimizer = make(layer);
      for (let i = 0; i < 400; i++) optimizer.minimize(() => layer.forward(x), first);
      expect(optimizer.damping).toBeLessThan(1e3);
      for (let i = 0; i < 60; i++) optimizer.minimize(() => layer.forward(x), second);
      expect(optimizer.minimize(() => layer.forward(x), second)).toBeLessThan(1e-3);
    }
  });
  test("the damping falls on a quadratic even if lr is below 1", () => {
    manualSeed(12);
    const layer = new nn.Linear(3, 1);
    const x = randn([30, 3]);
    const y = x.matmul(randn([3, 1]));
    const optimizer = new NaturalGradient(layer, { likelihood: "gaussian", lr: 0.1 });
    for (let i = 0; i < 60; i++) optimizer.minimize(() => layer.forward(x), y);
    expect(optimizer.damping).toBeLessThan(0.1);
  });
  test("non-finite batches are rejected without changing anything, and frozen parameters never change", () => {
    const { x, labels } = problem();
    const model = net([5, 8, 3]);
    const bad = x.mul(Number.NaN);
    for (const optimizer of [
      new NaturalGradient(model, { likelihood: "softmax" }),
      new KFAC(model, { likelihood: "softmax" }),
    ]) {
      optimizer.minimize(() => model.forward(x), labels);
      const before = model.parameters().map((p) => p.toArray());
      expect(() => optimizer.minimize(() => model.forward(bad), labels)).toThrow(/NaN/);
      expect(model.parameters().map((p) => p.toArray())).toEqual(before);
      expect(optimizer.minimize(() => model.forward(x), labels)).toBeGreaterThan(0);
    }
    const frozen = model.parameters()[0]!;
    frozen.requiresGrad = false;
    const kept = frozen.toArray();
    new NaturalGradient(model, { likelihood: "softmax" }).minimize(() => model.forward(x), labels);
    expect(frozen.toArray()).toEqual(kept);
    expect(() => new KFAC(model, { likelihood: "softmax" })).toThrow(/0.weight is frozen.*NaturalGradient/);
  });
  test("the Kronecker block of a layer that is used twice has the trace of its Fisher block", () => {
    manualSeed(13);
    const layer = new nn.Linear(3, 2, { bias: false });
    const x = randn([400, 6]);
    const halves = [x.narrow(1, 0, 3), x.narrow(1, 3, 3)] as const;
    const outputs = () => layer.forward(halves[0]).add(layer.forward(halves[1])).mul(0.5);
    const f = fisherMatrix(layer, outputs, { likelihood: "gaussian" });
    const exact = Array.from({ length: 6 }, (_, i) => f[i * 7]!).reduce((s, v) => s + v);
    let total = 0;
    for (let k = 0; k < 50; k++) {
      const { a, g } = kroneckerFactors(layer, outputs, { likelihood: "gaussian" })[""]!;
      const trace = (m: Tensor, n: number) =>
        Array.from({ length: n }, (_, i) => m.data[i * (n + 1)]!).reduce((s, v) => s + v);
      total += (trace(a, 3) * trace(g, 2)) / 50;
    }
    // K-FAC assumes that the uses of a layer are independent. Here they are, because the halves of x are independent random numbers, so
    // only sampling errors remain.
    expect(Math.abs(total / exact - 1)).toBeLessThan(0.1);
  });
  test("errors say how to fix the call", () => {
    expect(
      () => new KFAC(new nn.Sequential(new nn.Linear(2, 2), new nn.LayerNorm(2)), { likelihood: "softmax" }),
    ).toThrow(/1.weight must belong to a Linear layer.*Use NaturalGradient/);
    expect(() => new NaturalGradient(new nn.Linear(2, 2), { likelihood: "poisson" as Likelihood })).toThrow(
      'likelihood must be one of softmax, bernoulli, gaussian, got "poisson".',
    );
    expect(() => new NaturalGradient(new nn.Linear(2, 2), { likelihood: "softmax", lr: 0 })).toThrow(
      /lr must be above 0 and below 2, got 0\./,
    );
    const layer = new nn.Linear(2, 2);
    expect(() =>
      fisherProduct(layer, () => layer.forward(randn([2])), new Float64Array(6), { likelihood: "softmax" }),
    ).toThrow(/must be \[batch, outputs\]/);
  });
  test("the Fisher matrix of a network has no negative curvature, but the Hessian does", () => {
    const { x, labels } = problem();
    const model = net([5, 8, 3]);
    const f = fisherMatrix(model, () => model.forward(x), { likelihood: "softmax" });
    const n = Math.sqrt(f.length);
    for (let i = 0; i < n; i++) expect(f[i * n + i]!).toBeGreaterThanOrEqual(0);
    const { smallest } = hessianExtremes(
      objective(model, () => losses.crossEntropy(model.forward(x), labels)),
      { iterations: n },
    );
    expect(smallest[0]!.value).toBeLessThan(-1e-3);
  });
});
