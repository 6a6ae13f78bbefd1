/** explain and profile of compiled functions. */

import { inspect } from "node:util";
import { compile, losses, manualSeed, nn, optim, randint, randn, type Tensor } from "nabla";
import { describe, expect, test } from "vitest";

describe("explain and profile", () => {
  const model = new nn.Sequential(new nn.Linear(20, 32), new nn.ReLU(), new nn.Linear(32, 5));
  const optimizer = new optim.Adam(model.parameters());
  const make = () =>
    compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y)), {
      name: "step",
    });
  const args = (): [Tensor, Tensor] => [randn([16, 20]), randint(0, 5, [16])];

  test("explain lists instructions with shapes, source lines, FLOPs and fused ops", () => {
    const step = make();
    expect(() => step.explain()).toThrow(
      "compile(step): nothing is recorded yet. Call the function first, or pass arguments to explain([…]).",
    );
    const explained = step.explain(args());
    const [first] = explained.steps;
    expect(first).toMatchObject({
      name: "matmul(A·Bᵀ) + relu",
      fused: ["matmul", "relu"],
      shapes: "[16×20] [32×20] [32] → [16×32]",
      bytes: 4 * 16 * 32,
      flops: 2 * 16 * 20 * 32,
    });
    expect(first!.site).toMatch(/^compile-explain\.test\.ts:\d+:\d+$/);
    expect(explained.steps.at(-1)!.name).toBe("Adam ×4");
    expect(explained.recorded).toBeGreaterThan(explained.steps.length);
    expect(explained.arenaBytes).toBeLessThan(explained.naiveBytes);
    const text = String(explained);
    expect(text).toMatch(
      /^step\(float32\[16, 20\], int32\[16\]\): \d+ ops in \d+ instructions, \S+ kFLOP, \S+ kB of arena for \S+ kB of values\n/,
    );
    expect(text.split("\n")).toHaveLength(explained.steps.length + 2);
    expect(inspect(explained)).toBe(text);
  });
  test("profile runs the function and reports the share of each instruction", () => {
    const step = make();
    const before = model.parameters()[0]!.data;
    const profile = step.profile(args(), { calls: 5 });
    expect(model.parameters()[0]!.data).not.toEqual(before);
    expect(profile.steps.map(({ name }) => name)).toEqual(step.explain().steps.map(({ name }) => name));
    expect(profile.steps.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    for (const { microseconds, gflops, ofCeiling } of profile.steps) {
      expect(microseconds).toBeGreaterThanOrEqual(0);
      expect(ofCeiling).toBeCloseTo(gflops / profile.ceiling, 9);
    }
    expect(profile.ceiling).toBeGreaterThan(1);
    expect(String(profile).split("\n")).toHaveLength(profile.steps.length + 2);
    expect(() => step.profile(args(), { calls: 0 })).toThrow("profile: calls must be a whole number above 0, got 0.");
  });
  test("profile and calls give the same bits", () => {
    const run = (profiled: boolean): number[] => {
      manualSeed(3);
      const net = new nn.Linear(4, 2);
      const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
      const step = compile((x: Tensor) => sgd.minimize(() => net.forward(x).square().mean()));
      const x = randn([3, 4]);
      if (profiled) step.profile([x], { calls: 3 });
      else for (let i = 0; i < 6; i++) step(x);
      return Array.from(net.parameters()[0]!.data);
    };
    expect(run(true)).toEqual(run(false));
  });
});
