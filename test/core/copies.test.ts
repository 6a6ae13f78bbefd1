/** Two copies of nabla in one process: every function rejects tensors and modules from the other copy. */
import { compile, concat, customGradient, grad, hvp, jvp, losses, nn, noGrad, type Tensor as OwnTensor, optim, stack, tensor, tidy, vjp, where } from "nabla"; // biome-ignore format: one line
import { writeSafetensors } from "nabla/formats";
import { beforeAll, expect, test, vi } from "vitest";

let other: typeof import("nabla");
let foreign: OwnTensor;
const warnings: unknown[][] = [];

beforeAll(async () => {
  vi.resetModules();
  const warn = vi.spyOn(console, "warn").mockImplementation((...args) => void warnings.push(args));
  const index: string = "../../src/index.ts";
  other = (await import(index)) as typeof other;
  vi.resetModules();
  await import(index);
  warn.mockRestore();
  foreign = other.tensor([10, 20, 30]) as unknown as OwnTensor;
});

const own = (): OwnTensor => tensor([1, 2, 3]);
const indices = (): OwnTensor => tensor([0, 1, 2], { dtype: "int32" });
const parameter = (): OwnTensor => tensor([1, 2, 3], { requiresGrad: true });
const REFUSED =
  /^\w.*: .+ is a tensor from another copy of nabla, which has its own memory\. Run `npm ls nabla` to find/;

test("the second copy warns when it loads, and the third does not", () => {
  expect(warnings).toEqual([
    ["nabla: a second copy was loaded. Copies cannot exchange tensors. Run `npm ls nabla` to find duplicate installations, and keep one."],
  ]); // biome-ignore format: one line
});

test("ops reject foreign tensors in any operand, in place or not, called as methods or as functions", () => {
  const calls: [string, () => unknown][] = [
    ["add", () => own().add(foreign)],
    ["add", () => other.add(own() as never, 1)],
    ["where", () => where(foreign.gt(0), own(), 0)],
    ["where", () => where(own().gt(0), own(), foreign)],
    [
      "matmul",
      () =>
        own()
          .reshape([1, 3])
          .matmul(foreign.reshape([3, 1])),
    ],
    ["indexSelect", () => foreign.indexSelect(0, indices() as never)],
    ["copyFrom", () => own().copyFrom(foreign)],
  ];
  for (const [name, call] of calls) expect(call, name).toThrow(REFUSED);
});

test("losses, layers, optimizers, gradients, compiled functions and files reject foreign tensors", () => {
  const model = new nn.Linear(3, 1);
  const calls: [string, () => unknown][] = [
    ["sub", () => losses.mse(own(), foreign)],
    ["matmul", () => model.forward(foreign.reshape([1, 3]))],
    ["SGD", () => new optim.SGD([foreign], { lr: 1 })],
    ["Adam", () => new optim.Adam([{ params: [parameter(), foreign] }])],
    ["grad", () => grad((x: OwnTensor) => x.sum())(foreign)],
    ["grad", () => grad(([x]: OwnTensor[]) => x!.sum())([foreign])],
    ["vjp", () => vjp((x: OwnTensor) => x.square(), foreign)],
    ["grad", () => grad((_: OwnTensor) => foreign)(own())],
    ["jvp", () => jvp((_: OwnTensor) => foreign, own(), own())],
    ["mul", () => hvp((x: OwnTensor) => x.square().sum(), own(), foreign)],
    ["backward", () => parameter().mul(2).backward({ gradient: foreign })],
    ["compile(f)", () => compile((x: OwnTensor) => x.mul(2), { name: "f" })(foreign)],
    ["mul", () => compile((x: OwnTensor) => x.mul(foreign))(own())],
    ["loadStateDict", () => model.loadStateDict({ weight: foreign.reshape([1, 3]), bias: tensor([0]) })],
    ["writeSafetensors", () => writeSafetensors({ x: foreign })],
  ];
  for (const [name, call] of calls) expect(() => tidy(() => void call()), name).toThrow(REFUSED);
});

const MODULE_REFUSED =
  /^\w.*: .+ is a module from another copy of nabla, which has its own memory\. Run `npm ls nabla` to find/;
/** A module that holds `value` in a property. */
function holding(value: unknown): nn.Module {
  class Net extends nn.Module {
    readonly own = new nn.Linear(3, 1);
    readonly part = value;
    forward(x: OwnTensor) {
      return this.own.forward(x);
    }
  }
  return new Net();
}

test("a module rejects layers and parameters from the other copy in any property", () => {
  const layer = () => new other.nn.Linear(3, 1) as unknown as nn.Linear;
  const weight = () => other.nn.parameter(other.randn([1, 3])) as unknown as OwnTensor;
  expect(() => new nn.Sequential(new nn.Linear(3, 3), layer())).toThrow(MODULE_REFUSED);
  expect(() => holding(new nn.Linear(3, 1)).parameters()).not.toThrow();
  const places: ((value: unknown) => unknown)[] = [
    (value) => value,
    (value) => [new nn.Linear(3, 1), value],
    (value) => ({ deep: { list: [value] } }),
    (value) => new Map([["a", value]]),
    (value) => new Set([value]),
  ];
  const walks: ((model: nn.Module) => unknown)[] = [
    (model) => model.parameters(),
    (model) => model.stateDict(),
    (model) => model.train(),
    (model) => model.buffers(),
  ];
  for (const place of places)
    for (const walk of walks) {
      expect(() => walk(holding(place(layer())))).toThrow(MODULE_REFUSED);
      expect(() => walk(holding(place(weight())))).toThrow(REFUSED);
    }
  expect(() => holding([layer()]).parameters()).toThrow("Net: part.0 is a module from another copy");
  const own = new nn.Linear(3, 1);
  Object.assign(own, { weight: weight() });
  expect(() => own.parameters()).toThrow(REFUSED);
  expect(() => own.forward(tensor([[1, 2, 3]]))).toThrow(REFUSED);
});

test("foreign tensors are rejected in lists, as values, as function results and in gradient rules", () => {
  const sgd = new optim.SGD([parameter()], { lr: 1 });
  const calls: [string, () => unknown][] = [
    ["concat", () => concat([own(), foreign])],
    ["concat", () => concat([foreign, own()])],
    ["stack", () => stack([own(), foreign])],
    ["stack", () => stack([foreign, own()])],
    ["tensor", () => tensor(foreign as never)],
    ["tensor", () => tensor([foreign, foreign] as never)],
    ["minimize", () => sgd.minimize(() => foreign.sum())],
    ["minimize", () => sgd.minimize([() => foreign.sum()])],
    ["minimize", () => sgd.minimize(foreign.sum())],
    ["tidy", () => tidy(() => foreign.mul(2))],
    ["tidy", () => tidy(() => ({ a: [own(), foreign.mul(2)] }))],
    ["noGrad", () => noGrad(() => foreign.mul(2))],
    ["noGrad", () => noGrad(() => [own(), foreign.mul(2)])],
    [
      "rule",
      () =>
        customGradient((x: OwnTensor) => [x.mul(2), () => [foreign]])(parameter())
          .sum()
          .backward(),
    ],
    ["value", () => customGradient((_: OwnTensor) => [foreign, (dy) => [dy]])(parameter())],
    ["argument", () => customGradient((x: OwnTensor) => [x, (dy) => [dy]])(foreign)],
    ["clipGradNorm", () => optim.clipGradNorm([foreign], 1)],
    ["clipGradValue", () => optim.clipGradValue([foreign], 1)],
    ["EMA", () => new optim.EMA([foreign], { decay: 0.5 })],
  ];
  for (const [name, call] of calls) expect(call, name).toThrow(REFUSED);
});

test("a copy still computes with its own tensors", () => {
  expect(() => own().add(foreign)).toThrow();
  expect(foreign.add(1).toArray()).toEqual([11, 21, 31]);
  expect(own().add(tensor(foreign.data)).toArray()).toEqual([11, 22, 33]);
});
