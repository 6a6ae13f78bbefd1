/** Explanations, penalties, and the parameter gradients of penalties (double backward) against PyTorch. */
import { losses, nn, noGrad, type Tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { gradientTimesInput, integratedGradients, saliency } from "../../src/gradients/interpretation/interpret.ts";
import { gradientPenalty, jacobianPenalty, lipschitzPenalty } from "../../src/gradients/regularization/regularize.ts";
import { expectTorch, load, type Stored, values } from "../support/torch.ts";

/** The values that make_gradients in test/torch/make.py writes. */
interface Gradients {
  weights: Stored[];
  x: Stored;
  baseline: Stored;
  target: Stored;
  explained: Record<"saliency" | "gradientTimesInput" | "integratedGradients", Stored>;
  penalties: { name: string; out: Stored; grads: Stored[] }[];
}
const stored = (values as unknown as { gradients: Gradients }).gradients;
const [x, target] = [load(stored.x), load(stored.target)];

function network(): nn.Sequential {
  const model = new nn.Sequential(new nn.Linear(4, 5), new nn.Tanh(), new nn.Linear(5, 3));
  noGrad(() => model.parameters().forEach((p, i) => void p.copyFrom(load(stored.weights[i]!))));
  return model;
}
const chosen = (model: nn.Module) => (z: Tensor) =>
  model
    .forward(z)
    .gather(1, target.reshape([-1, 1]))
    .reshape([-1]);
const each = (model: nn.Module) => (z: Tensor) => losses.crossEntropy(model.forward(z), target, { reduction: "none" });

describe(`explanations and penalties match PyTorch ${values.torch}`, () => {
  test("saliency, gradient × input, and integrated gradients with 20 midpoints", () => {
    const model = network();
    const { attributions } = integratedGradients(model, x, {
      target,
      baseline: load(stored.baseline),
      steps: 20,
      rule: "midpoint",
    });
    expectTorch(saliency(model, x, { target }), stored.explained.saliency, "saliency");
    expectTorch(gradientTimesInput(model, x, { target }), stored.explained.gradientTimesInput, "gradientTimesInput");
    expectTorch(attributions, stored.explained.integratedGradients, "integratedGradients");
  });

  const penalties: Record<string, (model: nn.Module) => Tensor> = {
    gradientPenalty: (model) => gradientPenalty(each(model), x),
    "gradientPenalty, target 1": (model) => gradientPenalty(chosen(model), x, { target: 1 }),
    "lipschitzPenalty, bound 0.5": (model) => lipschitzPenalty(chosen(model), x, { bound: 0.5 }),
    "jacobianPenalty, all projections": (model) => jacobianPenalty(model, x, { projections: 3 }),
  };
  test.each(stored.penalties)("$name: the value, and the gradients of all parameters", ({ name, out, grads }) => {
    const model = network();
    const value = penalties[name]!(model);
    expectTorch(value, out, "value");
    value.backward();
    // The penalty does not depend on the last bias, so its gradient is null here and 0 in PyTorch.
    model.parameters().forEach((p, i) => {
      if (p.grad) expectTorch(p.grad, grads[i]!, `parameter ${i}`);
      else expect(load(grads[i]!).abs().max().item()).toBe(0);
    });
  });
});
