/** Compile time is linear in a function's length. The tests count operations, because times depend on the machine. */
import { losses, nn, optim, type Tensor, tensor, zeros } from "nabla";
import { expect, test } from "vitest";
import { planArena } from "../../src/compile/passes/arena.ts";
import { joinUpdates } from "../../src/compile/passes/updates.ts";
import { recorded } from "../support/recorded.ts";

const training = (n: number, separate: boolean) => {
  const params = Array.from({ length: n }, () => nn.parameter(zeros([4])));
  const optimizer = new optim.Adam(separate ? params.map((p) => ({ params: [p] })) : params, { lr: 1e-3 });
  return recorded(
    (x: Tensor) =>
      optimizer.minimize(() =>
        losses.mse(
          params.reduce((sum, p) => sum.add(p.mul(x).sum()), x.sum()),
          zeros([]),
        ),
      ),
    tensor([1, 2, 3, 4]),
  );
};
const chain = (n: number) =>
  recorded(
    (x: Tensor) => {
      let y = x;
      for (let i = 0; i < n; i++) y = y.matmul(x);
      return y;
    },
    zeros([2, 2]),
  );
const outputs = (n: number) =>
  recorded((x: Tensor) => Array.from({ length: n }, (_, i) => x.add(i).matmul(x)), zeros([2, 2]));

for (const [name, make] of Object.entries({
  "parameters with Adam": (n: number) => training(n, false),
  "parameters in separate groups": (n: number) => training(n, true),
  "a chain": chain,
  outputs: outputs,
})) {
  test(`the planner compares each value with a bounded number of others: ${name}`, { timeout: 180_000 }, () => {
    const looksPerStep = (n: number): number => {
      const { steps, placed } = make(n);
      return planArena(steps, placed).looks / steps.length;
    };
    // The planner compares at most 1024 values with each other. Each further value costs one comparison.
    expect(looksPerStep(4000)).toBeLessThanOrEqual(1.2 * Math.max(1, looksPerStep(2000)));
  });
}

test("joining any number of updates copies each update's inputs once", () => {
  const { steps } = training(3000, false);
  let reads = 0;
  const counted = steps.map((step) =>
    Object.defineProperty({ ...step }, "inputs", {
      enumerable: true,
      get: () => {
        reads++;
        return step.inputs;
      },
    }),
  );
  const joined = joinUpdates(counted, new Set());
  expect(joined.at(-1)!.inputs).toHaveLength(1 + 5 * 3000);
  expect(reads).toBeLessThan(20 * steps.length);
});
