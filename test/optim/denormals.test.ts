/** Optimizer state that decays becomes 0 instead of a denormal number, and updates are not affected. */
import { compile, full, nn, optim, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";

/** The smallest normal float32. */
const NORMAL = 2 ** -126;

type Stepper = { step(): void; stateDict(): object; dispose(): void };
const kinds: Record<string, (p: Tensor) => Stepper> = {
  SGD: (p) => new optim.SGD([p], { lr: 0.1, momentum: 0.9 }),
  "SGD, Nesterov": (p) => new optim.SGD([p], { lr: 0.1, momentum: 0.9, nesterov: true }),
  Adam: (p) => new optim.Adam([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  AdamW: (p) => new optim.AdamW([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  NAdam: (p) => new optim.NAdam([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  RMSProp: (p) => new optim.RMSProp([p], { lr: 1e-3, alpha: 0.9, momentum: 0.9 }),
  "RMSProp, centered": (p) => new optim.RMSProp([p], { lr: 1e-3, alpha: 0.9, centered: true }),
  Adagrad: (p) => new optim.Adagrad([p], { lr: 1e-3 }),
  Lion: (p) => new optim.Lion([p], { lr: 1e-3, betas: [0.9, 0.9] }),
};

/** All numbers in a state. */
function numbers(state: unknown): number[] {
  if (typeof state === "object" && state !== null && "dtype" in state) return Array.from((state as Tensor).data);
  return typeof state === "object" && state !== null ? Object.values(state).flatMap(numbers) : [];
}
const isDenormal = (v: number): boolean => v !== 0 && Math.abs(v) < NORMAL;

describe.each(Object.keys(kinds))("%s", (kind) => {
  test.each([0, 1e-20, 1e-30])("has no denormal numbers after gradients fall to %d", (small) => {
    const p = tensor([1, -2, 3, 0.5, 7], { requiresGrad: true });
    const optimizer = kinds[kind]!(p);
    p.grad = tensor([0.3, -0.2, 1e-3, 5, -1e-6]);
    for (let i = 0; i < 5; i++) optimizer.step();
    p.grad = full([5], small);
    for (let i = 0; i < 3000; i++) optimizer.step();
    expect(numbers(optimizer.stateDict()).filter(isDenormal)).toEqual([]);
    expect(Array.from(p.data).every(Number.isFinite)).toBe(true);
    optimizer.dispose();
  });
  test("has no denormal numbers if gradients are small from the first step", () => {
    const p = tensor([1, -2, 3, 0.5, 7], { requiresGrad: true });
    const optimizer = kinds[kind]!(p);
    p.grad = tensor([1e-19, 1e-20, -1e-22, 1e-30, 1e-37]);
    for (let i = 0; i < 10; i++) {
      optimizer.step();
      expect(numbers(optimizer.stateDict()).filter(isDenormal)).toEqual([]);
    }
    optimizer.dispose();
  });
  test("passes NaN in a gradient to the parameter", () => {
    const p = tensor([1, 1, 1, 1, 1], { requiresGrad: true });
    const optimizer = kinds[kind]!(p);
    p.grad = tensor([Number.NaN, Number.POSITIVE_INFINITY, 1, -1, -Number.NaN]);
    for (let i = 0; i < 3; i++) optimizer.step();
    expect(p.data[0]).toBeNaN();
    expect(p.data[4]).toBeNaN();
    expect(Number.isFinite(p.data[2]!)).toBe(true);
    optimizer.dispose();
  });
});

test("Adam takes full steps for gradients of 10⁻¹⁰", () => {
  const p = zeros([3], { requiresGrad: true });
  const adam = new optim.Adam([p], { lr: 1e-3, eps: 1e-14 });
  p.grad = tensor([1e-10, -1e-10, 1e-12]);
  adam.step();
  for (const [i, v] of [-1e-3, 1e-3, -1e-3].entries()) expect(Math.abs(p.data[i]! / v - 1)).toBeLessThan(0.02);
});

test.each(["eager", "compiled"])("averages of weights that are 0 become 0, %s", (mode) => {
  const p = tensor([1, 2, 3]);
  const ema = new optim.EMA([p], { decay: 0.5 });
  p.copyFrom([0, 0, 0]);
  const update = mode === "compiled" ? compile(() => ema.update()) : () => ema.update();
  for (let i = 0; i < 200; i++) update();
  expect(Array.from(ema.averages[0]!.data)).toEqual([0, 0, 0]);
});

test("Muon's momentum has no denormal numbers", () => {
  const p = tensor(
    [
      [1, 2],
      [3, 5],
    ],
    { requiresGrad: true },
  ); // prettier-ignore
  const muon = new optim.Muon([p], { momentum: 0.5 });
  p.grad = tensor([
    [1, 0],
    [0, 1],
  ]); // prettier-ignore
  muon.step();
  p.grad = zeros([2, 2]);
  for (let i = 0; i < 200; i++) tidy(() => muon.step());
  expect(numbers(muon.stateDict()).filter(isDenormal)).toEqual([]);
});

describe("small gradients give the same steps as PyTorch's float32", () => {
  const r = Math.fround;
  type Rule = (g: number, state: number[], eps: number, t: number) => number;
  const square = (g: number): number => r(g * g);
  const adamLike =
    (amsgrad: boolean): Rule =>
    (g, s, eps, t) => {
      s[0] = r(0.9 * s[0]! + 0.1 * g);
      s[1] = r(r(0.999 * s[1]!) + r(0.001 * square(g)));
      s[2] = Math.max(s[2]!, s[1]!);
      return s[0]! / (1 - 0.9 ** t) / (Math.sqrt(s[amsgrad ? 2 : 1]!) / Math.sqrt(1 - 0.999 ** t) + eps);
    };
  const rules: Record<string, { make: (p: Tensor, eps: number) => Stepper; rule: Rule }> = {
    Adam: { make: (p, eps) => new optim.Adam([p], { lr: 1, eps }), rule: adamLike(false) },
    AdamW: { make: (p, eps) => new optim.AdamW([p], { lr: 1, eps, weightDecay: 0 }), rule: adamLike(false) },
    "Adam, amsgrad": { make: (p, eps) => new optim.Adam([p], { lr: 1, eps, amsgrad: true }), rule: adamLike(true) },
    RMSProp: {
      make: (p, eps) => new optim.RMSProp([p], { lr: 1, eps }),
      rule: (g, s, eps) => {
        s[0] = r(r(0.99 * s[0]!) + r(0.01 * square(g)));
        return g / (Math.sqrt(s[0]!) + eps);
      },
    },
    Adagrad: {
      make: (p, eps) => new optim.Adagrad([p], { lr: 1, eps }),
      rule: (g, s, eps) => {
        s[0] = r(s[0]! + square(g));
        return g / (Math.sqrt(s[0]!) + eps);
      },
    },
  };
  const GRADIENTS = [1, 1e-10, 2e-17, 1e-17, 1e-18, 3e-20, 1e-22, 1e-25, 1e-30, 1e-36];
  describe.each(Object.keys(rules))("%s", (name) => {
    const { make, rule } = rules[name]!;
    test.each([1e-8, 1e-10, 1e-12, 1e-16, 1e-20, 1e-30])(
      "with eps %d, for two steps with a gradient and two without",
      (eps) => {
        const p = zeros([GRADIENTS.length], { requiresGrad: true });
        const optimizer = make(p, eps);
        const states = GRADIENTS.map(() => [0, 0, 0]);
        for (let t = 1; t <= 4; t++) {
          const before = Array.from(p.data);
          p.grad = tensor(GRADIENTS.map((g) => (t <= 2 ? g : 0)));
          optimizer.step();
          GRADIENTS.forEach((g, i) => {
            const expected = -rule(t <= 2 ? r(g) : 0, states[i]!, eps, t);
            const moved = p.data[i]! - before[i]!;
            const slack = 2e-3 * Math.abs(expected) + 3e-7 * Math.abs(before[i]!) + 1e-15;
            expect(Math.abs(moved - expected), `g ${g}, step ${t}: ${moved}, expected ${expected}`).toBeLessThan(slack);
          });
        }
        optimizer.dispose();
      },
    );
    test("with eps 0, steps are finite unless the squared gradient underflows", () => {
      const g = [1e-10, 2e-17, 1e-18, 1e-19];
      const p = zeros([4], { requiresGrad: true });
      const optimizer = make(p, 0);
      const states = g.map(() => [0, 0, 0]);
      p.grad = tensor(g);
      optimizer.step();
      const expected = g.map((v, i) => -rule(r(v), states[i]!, 0, 1));
      expected.forEach((v, i) => expect(Math.abs(p.data[i]! / v - 1)).toBeLessThan(1e-2));
      p.grad = zeros([4]);
      for (let i = 0; i < 2000; i++) optimizer.step();
      expect(Array.from(p.data).every(Number.isFinite)).toBe(true);
      optimizer.dispose();
    });
  });
  test("Lion uses the sign of gradients down to 2·10⁻³⁷, and SGD uses gradients down to 10⁻³⁴", () => {
    const [p, q, m] = [0, 0, 0].map(() => zeros([3], { requiresGrad: true })) as [Tensor, Tensor, Tensor];
    p.grad = tensor([1e-30, -1e-36, 2e-37]);
    q.grad = tensor([1e-30, -1e-33, 1e-34]);
    m.grad = q.grad;
    new optim.Lion([p], { lr: 0.5 }).step();
    new optim.SGD([q], { lr: 0.5 }).step();
    new optim.SGD([m], { lr: 0.5, momentum: 0.9 }).step();
    expect(Array.from(p.data)).toEqual([-0.5, 0.5, -0.5]);
    for (const x of [q, m])
      expect(Array.from(x.data)).toEqual([-1e-30, 1e-33, -1e-34].map((v) => Math.fround(Math.fround(v) / 2)));
  });
});

describe.each([...Object.keys(kinds), "Adagrad", "Adam, amsgrad"])("%s: tiny gradients", (kind) => {
  const make: (p: Tensor) => Stepper =
    kind === "Adagrad"
      ? (p) => new optim.Adagrad([p], { lr: 1e-3 })
      : kind === "Adam, amsgrad"
        ? (p) => new optim.Adam([p], { lr: 1e-3, amsgrad: true })
        : kinds[kind]!;
  test.each([1e-36, 1e-38, 1e-40, 1e-42, 1e-45])("of %d leave no denormal numbers in a new state", (g) => {
    const p = tensor([1, -2, 3, 0.5, 7], { requiresGrad: true });
    const optimizer = make(p);
    p.grad = full([5], g);
    for (let i = 0; i < 50; i++) optimizer.step();
    expect(numbers(optimizer.stateDict()).filter(isDenormal)).toEqual([]);
    expect(Array.from(p.data).every(Number.isFinite)).toBe(true);
    optimizer.dispose();
  });
});

describe("running statistics of batch norm decay to 0", () => {
  test.each([0.1, 0.5, 0.9])("with momentum %d", (momentum) => {
    const layers = [new nn.BatchNorm1d(3, { momentum }), new nn.BatchNorm2d(3, { momentum })];
    tidy(
      () =>
        void layers[0]!.forward(
          tensor([
            [1, 2, 3],
            [4, -5, 6],
          ]),
        ),
    ); // prettier-ignore
    for (let i = 0; i < 1500; i++)
      tidy(() => {
        layers[0]!.forward(zeros([4, 3]));
        layers[1]!.forward(zeros([1, 2, 2, 3]));
      });
    for (const layer of layers)
      for (const x of [layer.runningMean!, layer.runningVar!]) expect(Array.from(x.data)).toEqual([0, 0, 0]);
  });
});
