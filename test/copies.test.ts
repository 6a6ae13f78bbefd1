/** Two copies of nabla in one process: each refuses the other's tensors, wherever they arrive. */
import { compile, grad, hvp, jvp, losses, nn, type Tensor as OwnTensor, optim, tensor, tidy, vjp, where } from "nabla"; // biome-ignore format: one line
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
const REFUSED = /^\w.*: .+ is a tensor of another copy of nabla, which has its own memory\. Use one copy: /;

test("the second copy that loads warns, and the third does not", () => {
  expect(warnings).toEqual([
    ["nabla: a second copy was loaded. Each copy refuses the other's tensors. Check for two installed versions: npm ls nabla."],
  ]); // biome-ignore format: one line
});

test("ops refuse them as any operand, forward and in place, by method and by function", () => {
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

test("losses, layers, optimizers, gradients, compiled functions and files refuse them", () => {
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

test("a copy computes with its own tensors, whatever the other did", () => {
  expect(() => own().add(foreign)).toThrow();
  expect(foreign.add(1).toArray()).toEqual([11, 21, 31]);
  expect(own().add(tensor(foreign.data)).toArray()).toEqual([11, 22, 33]);
});
