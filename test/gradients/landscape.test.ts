import { losses, manualSeed, memory, nn, randn, type Tensor, tensor } from "nabla";
import {
  classifyCriticalPoint,
  conditionNumber,
  denseEigen,
  denseHessian,
  escape,
  hessianExtremes,
  hessianTrace,
  lanczos,
  objective,
  plane,
  predictedEscape,
  randomDirection,
  ravine,
  slice,
  spectralDensity,
  symmetricEigen,
  topHessianDirections,
} from "nabla/gradients";
import { describe, expect, test } from "vitest";

const quadratic = (curvatures: readonly number[], at = curvatures.map(() => 0)) => {
  const h = tensor([...curvatures]);
  return objective((theta: Tensor) => theta.square().dot(h).mul(0.5), at);
};
function network(width = 6) {
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(4, width), new nn.Tanh(), new nn.Linear(width, 3));
  const [x, labels] = [
    randn([20, 4]),
    tensor(
      Array.from({ length: 20 }, (_, i) => i % 3),
      { dtype: "int32" },
    ),
  ];
  return { model, at: objective(model, () => losses.crossEntropy(model.forward(x), labels)) };
}

describe("eigenvalues", () => {
  test("of dense matrices with 1 to 40 rows are ascending, and the eigenvectors are orthonormal with A·v = λ·v", () => {
    manualSeed(1);
    for (const n of [1, 2, 3, 4, 10, 40]) {
      const b = randn([n, n]).data;
      const a = Float64Array.from({ length: n * n }, (_, k) => b[k]! + b[(k % n) * n + Math.floor(k / n)]!);
      if (n === 3) a.set([2, 0, 0, 0, 2, 0, 0, 0, -1]);
      if (n === 4) a.fill(0);
      const { values, vectors } = symmetricEigen(a, n);
      vectors.forEach((v, k) => {
        if (k) expect(values[k]!).toBeGreaterThanOrEqual(values[k - 1]!);
        for (let i = 0; i < n; i++) {
          const product = v.reduce((sum, x, j) => sum + a[i * n + j]! * x, 0);
          expect(Math.abs(product - values[k]! * v[i]!)).toBeLessThan(1e-13 * n);
        }
        vectors.forEach((u, j) => expect(u.reduce((sum, x, i) => sum + x * v[i]!, 0)).toBeCloseTo(j === k ? 1 : 0, 12));
      });
    }
  });
  test("repeated eigenvalues are found with their multiplicity", () => {
    const h = [2, 2, 0, 0, 0, 0];
    const { largest } = hessianExtremes(quadratic(h), { count: 3 });
    largest.forEach(({ value }, i) => expect(value).toBeCloseTo(h[i]!, 5));
    const [u, v] = topHessianDirections(quadratic([2, 2, 2]));
    expect(u.reduce((sum, x, i) => sum + x * v[i]!, 0)).toBeCloseTo(0, 6);
  });
  test("the eigenvalues of a 300 × 300 matrix add up to its trace, and non-finite matrices are rejected", () => {
    const n = 300;
    const { values } = symmetricEigen(
      Float64Array.from({ length: n * n }, (_, k) => Math.cos((k % n) * Math.floor(k / n))),
      n,
    );
    expect(values.reduce((a, b) => a + b)).toBeCloseTo(
      Array.from({ length: n }, (_, i) => Math.cos(i * i)).reduce((a, b) => a + b),
      9,
    );
    expect(() => symmetricEigen([1, Number.NaN, Number.NaN, 1], 2)).toThrow(/not finite/);
  });
  test("Lanczos finds both ends of a spectrum of 300 eigenvalues, and its residuals bound the errors", () => {
    manualSeed(2);
    const spectrum = Float64Array.from({ length: 300 }, (_, i) => Math.sin(i) + (i === 0 ? 5 : 0) - (i === 1 ? 4 : 0));
    const { values, residuals, products, vector } = lanczos((v) => v.map((x, i) => x * spectrum[i]!), 300, {
      tolerance: 1e-8,
    });
    expect(products).toBeLessThan(100);
    const sorted = spectrum.slice().sort();
    expect(values.at(-1)).toBeCloseTo(sorted.at(-1)!, 8);
    expect(values[0]).toBeCloseTo(sorted[0]!, 8);
    expect(Math.abs(vector(values.length - 1)[0]!)).toBeCloseTo(1, 6);
    values.forEach((value, k) => {
      const nearest = Math.min(...sorted.map((s) => Math.abs(s - value)));
      expect(nearest).toBeLessThanOrEqual(residuals[k]! + 1e-12);
    });
  });
});

describe("the Hessian of a network", () => {
  test("hessianExtremes finds eigenvectors with the largest and smallest eigenvalues of the dense Hessian", () => {
    const { at } = network();
    const { values } = denseEigen(at);
    const { largest, smallest } = hessianExtremes(at, { count: 3, iterations: at.size });
    largest.forEach((c, k) => expect(c.value).toBeCloseTo(values.at(-1 - k)!, 4));
    smallest.forEach((c, k) => expect(c.value).toBeCloseTo(values[k]!, 4));
    for (const { value, direction } of [...largest, ...smallest])
      at.hvp(direction).forEach((x, i) => expect(x).toBeCloseTo(value * direction[i]!, 3));
  });
  test("the dense Hessian equals central differences of the gradient", () => {
    const { at } = network(3);
    const h = denseHessian(at);
    const theta = at.theta;
    for (const i of [0, 5, at.size - 1]) {
      const step = 1e-2;
      const [above, below] = [1, -1].map((s) => at.gradient(theta.map((v, k) => v + (k === i ? s * step : 0))));
      above!.forEach((g, k) => expect((g - below![k]!) / (2 * step)).toBeCloseTo(h[i * at.size + k]!, 3));
    }
  });
  test("Hutchinson's trace is within its error bars, and the spectral density has area 1 and the correct mean", () => {
    const { at } = network();
    const { values } = denseEigen(at);
    const trace = values.reduce((a, b) => a + b, 0);
    manualSeed(3);
    const { value, standardError } = hessianTrace(at, { samples: 400 });
    expect(standardError).toBeLessThan(0.1 * trace);
    expect(Math.abs(value - trace)).toBeLessThan(3.5 * standardError);
    const { curvatures, density } = spectralDensity(at, { probes: 60, points: 800 });
    const dx = curvatures[1]! - curvatures[0]!;
    expect(density.reduce((a, b) => a + b * dx, 0)).toBeCloseTo(1, 2);
    const mean = density.reduce((a, b, i) => a + b * curvatures[i]! * dx, 0);
    expect(Math.abs(mean / (trace / at.size) - 1)).toBeLessThan(0.2);
  });
  test("analyses leave no tensors behind and do not change parameters", () => {
    const { at, model } = network();
    hessianExtremes(at);
    const before = memory().tensors;
    const theta = at.theta;
    hessianExtremes(at);
    hessianTrace(at);
    plane(at, randomDirection(at), randomDirection(at), { points: 3 });
    expect(memory().tensors).toBe(before);
    expect(at.theta).toEqual(theta);
    expect(model.parameters().every((p) => p.grad === null)).toBe(true);
  });
});

describe("critical points", () => {
  test.each([
    [[1, 2], "minimum", 0],
    [[1, -1], "saddle", 1],
    [[-1, -2, 3], "saddle", 2],
    [[-1, -2], "maximum", 2],
    [[1, 0], "flat minimum", 0],
    [[-1, 0], "flat maximum", 1],
    [[0, 0], "plateau", 0],
  ] as const)("curvatures %j: %s of index %i", (curvatures, kind, index) => {
    expect(classifyCriticalPoint(quadratic(curvatures))).toMatchObject({ kind, index, exact: true });
  });
  test("a point with a nonzero gradient is not critical", () => {
    expect(classifyCriticalPoint(quadratic([1, -1], [1, 0])).kind).toBe("not critical");
  });
  test("a network whose weights are all 0 is at a saddle, found by Hessian-vector products", () => {
    const { model, at } = network(60);
    at.moveTo(new Float64Array(at.size));
    const found = classifyCriticalPoint(at, { gradientTolerance: 0.1 });
    expect(found).toMatchObject({ kind: "saddle", exact: false });
    // At zero weights, the loss curves downwards only if W₁ and W₂ change together.
    expect(found.smallest.value).toBeLessThan(-1e-3);
    model.dispose();
  });
});

describe("ravines", () => {
  test("gives the condition number, and the slopes across and along the ravine", () => {
    const at = quadratic([100, 1], [1, 1]);
    expect(conditionNumber(at)).toBeCloseTo(100, 6);
    const { across, along, share, conditionNumber: ratio } = ravine(at);
    expect(ratio).toBeCloseTo(100, 4);
    expect(Math.abs(across.slope)).toBeCloseTo(100, 4);
    expect(Math.abs(along.slope)).toBeCloseTo(1, 4);
    expect(share).toBeCloseTo(100 / Math.hypot(100, 1), 8);
    expect(conditionNumber(quadratic([1, -1]))).toBe(Infinity);
  });
});

describe("slices", () => {
  test("slices of a quadratic along a line and over a plane are parabolic", () => {
    const at = quadratic([2, 6], [1, 0]);
    for (const [t, loss] of slice(at, [0, 1], { points: 5 })) expect(loss).toBeCloseTo(1 + 3 * t * t, 5);
    const { ticks, losses: grid } = plane(at, [1, 0], [0, 1], { points: 5 });
    grid.forEach((row, j) =>
      row.forEach((loss, i) => expect(loss).toBeCloseTo((1 + ticks[i]!) ** 2 + 3 * ticks[j]! ** 2, 5)),
    );
  });
  test("filter normalization gives each row the norm of the model's row, and 0 for biases", () => {
    const { at, model } = network();
    const parts = at.byName(randomDirection(at));
    expect(Math.max(...parts["0.bias"]!.map(Math.abs))).toBe(0);
    const weight = (model.parameters()[0]!.toArray() as number[][]).map((row) => Math.hypot(...row));
    weight.forEach((length, i) =>
      expect(Math.hypot(...parts["0.weight"]!.slice(4 * i, 4 * i + 4))).toBeCloseTo(length, 5),
    );
    expect(Math.hypot(...randomDirection(at, { normalize: "unit" }))).toBeCloseTo(1, 12);
  });
  test("the top Hessian directions start with the largest curvature", () => {
    const [u, v] = topHessianDirections(quadratic([1, 9, 4]));
    expect(Math.abs(u[1]!)).toBeCloseTo(1, 5);
    expect(Math.abs(v[2]!)).toBeCloseTo(1, 5);
  });
});

describe("escape from a saddle", () => {
  const saddle = quadratic([2, -2]);
  test("without noise, gradient descent stays at (0, 0) forever", () => {
    const { steps, distances } = escape(saddle, { lr: 0.1, noise: 0, distance: 1, maxSteps: 500 });
    expect(steps).toBe(Infinity);
    expect(Math.max(...distances)).toBe(0);
  });
  test("with noise, the median escape time is within 10% of the prediction", () => {
    manualSeed(6);
    for (const noise of [1e-3, 1e-2, 1e-1]) {
      const options = { lr: 0.05, noise, distance: 1 };
      const times = Array.from({ length: 101 }, () => escape(saddle, options).steps).sort((a, b) => a - b);
      const predicted = predictedEscape(-2, options);
      expect(Math.abs(times[50]! / predicted - 1), `${times[50]} against ${predicted}`).toBeLessThan(0.1);
    }
  });
});
