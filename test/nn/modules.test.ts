/** The tensors that a module finds, their names, and the warning about tensors that it cannot find. */

import { grad, losses, nn, ones, optim, summary, type Tensor, tensor, zeros } from "nabla";
import { fromPyTorch, loadState, readSafetensors, saveState, toPyTorch, writeSafetensors } from "nabla/formats";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

class Model extends nn.Module {
  [name: string]: unknown;
  forward(x: Tensor): Tensor {
    return x;
  }
}
const holding = (value: unknown): Model => Object.assign(new Model(), { held: value });
const names = (model: nn.Module): string[] => Array.from(model.namedParameters(), ([name]) => name);

describe("layers in containers are found and have stable names", () => {
  const layer = (): nn.Linear => new nn.Linear(2, 2, { bias: false });
  test.each([
    ["an array", [layer(), layer()], ["held.0.weight", "held.1.weight"]],
    ["nested arrays", [[layer()], [layer()]], ["held.0.0.weight", "held.1.0.weight"]],
    ["a plain object", { a: layer(), b: layer() }, ["held.a.weight", "held.b.weight"]],
    ["an object without a prototype", Object.assign(Object.create(null), { a: layer() }), ["held.a.weight"]],
    ["objects in arrays in objects", { blocks: [{ up: layer() }] }, ["held.blocks.0.up.weight"]],
    ["a Map", new Map([["a", layer()]]), ["held.a.weight"]],
    ["a Map with numbers as keys", new Map([[7, layer()]]), ["held.7.weight"]],
    ["a Set", new Set([layer()]), ["held.0.weight"]],
    ["parameters in an object", { w: nn.parameter(ones([2])) }, ["held.w"]],
  ])("%s", (_, held, expected) => {
    const model = holding(held);
    expect(names(model)).toEqual(expected);
    expect(Object.keys(model.stateDict())).toEqual(expected);
    expect(new Set(model.parameters()).size).toBe(expected.length);
  });
  test("a container that contains itself and a reference to the parent are visited once", () => {
    const loop: Record<string, unknown> = { a: layer() };
    loop.self = loop;
    expect(names(holding(loop))).toEqual(["held.a.weight"]);
    const child = holding(layer());
    const parent = holding(child);
    child.parent = parent;
    expect(names(parent)).toEqual(["held.held.weight"]);
  });
  test("two tensors with the same name are rejected", () => {
    const model = holding({ "a.b": ones([1]), a: { b: zeros([1]) } });
    expect(() => model.stateDict()).toThrow('stateDict: two tensors are named "held.a.b". Rename a property or a key.');
  });
  test("optimizers train layers in a Map", () => {
    const model = holding(new Map([["fc", layer()]]));
    const fc = (model.held as Map<string, nn.Linear>).get("fc")!;
    const before = fc.weight.toArray();
    new optim.SGD(model.parameters(), { lr: 0.1 }).minimize(() => fc.forward(ones([1, 2])).sum());
    expect(fc.weight.toArray()).not.toEqual(before);
  });
});

describe("tensors with requiresGrad are parameters", () => {
  const leaf = (): Tensor => tensor([1, 2], { requiresGrad: true });
  test.each([
    ["as a property", () => holding(leaf()), "held"],
    ["in an array", () => holding([leaf()]), "held.0"],
    ["in an object", () => holding({ w: leaf() }), "held.w"],
    ["in a Map", () => holding(new Map([["w", leaf()]])), "held.w"],
  ])("%s", (_, make, name) => {
    const model = make();
    expect(names(model)).toEqual([name]);
    expect(model.buffers()).toEqual([]);
  });
  test("results of ops are not parameters, and frozen parameters stay parameters", () => {
    const result = leaf().mul(2);
    expect(names(holding(result))).toEqual([]);
    const frozen = holding(leaf());
    expect(names(frozen)).toEqual(["held"]);
    (frozen.held as Tensor).requiresGrad = false;
    expect(names(frozen)).toEqual(["held"]);
  });
});

describe("a module used twice has two names", () => {
  class Tied extends nn.Module {
    first = new nn.Conv2d(2, 2, 3, { bias: false });
    second = this.first;
    norm = new nn.BatchNorm2d(2);
    norms = [this.norm];
    forward(x: Tensor): Tensor {
      return this.second.forward(this.first.forward(x));
    }
  }
  test("in stateDict, but parameters() and buffers() list each tensor once", () => {
    const model = new Tied();
    const state = model.stateDict();
    expect(Object.keys(state)).toContain("first.weight");
    expect(state["second.weight"]).toBe(state["first.weight"]);
    expect(state["norms.0.runningMean"]).toBe(state["norm.runningMean"]);
    expect(model.parameters()).toHaveLength(3);
    expect(model.buffers()).toHaveLength(3);
    expect(summary(model, [1, 9, 9, 2]).parameters).toBe(2 * 9 * 2 + 4);
  });
  test("loadStateDict accepts either name or both, and rejects a state with neither", () => {
    const [from, to] = [new Tied(), new Tied()];
    for (const drop of ["", "first.", "second."]) {
      const state = Object.fromEntries(
        Object.entries(from.stateDict()).filter(([name]) => !drop || !name.startsWith(drop)),
      );
      to.first.weight.copyFrom(zeros(to.first.weight.shape).detach());
      expect(to.loadStateDict(state)).toEqual({ missing: [], unexpected: [] });
      expect(to.first.weight.toArray()).toEqual(from.first.weight.toArray());
    }
    const { "first.weight": _, "second.weight": __, ...neither } = from.stateDict();
    expect(() => to.loadStateDict(neither)).toThrow(/missing: first\.weight, second\.weight/);
  });
  test("in safetensors, training states and PyTorch's layouts", () => {
    const [from, to] = [new Tied(), new Tied()];
    const { tensors } = readSafetensors(writeSafetensors(from.stateDict()));
    to.loadStateDict(tensors);
    expect(to.first.weight.toArray()).toEqual(from.first.weight.toArray());
    const third = new Tied();
    loadState(saveState({ model: from }), { model: third });
    expect(third.first.weight.toArray()).toEqual(from.first.weight.toArray());
    const theirs = toPyTorch(from);
    expect(theirs["second.weight"]!.shape).toEqual([2, 2, 3, 3]);
    expect(theirs["second.weight"]!.toArray()).toEqual(theirs["first.weight"]!.toArray());
    const fourth = new Tied();
    fourth.loadStateDict(fromPyTorch(fourth, theirs));
    expect(fourth.first.weight.toArray()).toEqual(from.first.weight.toArray());
  });
});

describe("parameters that a module does not list", () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  beforeEach(() => void warn.mockClear());
  afterEach(() => void warn.mockClear());
  class Hidden extends nn.Module {
    readonly #layer: nn.Module;
    head = new nn.Linear(2, 1);
    constructor(layer: nn.Module) {
      super();
      this.#layer = layer;
    }
    forward(x: Tensor): Tensor {
      return this.head.forward(this.#layer.forward(x) as Tensor);
    }
  }
  const train = (model: Hidden, steps = 3, x = ones([4, 3])): void => {
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    for (let i = 0; i < steps; i++) optimizer.minimize(() => losses.mse(model.forward(x), ones([4, 1])));
  };
  test.each([
    ["Linear", () => new nn.Linear(3, 2), ones([4, 3]), "weight [2, 3] of Linear received a gradient"],
    [
      "Sequential",
      () => new nn.Sequential(new nn.Linear(3, 2), new nn.Tanh()),
      ones([4, 3]),
      "weight [2, 3] of Linear received",
    ],
    ["LayerNorm", () => new nn.LayerNorm(2), ones([4, 2]), "[2] of LayerNorm received a gradient"],
  ])("a %s in a #private field causes one warning with its type and shape", (_, make, x, text) => {
    train(new Hidden(make()), 3, x);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]![0]).toContain(text);
    expect(warn.mock.calls[0]![0]).toMatch(/no parameters\(\) call has returned it.*#private/);
  });
  test("layers that are listed, frozen, passed to an optimizer or used in grad() cause no warning", () => {
    const layer = new nn.Linear(3, 2);
    const frozen = new nn.Linear(3, 2);
    for (const p of [frozen.weight, frozen.bias!]) p.requiresGrad = false;
    train(new Hidden(frozen));
    const byHand = new nn.Linear(3, 2);
    new optim.SGD([byHand.weight, byHand.bias!], { lr: 0.1 });
    train(new Hidden(byHand));
    const byName = new nn.Linear(3, 2);
    byName.stateDict();
    train(new Hidden(byName));
    grad((x: Tensor) => layer.forward(x).sum())(ones([1, 3]));
    expect(warn).not.toHaveBeenCalled();
  });
});
