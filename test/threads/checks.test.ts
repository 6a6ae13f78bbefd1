/** Index checks and finite: true on several threads: the same errors, and no change in state. */
import { compile, dispose, init, losses, manualSeed, nn, optim, randn, type Tensor, tensor } from "nabla";
import { afterEach, describe, expect, test } from "vitest";
import { sharing } from "../../src/ops/definition/work.ts";

const defaults = { ...sharing };
afterEach(async () => {
  Object.assign(sharing, defaults);
  await dispose();
});

/** Trains, optionally with failing calls between the steps. Returns the parameters' bits and the errors from these calls. */
async function train(threads: number, failing: boolean, finite: boolean): Promise<{ bits: unknown; errors: string[] }> {
  await init({ threads, build: "simd" });
  Object.assign(sharing, { least: 1, program: 1 });
  manualSeed(4);
  const model = new nn.Sequential(
    new nn.Linear(40, 64),
    new nn.BatchNorm1d(64),
    new nn.Dropout(0.2),
    new nn.Linear(64, 9),
  );
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const step = compile(
    (x: Tensor, labels: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels.mul(1))),
    { finite },
  );
  const errors: string[] = [];
  const labels = Int32Array.from({ length: 64 }, (_, i) => i % 9);
  for (let i = 0; i < 10; i++) {
    const x = randn([64, 40]);
    if (failing && i) {
      const bad = labels.slice();
      bad[50 - i] = 9;
      bad[60] = -1;
      const worse = x.data;
      worse[777] = Number.NaN;
      const calls = [() => step(x, bad), ...(finite ? [() => step(tensor(worse, [64, 40]), labels)] : [])];
      for (const call of calls) {
        try {
          call();
          errors.push("none");
        } catch (error) {
          errors.push(String(error));
        }
      }
    }
    step(x, labels);
  }
  const bits = Object.values(model.stateDict()).map((x) => [...x.data]);
  await dispose();
  return { bits, errors };
}

describe.each([false, true])("finite: %s", (finite) => {
  test("1, 2 and 3 threads throw the same errors and keep the same bits", async () => {
    const expected = await train(1, true, finite);
    expect(expected.bits).toEqual((await train(1, false, finite)).bits);
    expect(expected.errors[0]).toMatch(/^RangeError: crossEntropy: label 9 at position 49/);
    expect(expected.errors).toHaveLength(finite ? 18 : 9);
    if (finite) expect(expected.errors[1]).toMatch(/^NonFiniteError: .*arguments\[0\] contains NaN \(element 777/);
    for (const threads of [2, 3]) expect(await train(threads, true, finite)).toEqual(expected);
  });
});
