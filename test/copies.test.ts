/** Two copies of nabla in one process: each refuses the other's tensors, wherever they arrive. */
import { compile, grad, hvp, jvp, losses, nn, type Tensor as OwnTensor, optim, stack, tensor, tidy, vjp, where } from "nabla"; // biome-ignore format: one line
import { writeSafetensors } from "nabla/formats";
import { beforeAll, expect, test, vi } from "vitest";

let other: typeof import("nabla");
let foreign: OwnTensor;
const warnings: unknown[][] = [];

beforeAll(async () => {
  vi.resetModules();
  const warn = vi.spyOn(console, "warn").mockImplementation((...args) => void warnings.push(args));
  const index: string = "../src/index.ts";
  other = (await import(index)) as typeof other;
  vi.resetModules();
  await import(index);
  warn.mockRestore();
  foreign = other.tensor([10, 20, 30]) as unknown as OwnTensor;
});

const own = (): OwnTensor => tensor([1, 2, 3]);
const indices = (): OwnTensor => tensor([0, 1, 2], { dtype: "int32" });
const parameter = (): OwnTensor => tensor([1, 2, 3], { requiresGrad: true });
const of = (what: string): string => `${what} is a tensor of another copy of nabla`;

test("the second copy that loads warns, and the third does not", () => {
  expect(warnings).toEqual([
    ["nabla: a second copy was loaded. Each copy refuses the other's tensors. Check for two installed versions: npm ls nabla."],
  ]); // biome-ignore format: one line
});

test("ops refuse them as any operand, forward and in place, by method and by function", () => {
  const calls: [string, () => unknown][] = [
    [of("add: operand 2"), () => own().add(foreign)],
    [of("add: operand 1"), () => other.add(own() as never, 1)],
    [of("where: operand 1"), () => where(foreign.gt(0), own(), 0)],
    [of("where: operand 3"), () => where(own().gt(0), own(), foreign)],
    [
      of("matmul: operand 2"),
      () =>
        own()
          .reshape([1, 3])
          .matmul(foreign.reshape([3, 1])),
    ],
    [of("reshape: operand 1"), () => stack([own(), foreign])],
    [of("indexSelect: operand 2"), () => foreign.indexSelect(0, indices() as never)],
    [of("copyFrom: the source"), () => own().copyFrom(foreign)],
  ];
  for (const [message, call] of calls) expect(call, message).toThrow(message);
});

test("losses, layers, optimizers, gradients, compiled functions and files refuse them", () => {
  const model = new nn.Linear(3, 1);
  const calls: [string, () => unknown][] = [
    [of("sub: operand 2"), () => losses.mse(own(), foreign)],
    [of("matmul: operand 1"), () => model.forward(foreign.reshape([1, 3]))],
    [of("SGD: a parameter"), () => new optim.SGD([foreign], { lr: 1 })],
    [of("Adam: a parameter"), () => new optim.Adam([{ params: [parameter(), foreign] }])],
    [of("grad: argument 0"), () => grad((x: OwnTensor) => x.sum())(foreign)],
    [of("grad: argument 0"), () => grad(([x]: OwnTensor[]) => x!.sum())([foreign])],
    [of("vjp: argument 0"), () => vjp((x: OwnTensor) => x.square(), foreign)],
    [of("grad: the function's result"), () => grad((_: OwnTensor) => foreign)(own())],
    [of("jvp: the function's result"), () => jvp((_: OwnTensor) => foreign, own(), own())],
    [of("mul: operand 2"), () => hvp((x: OwnTensor) => x.square().sum(), own(), foreign)],
    [of("backward: the gradient"), () => parameter().mul(2).backward({ gradient: foreign })],
    [of("compile(f): an argument"), () => compile((x: OwnTensor) => x.mul(2), { name: "f" })(foreign)],
    [of("mul: operand 2"), () => compile((x: OwnTensor) => x.mul(foreign))(own())],
    [of("loadStateDict: weight"), () => model.loadStateDict({ weight: foreign.reshape([1, 3]), bias: tensor([0]) })],
    [of('writeSafetensors: "x"'), () => writeSafetensors({ x: foreign })],
  ];
  for (const [message, call] of calls) expect(() => tidy(() => void call()), message).toThrow(message);
});

test("a copy computes with its own tensors, whatever the other did", () => {
  expect(() => own().add(foreign)).toThrow();
  expect(foreign.add(1).toArray()).toEqual([11, 21, 31]);
  expect(own().add(tensor(foreign.data)).toArray()).toEqual([11, 22, 33]);
});
