/** `explain`, which lists the program of a compiled function. */

import { inspect } from "node:util";
import { compile, losses, nn, optim, randint, randn, type Tensor } from "nabla";
import { describe, expect, test } from "vitest";

describe("explain", () => {
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
});
