import { concat, customGradient, losses, manualSeed, nn, randn, type Tensor, tensor } from "nabla";
import {
  Complex,
  complexStep,
  directionalDerivative,
  errorCurve,
  finiteDifference,
  gradcheck,
  gradgradcheck,
  linearGradients,
  logisticPulls,
  objective,
  sensitivities,
  steepestDescent,
} from "nabla/gradients";
import { describe, expect, test } from "vitest";

describe("differences", () => {
  test("relative error with the default step: forward below 5e-7, central below 1e-8, complex below 1e-15", () => {
    for (const x of [-3, 0.1, 1, 40]) {
      const relative = (d: number) => Math.abs(d / Math.cos(x) - 1);
      expect(relative(finiteDifference(Math.sin, x, { method: "forward" }))).toBeLessThan(5e-7);
      expect(relative(finiteDifference(Math.sin, x))).toBeLessThan(1e-8);
      expect(relative(complexStep((z) => z.sin(), x))).toBeLessThan(1e-15);
    }
  });
  test("the complex step gives the derivative of each function of Complex", () => {
    const x = 0.7;
    const cases: [(z: Complex) => Complex, number][] = [
      [(z) => z.exp(), Math.exp(x)],
      [(z) => z.log(), 1 / x],
      [(z) => z.sqrt(), 0.5 / Math.sqrt(x)],
      [(z) => z.pow(3), 3 * x ** 2],
      [(z) => z.pow(-2), -2 * x ** -3],
      [(z) => z.pow(0.3), 0.3 * x ** -0.7],
      [(z) => z.sin().mul(z.cos()), Math.cos(2 * x)],
      [(z) => z.tanh(), 1 - Math.tanh(x) ** 2],
      [(z) => z.sigmoid(), Math.exp(-x) / (1 + Math.exp(-x)) ** 2],
      [(z) => new Complex(1).div(z.add(2)), -1 / (x + 2) ** 2],
      [(z) => z.neg().sub(z.mul(z)), -1 - 2 * x],
    ];
    for (const [f, expected] of cases) expect(complexStep(f, x)).toBeCloseTo(expected, 13);
  });
  test("complex tanh and sqrt neither overflow nor cancel for large and tiny arguments", () => {
    expect(new Complex(800, 1).tanh().re).toBe(1);
    expect(new Complex(-4, 1e-20).sqrt().im).toBeCloseTo(2, 15);
  });
  test("the truncation error is O(h), O(h²) and, for the complex step, O(h²); only the complex step has no rounding error", () => {
    const f = (x: number) => Math.exp(Math.sin(x));
    const exact = Math.exp(Math.sin(1)) * Math.cos(1);
    const forward = errorCurve(f, 1, exact, { method: "forward" });
    const central = errorCurve(f, 1, exact);
    const complex = errorCurve(f, 1, exact, { method: "complex", complex: (z) => z.sin().exp() });
    expect(forward.truncationSlope).toBeCloseTo(1, 1);
    expect(central.truncationSlope).toBeCloseTo(2, 1);
    expect(complex.truncationSlope).toBeCloseTo(2, 1);
    for (const curve of [forward, central]) expect(Math.abs(curve.roundingSlope + 1)).toBeLessThan(0.2);
    expect(Math.abs(Math.log10(forward.best / 2 ** -26))).toBeLessThan(1.5);
    expect(Math.abs(Math.log10(central.best / 2 ** (-52 / 3)))).toBeLessThan(1.5);
    expect(complex.points.at(-1)![1]).toBeLessThan(1e-15);
  });
});

describe("gradcheck", () => {
  test("accepts correct first and second derivatives of several inputs", () => {
    manualSeed(2);
    const f = (x: Tensor, w: Tensor) => x.matmul(w).tanh().mul(x.sum());
    const inputs = [randn([2, 3]), randn([3, 2])];
    expect(gradcheck(f, inputs)).toMatchObject({ ok: true, compared: 4 * (6 + 6) });
    expect(gradgradcheck(f, inputs).ok).toBe(true);
  });
  test("finds a wrong gradient rule and says where it is wrong", () => {
    const wrong = customGradient((x: Tensor) => [x.square(), (dy: Tensor, z: Tensor) => [dy.mul(z).mul(2.1)]]);
    expect(() => gradcheck(wrong, [tensor([1, 2])])).toThrow(
      /derivative of output 1 with respect to element 1 of input 0: backward gives 4.2.*differences give 4 /,
    );
    expect(gradcheck(wrong, [tensor([1, 2])], { raise: false }).ok).toBe(false);
    // Only gradgradcheck finds a rule whose first derivative is correct and whose second derivative is wrong.
    const second = customGradient((x: Tensor) => [x.square(), (dy: Tensor, z: Tensor) => [dy.mul(z.detach()).mul(2)]]);
    expect(gradcheck(second, [tensor([1, 2])]).ok).toBe(true);
    expect(() => gradgradcheck(second, [tensor([1, 2])])).toThrow(/gradgradcheck/);
  });
  test("finds errors next to large outputs, at small scales and with overflow, and rejects values that float32 cannot resolve", () => {
    const wrong = customGradient((x: Tensor) => [x.square(), (dy: Tensor, z: Tensor) => [dy.mul(z)]]);
    const withLargeOutput = (x: Tensor) => concat([wrong(x), x.mul(0).add(1e6)]);
    expect(() => gradcheck(withLargeOutput, [tensor([2])])).toThrow(/output 0 with respect to element 0 of input 0/);
    expect(() => gradcheck((x) => wrong(x).mul(1e-4), [tensor([1])])).toThrow(/backward gives/);
    expect(() => gradcheck((x) => x.mul(200).exp(), [tensor([1])])).toThrow(/Infinity|NaN/);
    expect(() => gradcheck((x) => x.add(1e7), [tensor([1])])).toThrow(/float32 rounding errors hide/);
  });
  test("rejects a kink, and the error suggests it as the cause", () => {
    expect(() => gradcheck((x) => x.abs(), [tensor([1e-3])])).toThrow(/a kink\?/);
  });
  test("accepts a model's objective, and rejects a loss that changes between calls", () => {
    manualSeed(3);
    const model = new nn.Sequential(new nn.Linear(4, 5), new nn.Tanh(), new nn.Linear(5, 3));
    const [x, labels] = [randn([6, 4]), tensor([0, 1, 2, 0, 1, 2], { dtype: "int32" })];
    const loss = () => losses.crossEntropy(model.forward(x), labels);
    expect(gradcheck(objective(model, loss))).toMatchObject({ ok: true, compared: 30 });
    expect(() => gradcheck(objective(model, () => loss().mul(randn([]))))).toThrow(/the function random/);
  });
});

describe("sensitivity", () => {
  const loss = (theta: Tensor) =>
    theta
      .dot(tensor([3, 1]))
      .sub(8)
      .square()
      .mul(0.5);
  test("derivatives are sorted by magnitude, with names and indices", () => {
    expect(sensitivities(objective(loss, [1, 1]))).toEqual([
      { name: "theta", index: [0], derivative: -12 },
      { name: "theta", index: [1], derivative: -4 },
    ]);
    const w = tensor(
      [
        [1, 2],
        [3, 40],
      ],
      { requiresGrad: true },
    );
    expect(
      sensitivities(
        objective([w], () => w.square().sum()),
        { top: 1 },
      ),
    ).toEqual([{ name: "0", index: [1, 1], derivative: 80 }]);
  });
  test("D_u L equals ∇L·u, and is largest along the gradient", () => {
    const at = objective(loss, [1, 1]);
    expect(directionalDerivative(at, [1, 0])).toBe(-12);
    expect(directionalDerivative(at, [5, 0])).toBe(-12);
    const { direction, slope } = steepestDescent(at);
    expect(slope).toBeCloseTo(Math.hypot(12, 4), 12);
    expect(directionalDerivative(at, direction)).toBeCloseTo(-slope, 12);
    expect(() => directionalDerivative(at, [0, 0])).toThrow("direction: the length must be finite and above 0, got 0.");
  });
});

describe("closed forms", () => {
  test("logistic regression: the mean of (ŷ − y)x equals the gradient from backward", () => {
    manualSeed(4);
    const [x, w, y] = [randn([7, 3]), randn([3]), tensor([0, 1, 1, 0, 1, 0, 0])];
    const { pulls, gradient, errors } = logisticPulls(w, x, y);
    const automatic = objective((v) => losses.bceWithLogits(x.matmul(v), y), w).gradient();
    automatic.forEach((g, i) =>
      expect((gradient.data[i]! - g) / Math.max(...automatic.map(Math.abs))).toBeCloseTo(0, 6),
    );
    expect(pulls.shape).toEqual([7, 3]);
    expect(errors.toArray()).toEqual(x.matmul(w).sigmoid().sub(y).toArray());
    expect(() => logisticPulls(w, x, randn([3]))).toThrow(/must be \[d\], \[n, d\] and \[n\], got .*\[3\]/);
  });
  test("a linear layer: Σ g and Σ g xᵀ equal the gradients from backward", () => {
    manualSeed(5);
    const layer = new nn.Linear(4, 3);
    const [x, g] = [randn([6, 4]), randn([6, 3])];
    layer.forward(x).mul(g).sum().backward();
    const { weight, bias } = linearGradients(g, x);
    weight.data.forEach((v, i) => expect(v).toBeCloseTo(layer.weight.grad!.data[i]!, 5));
    bias.data.forEach((v, i) => expect(v).toBeCloseTo(layer.bias!.grad!.data[i]!, 5));
  });
});
