import { losses, manualSeed, nn, type Tensor, tensor } from "nabla";
import { objective } from "nabla/gradients";
import { expect, test } from "vitest";

test("the article's first example has ∇L(1, 1) = (−12, −4) and the Hessian (9 3; 3 1)", () => {
  const loss = (theta: Tensor) =>
    theta
      .dot(tensor([3, 1]))
      .sub(8)
      .square()
      .mul(0.5);
  const at = objective(loss, [1, 1]);
  expect([...at.gradient()]).toEqual([-12, -4]);
  expect([...at.hvp([1, 0])]).toEqual([9, 3]);
  expect([...at.hvp([0, 1])]).toEqual([3, 1]);
  expect(at.value([2, 2])).toBe(0);
  expect([...at.theta]).toEqual([1, 1]);
});

test("for a model, θ holds all parameters in order, and neither parameters nor existing gradients change", () => {
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
  const x = tensor([
    [1, 2, 3],
    [0.5, -1, 2],
  ]);
  const labels = tensor([0, 1], { dtype: "int32" });
  const loss = () => losses.crossEntropy(model.forward(x), labels);
  loss().backward();
  const held = model.parameters().map((p) => p.grad!.toArray());
  const at = objective(model, loss);
  expect(at.size).toBe(3 * 4 + 4 + 4 * 2 + 2);
  const { value, gradient } = at.valueAndGradient();
  expect(value).toBeCloseTo(loss().item(), 6);
  expect(Object.keys(at.byName(gradient))).toEqual(["0.weight", "0.bias", "2.weight", "2.bias"]);
  expect([...at.gradientsByName()["2.bias"]!]).toEqual(model.parameters()[3]!.grad!.toArray());
  const theta = at.theta;
  at.valueAndGradient(theta.map((v) => v + 1));
  expect(at.theta).toEqual(theta);
  expect(model.parameters().map((p) => p.grad!.toArray())).toEqual(held);
});

test("errors say how to fix the call", () => {
  const p = tensor([1, 2], { requiresGrad: true });
  expect(() => objective([], () => p.sum())).toThrow(/Pass a model with parameters/);
  expect(() => objective([tensor([1])], () => p.sum())).toThrow(/requiresGrad/);
  expect(() => objective([p], () => p.mul(2)).gradient()).toThrow(/one element, got a float32 tensor \[2\].*sum\(\)/);
  expect(() => objective([p], () => p.sum()).hvp([1])).toThrow(/as many numbers as θ \(2\), got 1/);
});
