/** A compiled function must not set state, except with copyFrom. */
import { compile, losses, nn, optim, randn, type Tensor, TraceError, tensor, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { Net } from "./net.ts";

const one = tensor([1]).keep();

describe("state that the function sets", () => {
  const bodies: Record<string, [(net: Net, x: Tensor) => unknown, string]> = {
    "a tensor": [(net, x) => (net.h = net.h.add(x)), "Net.h"],
    "a count": [(net) => net.scale++, "Net.scale"],
    "a flag": [(net) => (net.inverted = !net.inverted), "Net.inverted"],
    "an intermediate value": [(net, x) => (net.seen = x.mul(2)), "Net.seen"],
    "a number in an object": [(net) => net.options.shift++, "Net.options.shift"],
    "an element of a list": [(net) => net.sizes[1]!++, "Net.sizes[1]"],
    "a function": [(net) => (net.act = (x) => x.neg()), "Net.act"],
    "an element of a Map": [(net) => net.table.set("shift", net.table.get("shift")! + 1), "Net.table"],
    "a tensor in a Map": [(net, x) => net.tensors.set("h", net.tensors.get("h")!.add(x)), "Net.tensors"],
    "an element of a Set": [(net) => net.flags.add(String(net.flags.size)), "Net.flags"],
    "a new element of a list": [(net) => net.sizes.push(3), "Net.sizes.length"],
    "a new field": [(net, x) => ((net as unknown as { late: Tensor }).late = x.add(1)), "Net.late"],
    "a field of a nested module": [
      (net) => ((net.inner as unknown as { negativeSlope: number }).negativeSlope *= 2),
      "Net.inner.negativeSlope",
    ],
  };
  for (const [name, [body, path]] of Object.entries(bodies)) {
    test(`setting ${name} is rejected and undone`, () => {
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
          `compile: the function sets ${path.replace("Net", "Stateful")}, which would happen only once, when it is recorded. Keep state in a tensor`,
        );
      }
      expect([net.h, net.scale, net.inverted, net.seen]).toEqual([h, scale, inverted, seen]);
      expect("late" in net).toBe(false);
      expect([net.h.item(), net.tensors.get("h")!.item(), net.table.get("shift"), net.flags.size]).toEqual([
        0, 0, 0, 0,
      ]);
    });
  }
  test("setting state in an inherited method is rejected", () => {
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
  test("setting variables, plain objects, lists and maps is rejected by the second call at the latest", () => {
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
      // Every later call throws, because it would use a tensor from an earlier call.
      for (let i = 0; i < 3; i++)
        expect(() => f(one), name).toThrow(
          "compile(f): the function uses a tensor that it made in an earlier call. Recorded calls do not set variables. " +
            "Keep state in a tensor made outside, and write it with copyFrom(…).",
        );
    }
  });
  test("after that error, the function works with a new tensor that the caller sets", () => {
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
  test("the second call sees replaced tensors and parameters in any kind of variable", () => {
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
      "a tensor that the function overwrites": [() => written.copyFrom(written.add(0)), (x) => (written = x)],
    };
    for (const [name, [get, set]] of Object.entries(cases)) {
      const f = compile((x: Tensor) => x.mul(get()));
      const before = f(one).item();
      set(tensor([3]).keep());
      expect([name, before, f(one).item(), f(one).item()]).toEqual([name, 2, 3, 3]);
    }
  });
  test("kept tensors that the function replaces are rejected from the second call on", () => {
    let h = zeros([1]).keep();
    let kept = zeros([1]).keep();
    const o = { h: zeros([1]).keep() };
    const map = new Map([["h", zeros([1]).keep()]]);
    let p = nn.parameter(zeros([1]));
    const bodies: Record<string, (x: Tensor) => Tensor> = {
      "a variable": (x) => (h = h.add(x)),
      "a variable that is kept again": (x) => (kept = kept.add(x).keep()),
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
  test("training steps are recorded once, with or without modules, EMA and running statistics", () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Tanh(), new nn.Linear(4, 1));
    const w = nn.parameter(zeros([1]));
    const y = zeros([2, 1]);
    const optimizersOf = (params: Tensor[]) => [
      new optim.SGD(params, { lr: 0.1, momentum: 0.9 }),
      new optim.Adam(params, { lr: 0.1 }),
      new optim.NAdam(params, { lr: 0.1 }),
      new optim.RMSProp(params, { lr: 0.1, centered: true }),
    ];
    const ema = new optim.EMA(model.parameters());
    for (const optimizer of optimizersOf(model.parameters())) {
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
  test("the second call sees a replaced tensor that is neither kept nor a parameter", () => {
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
  test("state that the function writes with copyFrom persists between calls", () => {
    const h = zeros([1]);
    const f = compile((x: Tensor) => {
      h.copyFrom(h.add(x));
      return h.mul(1);
    });
    expect([f(one).item(), f(one).item(), f(one).item()]).toEqual([1, 2, 3]);
  });
  test("the error for a recorded tensor that is used later names the op and the fix", () => {
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
  test("modules that the function creates may change", () => {
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
