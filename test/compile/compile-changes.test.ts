/** If state changes outside a compiled function, the next call sees the change. */
import { compile, losses, manualSeed, nn, optim, randn, type Tensor, tensor, zeros } from "nabla";
import { describe, expect, test, vi } from "vitest";
import { Net } from "./net.ts";

const one = tensor([1]).keep();

describe("changes outside a compiled function", () => {
  const changes: Record<string, (net: Net) => void> = {
    "a number": (net) => (net.scale = 3),
    "a flag": (net) => (net.inverted = true),
    "a string": (net) => (net.mode = "square"),
    "a number in an object": (net) => (net.options.shift = 5),
    "a number in a nested object": (net) => (net.options.deep.slope = 7),
    "a whole object": (net) => (net.options = { shift: 1, deep: { slope: 2 } }),
    "an element of a list": (net) => (net.sizes[0] = 9),
    "a parameter of the module": (net) => (net.weight = nn.parameter(tensor([10]))),
    "a buffer of the module": (net) => (net.h = tensor([100]).keep()),
    "a nested module": (net) => (net.inner = new nn.Tanh()),
    "a field of a nested module": (net) => ((net.inner as unknown as { negativeSlope: number }).negativeSlope = 0.1),
    "a module in a list": (net) => (net.list[0] = new nn.Tanh()),
    "the length of a list of modules": (net) => net.list.push(new nn.Sigmoid()),
    "an activation function": (net) => (net.act = (x) => x.square()),
    "an element of a Map": (net) => net.table.set("shift", 4),
    "the size of a Map": (net) => net.table.set("late", 4),
    "a tensor in a Map": (net) => net.tensors.set("h", tensor([5]).keep()),
    "a module in a Map": (net) => net.layers.set("last", new nn.Tanh()),
    "a field of a module in a Map": (net) =>
      ((net.layers.get("last") as unknown as { negativeSlope: number }).negativeSlope = 0.1),
    "an element of a Set": (net) => net.flags.add("square"),
    "the instance's forward": (net) => (net.forward = (x) => x.mul(50)),
    "the forward of a nested module": (net) => (net.inner.forward = (x: Tensor) => x.mul(50)),
    "a new field": (net) => (net.late = 6),
  };
  for (const [name, change] of Object.entries(changes)) {
    test(`the next call sees a change to ${name}`, () => {
      const net = new Net();
      const f = compile((x: Tensor) => net.forward(x));
      const x = tensor([-3]);
      expect(f(x).toArray()).toEqual(net.forward(x).toArray());
      const before = f(x).item();
      change(net);
      for (let i = 0; i < 3; i++) expect(f(x).toArray()).toEqual(net.forward(x).toArray());
      expect(f(x).item()).not.toBe(before);
    });
  }
  test("the next call sees changes to fields of classes that inherit their methods", () => {
    class A extends nn.Module {
      s = 2;
      w = nn.parameter(tensor([2]));
      forward(x: Tensor): Tensor {
        return x.mul(this.w).mul(this.s);
      }
    }
    class B extends A {}
    class C extends B {}
    class L extends nn.Linear {}
    class N extends nn.Sequential {}
    class K extends nn.LeakyReLU {}
    const weight = () => nn.parameter(tensor([[5]]));
    const cases: [nn.Module, (m: never) => void][] = [
      [new B(), (m: B) => (m.s = 7)],
      [new C(), (m: C) => (m.s = 7)],
      [new C(), (m: C) => (m.w = nn.parameter(tensor([9])))],
      [new L(1, 1), (m: { weight: Tensor }) => (m.weight = weight())],
      [new N(new nn.Linear(1, 1)), (m: { layers: { weight: Tensor }[] }) => (m.layers[0]!.weight = weight())],
      [
        new N(new nn.LeakyReLU(0.5)),
        (m: { layers: nn.Module[] }) => ((m.layers[0] as unknown as K & { negativeSlope: number }).negativeSlope = 0.1),
      ],
      [new K(0.5), (m: { negativeSlope: number }) => (m.negativeSlope = 0.1)],
    ];
    const x = tensor([[-3]]);
    for (const [i, [m, change]] of cases.entries()) {
      const f = compile((x: Tensor) => m.forward(x) as Tensor);
      for (let k = 0; k < 3; k++) expect(f(x).item()).toBe((m.forward(x) as Tensor).item());
      const before = f(x).item();
      (change as (m: nn.Module) => void)(m);
      for (let k = 0; k < 3; k++) expect([i, f(x).item()]).toEqual([i, (m.forward(x) as Tensor).item()]);
      expect([i, f(x).item()]).not.toEqual([i, before]);
    }
  });
  test("the warning names a field that changes on every call", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const net = new Net();
    const f = compile((x: Tensor) => net.forward(x), { name: "step" });
    for (let i = 0; i < 20; i++) {
      net.seen = i;
      f(one);
    }
    expect(warn.mock.calls).toEqual([
      [
        "compile: step was recorded 16 times because module fields keep changing, most recently Net.seen. " +
          "Keep counters and histories outside modules, and numbers that ops use in a scalar(…).",
      ],
    ]);
    warn.mockRestore();
  });
  test("the next call sees changes to the options of the library's layers", () => {
    const layers: [nn.Module, (layer: never) => void][] = [
      [new nn.Dropout(0.5), (d: { p: number }) => (d.p = 0)],
      [new nn.LayerNorm(4), (n: { options: { eps?: number } }) => (n.options.eps = 3)],
      [new nn.BatchNorm1d(4), (n: { momentum: number }) => (n.momentum = 0.9)],
      [new nn.ELU(1), (e: { alpha: number }) => (e.alpha = 3)],
      [
        new nn.GELU({ approximate: "none" }),
        (g: { options: { approximate?: string } }) => (g.options.approximate = "tanh"),
      ],
      [new nn.Linear(4, 4), (l: { bias: Tensor | null }) => (l.bias = null)],
    ];
    for (const [layer, change] of layers) {
      const model = new nn.Sequential(new nn.Identity(), layer);
      let recorded = 0;
      const f = compile((x: Tensor) => {
        recorded++;
        return model.forward(x);
      });
      const x = randn([3, 4]);
      for (let i = 0; i < 3; i++) f(x);
      expect([layer.constructor.name, recorded]).toEqual([layer.constructor.name, 1]);
      (change as (layer: unknown) => void)(layer);
      for (let i = 0; i < 3; i++) f(x);
      expect([layer.constructor.name, recorded]).toEqual([layer.constructor.name, 2]);
    }
  });
  test("methods other than forward are tracked, and prototypes are restored", () => {
    class Coder extends nn.Module {
      gain = 2;
      encode(x: Tensor): Tensor {
        return x.mul(this.gain);
      }
      forward(x: Tensor): Tensor {
        return this.encode(x);
      }
    }
    const coder = new Coder();
    const { encode, forward } = Coder.prototype;
    const f = compile((x: Tensor) => coder.encode(x));
    expect(f(one).item()).toBe(2);
    coder.gain = 5;
    expect(f(one).item()).toBe(5);
    expect([Coder.prototype.encode, Coder.prototype.forward]).toEqual([encode, forward]);
    const failing = compile((x: Tensor) => {
      coder.encode(x);
      throw new Error("stop");
    });
    expect(() => failing(one)).toThrow("stop");
    expect(Coder.prototype.encode).toBe(encode);
  });
  test("training continues with replaced parameters", () => {
    const run = (compiled: boolean): number[] => {
      manualSeed(1);
      const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1));
      let optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
      const eager = (x: Tensor) => optimizer.minimize(() => losses.mse(model.forward(x), zeros([2, 1])));
      const step = compiled ? compile(eager) : eager;
      const seen: number[] = [];
      for (let i = 0; i < 6; i++) {
        if (i === 3) {
          (model.layers[0] as unknown as { weight: Tensor }).weight = nn.parameter(randn([4, 3]));
          optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
        }
        seen.push(step(randn([2, 3])).item());
      }
      return seen;
    };
    expect(run(true)).toEqual(run(false));
  });
});
