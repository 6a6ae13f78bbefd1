/** What recordings hold on to: state that changes outside of them is seen, and state set inside of them is refused. */
import { compile, losses, manualSeed, nn, optim, randn, type Tensor, TraceError, tensor, zeros } from "nabla";
import { describe, expect, test, vi } from "vitest";

const one = tensor([1]).keep();

/** A model with fields of every kind. */
class Net extends nn.Module {
  weight = nn.parameter(tensor([2]));
  scale = 1;
  inverted = false;
  mode: "plain" | "square" = "plain";
  options = { shift: 0, deep: { slope: 1 } };
  sizes = [1, 2];
  h = zeros([1]).keep();
  inner: nn.Module = new nn.LeakyReLU(0.5);
  list: nn.Module[] = [new nn.Identity()];
  seen: unknown = null;
  act = (x: Tensor) => x.mul(1);
  table = new Map([["shift", 0]]);
  tensors = new Map([["h", zeros([1]).keep()]]);
  layers = new Map<string, nn.Module>([["last", new nn.LeakyReLU(0.5)]]);
  flags = new Set<string>();
  declare late?: number;
  forward(x: Tensor): Tensor {
    let y = x.mul(this.weight).mul(this.scale).add(this.options.shift).mul(this.options.deep.slope).add(this.sizes[0]!);
    if (this.inverted) y = y.neg();
    if (this.mode === "square") y = y.square();
    for (const layer of this.list) y = layer.forward(y) as Tensor;
    y = (this.inner.forward(y) as Tensor).add(this.h);
    for (const shift of this.table.values()) y = y.add(shift);
    if (this.flags.has("square")) y = y.square();
    if (this.late) y = y.add(this.late);
    return this.act(this.layers.get("last")!.forward(y) as Tensor).add(this.tensors.get("h")!);
  }
}

describe("a change outside is seen by the next call", () => {
  const changes: Record<string, (net: Net) => void> = {
    "a number": (net) => (net.scale = 3),
    "a flag": (net) => (net.inverted = true),
    "a text": (net) => (net.mode = "square"),
    "a number in an object": (net) => (net.options.shift = 5),
    "a number in an object in an object": (net) => (net.options.deep.slope = 7),
    "an object replaced": (net) => (net.options = { shift: 1, deep: { slope: 2 } }),
    "an element of a list": (net) => (net.sizes[0] = 9),
    "a parameter replaced": (net) => (net.weight = nn.parameter(tensor([10]))),
    "a buffer replaced": (net) => (net.h = tensor([100]).keep()),
    "a module replaced": (net) => (net.inner = new nn.Tanh()),
    "a field of a module inside": (net) => ((net.inner as unknown as { negativeSlope: number }).negativeSlope = 0.1),
    "a module of a list replaced": (net) => (net.list[0] = new nn.Tanh()),
    "a module added to a list": (net) => net.list.push(new nn.Sigmoid()),
    "an activation function": (net) => (net.act = (x) => x.square()),
    "an element of a Map": (net) => net.table.set("shift", 4),
    "an element added to a Map": (net) => net.table.set("late", 4),
    "a tensor in a Map": (net) => net.tensors.set("h", tensor([5]).keep()),
    "a module in a Map": (net) => net.layers.set("last", new nn.Tanh()),
    "a field of a module in a Map": (net) =>
      ((net.layers.get("last") as unknown as { negativeSlope: number }).negativeSlope = 0.1),
    "an element of a Set": (net) => net.flags.add("square"),
    "forward of the instance": (net) => (net.forward = (x) => x.mul(50)),
    "forward of a module inside": (net) => (net.inner.forward = (x: Tensor) => x.mul(50)),
    "a field that was not there": (net) => (net.late = 6),
  };
  for (const [name, change] of Object.entries(changes)) {
    test(name, () => {
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
  test("fields of classes that inherit their methods", () => {
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
  test("a field that changes at every call is named in the warning", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const net = new Net();
    const f = compile((x: Tensor) => net.forward(x), { name: "step" });
    for (let i = 0; i < 20; i++) {
      net.seen = i;
      f(one);
    }
    expect(warn.mock.calls).toEqual([
      [
        "compile: step was recorded 16 times because fields of modules keep changing, last Net.seen. " +
          "Keep counters and histories outside of modules, and numbers that ops use in a scalar(…).",
      ],
    ]);
    warn.mockRestore();
  });
  test("options of the library's layers", () => {
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
  test("methods besides forward count, and prototypes are as before", () => {
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
  test("training goes on with parameters that were replaced", () => {
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

describe("state set inside is refused, and left as it was", () => {
  const bodies: Record<string, [(net: Net, x: Tensor) => unknown, string]> = {
    "a tensor": [(net, x) => (net.h = net.h.add(x)), "Net.h"],
    "a count": [(net) => net.scale++, "Net.scale"],
    "a flag": [(net) => (net.inverted = !net.inverted), "Net.inverted"],
    "something to look at later": [(net, x) => (net.seen = x.mul(2)), "Net.seen"],
    "a number in an object": [(net) => net.options.shift++, "Net.options.shift"],
    "an element": [(net) => net.sizes[1]!++, "Net.sizes[1]"],
    "a function": [(net) => (net.act = (x) => x.neg()), "Net.act"],
    "an element of a Map": [(net) => net.table.set("shift", net.table.get("shift")! + 1), "Net.table"],
    "a tensor in a Map": [(net, x) => net.tensors.set("h", net.tensors.get("h")!.add(x)), "Net.tensors"],
    "an element of a Set": [(net) => net.flags.add(String(net.flags.size)), "Net.flags"],
    "an element added": [(net) => net.sizes.push(3), "Net.sizes.length"],
    "a new field": [(net, x) => ((net as unknown as { late: Tensor }).late = x.add(1)), "Net.late"],
    "a field of a module inside": [
      (net) => ((net.inner as unknown as { negativeSlope: number }).negativeSlope *= 2),
      "Net.inner.negativeSlope",
    ],
  };
  for (const [name, [body, path]] of Object.entries(bodies)) {
    test(name, () => {
      class Stateful extends Net {
        override forward(x: Tensor): Tensor {
          body(this, x);
          return super.forward(x);
        }
      }
      const net = new Stateful();
      const { h, scale, inverted, seen } = net;
      const f = compile((x: Tensor) => net.forward(x));
      for (let i = 0; i < 2; i++) {
        expect(() => f(one)).toThrow(TraceError);
        expect(() => f(one)).toThrow(
          `compile: the function sets ${path.replace("Net", "Stateful")}, which would happen when it is recorded and never again. Keep state in a tensor`,
        );
      }
      expect([net.h, net.scale, net.inverted, net.seen]).toEqual([h, scale, inverted, seen]);
      expect("late" in net).toBe(false);
      expect([net.h.item(), net.tensors.get("h")!.item(), net.table.get("shift"), net.flags.size]).toEqual([
        0, 0, 0, 0,
      ]);
    });
  }
  test("by a method that the class inherits", () => {
    class A extends nn.Module {
      h = zeros([1]).keep();
      forward(x: Tensor): Tensor {
        return (this.h = this.h.add(x));
      }
    }
    class B extends A {}
    class C extends B {
      override forward(x: Tensor): Tensor {
        return super.forward(x).neg();
      }
    }
    for (const m of [new B(), new C()]) {
      const f = compile((x: Tensor) => m.forward(x));
      for (let i = 0; i < 3; i++) expect(() => f(one)).toThrow(`compile: the function sets ${m.constructor.name}.h`);
      expect(m.h.item()).toBe(0);
    }
  });
  test("in variables, plain objects, lists and maps, by the second call", () => {
    const holders: Record<string, () => (x: Tensor) => Tensor> = {
      "a variable": () => {
        let h = zeros([1]);
        return (x) => (h = h.add(x));
      },
      "a plain object": () => {
        const m = { h: zeros([1]) };
        return (x) => (m.h = m.h.add(x));
      },
      "a list": () => {
        const list = [zeros([1])];
        return (x) => {
          list[0] = list[0]!.add(x);
          return list[0].mul(2);
        };
      },
      "a map": () => {
        const map = new Map([["h", zeros([1])]]);
        return (x) => {
          map.set("h", map.get("h")!.mul(0.5).add(x));
          return map.get("h")!.neg();
        };
      },
    };
    for (const [name, make] of Object.entries(holders)) {
      const f = compile(make(), { name: "f" });
      f(one);
      // Every later call throws: none may return what an earlier one has left.
      for (let i = 0; i < 3; i++)
        expect(() => f(one), name).toThrow(
          "compile(f): the function uses a tensor that it made in an earlier call. A recorded call leaves no values in variables. " +
            "Keep state in a tensor made outside, and write it with copyFrom(…).",
        );
    }
  });
  test("after that error, a variable that is set to a new tensor outside works until the function sets it", () => {
    let h = zeros([1]);
    let isSetting = true;
    const f = compile((x: Tensor) => {
      const next = h.add(x);
      if (isSetting) h = next;
      return next;
    });
    f(one);
    expect(() => f(one)).toThrow(TraceError);
    isSetting = false;
    h = tensor([5]);
    expect([f(one).item(), f(one).item(), f(one).item()]).toEqual([6, 6, 6]);
  });
  test("kept tensors and parameters that are replaced between the first two calls are seen, whatever holds them", () => {
    class Private {
      #h = tensor([2]).keep();
      set(x: Tensor): void {
        this.#h = x;
      }
      get(): Tensor {
        return this.#h;
      }
    }
    const variable = { h: tensor([2]).keep() };
    const map = new Map([["h", tensor([2]).keep()]]);
    const list = [nn.parameter(tensor([2]))];
    const secret = new Private();
    let w = nn.parameter(tensor([2]));
    let written = tensor([2]).keep();
    const cases: Record<string, [() => Tensor, (x: Tensor) => void]> = {
      "a plain object": [() => variable.h, (x) => (variable.h = x)],
      "a map": [() => map.get("h")!, (x) => map.set("h", x)],
      "a list of parameters": [() => list[0]!, (x) => (list[0] = nn.parameter(x))],
      "a private field": [() => secret.get(), (x) => secret.set(x)],
      "a parameter": [() => w, (x) => (w = nn.parameter(x))],
      "a tensor that the function writes": [() => written.copyFrom(written.add(0)), (x) => (written = x)],
    };
    for (const [name, [get, set]] of Object.entries(cases)) {
      const f = compile((x: Tensor) => x.mul(get()));
      const before = f(one).item();
      set(tensor([3]).keep());
      expect([name, before, f(one).item(), f(one).item()]).toEqual([name, 2, 3, 3]);
    }
  });
  test("kept state that the function replaces throws by the second call, and ever after", () => {
    let h = zeros([1]).keep();
    let kept = zeros([1]).keep();
    const o = { h: zeros([1]).keep() };
    const map = new Map([["h", zeros([1]).keep()]]);
    let p = nn.parameter(zeros([1]));
    const bodies: Record<string, (x: Tensor) => Tensor> = {
      "a variable": (x) => (h = h.add(x)),
      "a variable, kept": (x) => (kept = kept.add(x).keep()),
      "a plain object": (x) => (o.h = o.h.add(x)),
      "a map": (x) => map.set("h", map.get("h")!.add(x)).get("h")!,
      "a parameter": (x) => (p = p.mul(2).add(x)),
    };
    for (const [name, body] of Object.entries(bodies)) {
      const f = compile(body);
      f(one);
      for (let i = 0; i < 3; i++) expect(() => f(one), name).toThrow(TraceError);
    }
  });
  test("training steps are recorded once: of modules, of parameters alone, with EMA, and with running statistics", () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Tanh(), new nn.Linear(4, 1));
    const w = nn.parameter(zeros([1]));
    const y = zeros([2, 1]);
    const of = (params: Tensor[]) => [
      new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
      new optim.Adam(params, { lr: 0.1 }),
      new optim.NAdam(params, { lr: 0.1 }),
      new optim.RMSProp(params, { lr: 0.1, centered: true }),
    ];
    const ema = new optim.EMA(model.parameters());
    for (const optimizer of of(model.parameters())) {
      let recorded = 0;
      const step = compile((x: Tensor, y: Tensor) => {
        recorded++;
        const loss = optimizer.minimize(() => losses.mse(model.forward(x), y));
        ema.update();
        return loss;
      });
      for (let i = 0; i < 4; i++) step(randn([2, 3]), y);
      expect([optimizer.constructor.name, recorded]).toEqual([optimizer.constructor.name, 1]);
    }
    const optimizer = new optim.Adam([w], { lr: 0.1 });
    let recorded = 0;
    const step = compile((x: Tensor) => {
      recorded++;
      return optimizer.minimize(() => x.mul(w).square().mean());
    });
    for (let i = 0; i < 4; i++) step(one);
    expect(recorded).toBe(1);
  });
  test("a loose tensor that is replaced between the first two calls is seen; with nothing replaced, f runs twice and no more", () => {
    let factor = tensor([2]);
    let recorded = 0;
    const f = compile((x: Tensor) => {
      recorded++;
      return x.mul(factor);
    });
    expect(f(one).item()).toBe(2);
    factor = tensor([3]);
    expect([f(one).item(), f(one).item(), f(one).item()]).toEqual([3, 3, 3]);
    expect(recorded).toBe(4);
  });
  test("state kept with copyFrom works", () => {
    const h = zeros([1]);
    const f = compile((x: Tensor) => {
      h.copyFrom(h.add(x));
      return h.mul(1);
    });
    expect([f(one).item(), f(one).item(), f(one).item()]).toEqual([1, 2, 3]);
  });
  test("a tensor of a recording that is used later says what became of it", () => {
    let kept: Tensor | undefined;
    const f = compile((x: Tensor) => {
      kept = x.mul(2);
      return kept.add(1);
    });
    expect(f(one).item()).toBe(3);
    expect(() => kept!.add(1)).toThrow(
      "made by mul was disposed by compile, which gave it no value. Keep state in a tensor made outside, and write it with copyFrom(…).",
    );
  });
  test("modules that the function makes are its own", () => {
    class Counter extends nn.Module {
      calls = 0;
      forward(x: Tensor): Tensor {
        return x.add(++this.calls);
      }
    }
    const f = compile((x: Tensor) => new Counter().forward(x));
    expect([f(one).item(), f(one).item()]).toEqual([2, 2]);
  });
});
