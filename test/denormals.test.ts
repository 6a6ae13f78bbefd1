/** Optimizer state that decays ends at 0, not among denormal numbers, and what counts is not touched. */
import { compile, full, optim, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";

/** The least normal float32. */
const NORMAL = 2 ** -126;

type Stepper = { step(): void; stateDict(): object; dispose(): void };
const kinds: Record<string, (p: Tensor) => Stepper> = {
  SGD: (p) => new optim.SGD([p], { lr: 0.1, momentum: 0.9 }),
  "SGD, nesterov": (p) => new optim.SGD([p], { lr: 0.1, momentum: 0.9, nesterov: true }),
  Adam: (p) => new optim.Adam([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  AdamW: (p) => new optim.AdamW([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  NAdam: (p) => new optim.NAdam([p], { lr: 1e-3, betas: [0.9, 0.9] }),
  RMSProp: (p) => new optim.RMSProp([p], { lr: 1e-3, alpha: 0.9, momentum: 0.9 }),
  "RMSProp, centered": (p) => new optim.RMSProp([p], { lr: 1e-3, alpha: 0.9, centered: true }),
  Lion: (p) => new optim.Lion([p], { lr: 1e-3, betas: [0.9, 0.9] }),
};

/** All numbers of a state. */
function numbers(state: unknown): number[] {
  if (typeof state === "object" && state !== null && "dtype" in state) return Array.from((state as Tensor).data);
  return typeof state === "object" && state !== null ? Object.values(state).flatMap(numbers) : [];
}
const isDenormal = (v: number): boolean => v !== 0 && Math.abs(v) < NORMAL;

describe.each(Object.keys(kinds))("%s", (kind) => {
  test.each([0, 1e-20, 1e-30])("no denormal number after gradients fall to %d", (small) => {
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
  test("NaN and infinity in a gradient still reach the parameter", () => {
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

test("gradients of 10⁻¹⁰ still move parameters by Adam's full step", () => {
  const p = zeros([3], { requiresGrad: true });
  const adam = new optim.Adam([p], { lr: 1e-3, eps: 1e-14 });
  p.grad = tensor([1e-10, -1e-10, 1e-12]);
  adam.step();
  for (const [i, v] of [-1e-3, 1e-3, -1e-3].entries()) expect(Math.abs(p.data[i]! / v - 1)).toBeLessThan(0.02);
});

test.each(["eager", "compiled"])("averages of weights that stay 0, %s", (mode) => {
  const p = tensor([1, 2, 3]);
  const ema = new optim.EMA([p], { decay: 0.5 });
  p.copyFrom([0, 0, 0]);
  const update = mode === "compiled" ? compile(() => ema.update()) : () => ema.update();
  for (let i = 0; i < 200; i++) update();
  expect(Array.from(ema.averages[0]!.data)).toEqual([0, 0, 0]);
});

test("Muon's momentum ends at 0", () => {
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
