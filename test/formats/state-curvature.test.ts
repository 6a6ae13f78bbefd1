/** Saving and resuming optimizers that use curvature: L-BFGS, NaturalGradient and KFAC. */
import { losses, manualSeed, memory, nn, optim, randn, tensor } from "nabla";
import { loadState, saveState } from "nabla/formats";
import { KFAC, NaturalGradient } from "nabla/gradients";
import { describe, expect, test } from "vitest";

/** Optimizers that keep their state in float64 vectors in JavaScript, or per layer. */
const optimizers = {
  LBFGS: (model: nn.Module) => new optim.LBFGS(model.parameters(), { historySize: 4, maxIter: 3 }),
  "LBFGS by line search": (model: nn.Module) =>
    new optim.LBFGS(model.parameters(), { lineSearchFn: "strongWolfe", maxIter: 3 }),
  NaturalGradient: (model: nn.Module) => new NaturalGradient(model, { likelihood: "softmax", iterations: 5 }),
  KFAC: (model: nn.Module) => new KFAC(model, { likelihood: "softmax", every: 4 }),
};
type Kind = keyof typeof optimizers;
function start(kind: Kind, seed: number, width = 5) {
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(4, width), new nn.Tanh(), new nn.Linear(width, 3));
  const optimizer = optimizers[kind](model);
  const run = (steps: number): void => {
    for (let i = 0; i < steps; i++) {
      const x = randn([6, 4]);
      const labels = tensor([0, 1, 2, 0, 1, 2], { dtype: "int32" });
      if (optimizer instanceof optim.LBFGS)
        optimizer.minimize(() => losses.crossEntropy(model.forward(x.mul(0.1)), labels));
      else optimizer.minimize(() => model.forward(x), labels);
    }
  };
  return { model, optimizer, run };
}
describe.each(Object.keys(optimizers) as Kind[])("%s", (kind) => {
  test.each([0, 1, 7])("a run resumed after %i steps is byte-identical to an uninterrupted one", (before) => {
    const whole = start(kind, 3);
    whole.run(before);
    const file = saveState({ ...whole, step: before });
    whole.run(6);
    const resumed = start(kind, 99);
    resumed.run(2);
    expect(loadState(file, resumed).step).toBe(before);
    resumed.run(6);
    expect(saveState(resumed)).toEqual(saveState(whole));
  });

  test("a state that does not fit is rejected and changes nothing", () => {
    const kinds = (Object.keys(optimizers) as Kind[]).filter((other) => other.slice(0, 5) !== kind.slice(0, 5));
    const files = [...kinds.map((other) => start(other, 6)), start(kind, 6, 9)].map((other) => {
      other.run(3);
      return saveState({ optimizer: other.optimizer });
    });
    files.push(saveState({ optimizer: new optim.Adam(new nn.Linear(1, 1).parameters()) }));
    const training = start(kind, 5);
    training.run(5);
    const before = saveState(training);
    const { tensors } = memory();
    for (const file of files)
      expect(() => loadState(file, { optimizer: training.optimizer })).toThrow(
        /the state (has|lacks|is) .*Was it saved by this optimizer, for this model\?/,
      );
    expect(memory().tensors).toBe(tensors);
    expect(saveState(training)).toEqual(before);
  });

  test("repeated saving and loading uses no memory", () => {
    const training = start(kind, 5);
    training.run(5);
    loadState(saveState(training), training);
    const { tensors, bytes } = memory();
    for (let i = 0; i < 5; i++) loadState(saveState(training), training);
    const now = memory();
    expect({ tensors: now.tensors, bytes: now.bytes }).toEqual({ tensors, bytes });
  });
});
