/** nn.fuse in models that use a layer or a normalization in several places, or that keep functions or activations. */
import { compile, nn, randn, summary, type Tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { norms, requireFused, train } from "../support/fuse.ts";

abstract class Pair extends nn.Module {
  layer = new nn.Linear(4, 4);
  norm = new nn.BatchNorm1d(4);
}
/** A module that contains another one, or a list of them. */
abstract class Holder<T = nn.Linear> extends nn.Module {
  constructor(readonly of: T) {
    super();
  }
}
const shape = { inputShape: [2, 4] };

describe("without inputShape, fuse keeps", () => {
  const layerUsers: Record<string, (layer: nn.Linear) => nn.Module> = {
    "its weight": (layer) =>
      new (class extends Holder {
        forward(x: Tensor): Tensor {
          return x.matmul(this.of.weight);
        }
      })(layer),
    "its forward": (layer) =>
      new (class extends Holder {
        forward(x: Tensor): Tensor {
          return this.of.forward(x);
        }
      })(layer),
    "a list with it": (layer) =>
      new (class extends Holder<nn.Linear[]> {
        forward(x: Tensor): Tensor {
          return this.of[0]!.forward(x);
        }
      })([layer]),
    "a Map in a nested module": (layer) => {
      class Inner extends Holder<Map<string, { layer: nn.Linear }>> {
        forward(x: Tensor): Tensor {
          return x.add(this.of.get("a")!.layer.bias!);
        }
      }
      return new (class extends Holder<Inner> {
        forward(x: Tensor): Tensor {
          return this.of.forward(x);
        }
      })(new Inner(new Map([["a", { layer }]])));
    },
  };
  for (const [name, make] of Object.entries(layerUsers)) {
    test(`a layer if another module uses ${name}`, () => {
      const layer = new nn.Linear(4, 4);
      const model = new nn.Sequential(layer, new nn.BatchNorm1d(4), make(layer));
      requireFused(train(model), randn([5, 4]), 1);
      requireFused(train(new nn.Sequential(make(layer), layer, new nn.BatchNorm1d(4))), randn([5, 4]), 1);
      requireFused(train(model), randn([5, 4]), 1, shape);
    });
  }
  test("batch normalization that another module uses", () => {
    class Scaled extends Holder<nn.BatchNorm1d> {
      forward(x: Tensor): Tensor {
        return x.mul(this.of.weight!);
      }
    }
    const norm = new nn.BatchNorm1d(4);
    requireFused(train(new nn.Sequential(new nn.Linear(4, 4), norm, new Scaled(norm))), randn([5, 4]), 1);
    requireFused(train(new nn.Sequential(new nn.Linear(4, 4), norm, new Scaled(norm))), randn([5, 4]), 1, shape);
  });
});

describe("with inputShape, fuse keeps batch normalization", () => {
  const nets: Record<string, () => Pair> = {
    "if the layer's bias is used": () =>
      new (class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x)).add(this.layer.bias!);
        }
      })(),
    "if its weight is used": () =>
      new (class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x)).mul(this.norm.weight!);
        }
      })(),
    "if its statistics are used": () =>
      new (class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x)).add(this.norm.runningMean!);
        }
      })(),
    "if its input is a weight": () =>
      new (class extends Pair {
        forward(x: Tensor): Tensor {
          return x.matmul(this.norm.forward(this.layer.weight));
        }
      })(),
    "if forward replaces the layer's bias": () =>
      new (class extends Pair {
        other = nn.parameter(randn([4]));
        forward(x: Tensor): Tensor {
          const layer = this.layer as { bias: Tensor | null };
          const own = layer.bias;
          layer.bias = this.other;
          try {
            return this.norm.forward(this.layer.forward(x));
          } finally {
            layer.bias = own;
          }
        }
      })(),
  };
  for (const [name, make] of Object.entries(nets)) {
    test(name, () => {
      requireFused(train(make()), randn([4, 4]), 1, shape);
    });
  }
});

describe("functions in properties that use the model", () => {
  class Block extends Pair {
    block = (x: Tensor): Tensor => this.norm.forward(this.layer.forward(x));
    forward(x: Tensor): Tensor {
      return this.block(x);
    }
  }
  class Compiled extends Pair {
    run = compile((x: Tensor) => this.norm.forward(this.layer.forward(x)));
    forward(x: Tensor): Tensor {
      return this.run(x);
    }
  }
  class Listed extends Pair {
    steps = { all: [(x: Tensor): Tensor => x.matmul(this.layer.weight)] };
    forward(x: Tensor): Tensor {
      return this.steps.all[0]!(x);
    }
  }
  class Drop extends nn.Module {
    drop = new nn.Dropout(0.5);
    f = (x: Tensor): Tensor => this.drop.forward(x);
    forward(x: Tensor): Tensor {
      return this.f(x);
    }
  }
  class Noise extends nn.Module {
    f = (x: Tensor): Tensor => (this.training ? x.add(randn(x.shape)) : x);
    forward(x: Tensor): Tensor {
      return this.f(x);
    }
  }
  class Getter extends Pair {
    constructor() {
      super();
      const { layer } = this;
      Object.defineProperty(this, "same", { enumerable: true, get: () => layer });
    }
    declare same: nn.Linear;
    forward(x: Tensor): Tensor {
      return this.same.forward(x);
    }
  }
  const all = { Block, Compiled, Listed, Drop, Noise, Getter };
  for (const [name, Net] of Object.entries(all)) {
    test(`are rejected: ${name}`, () => {
      const net: nn.Module = train(new Net());
      const before = Object.values(net.stateDict()).map(({ data }) => data);
      expect(() => nn.fuse(net, shape)).toThrow(
        `fuse: the copy of ${name} uses the model through a function or a variable. Make it a method that uses this.`,
      );
      if (!(net instanceof Pair))
        expect(() => nn.fuse(new nn.Sequential(net))).toThrow(
          `fuse: the copy of ${name} may use the model through a function (f). Make it a method, or pass { inputShape }.`,
        );
      // The model is unchanged, and still runs in training mode.
      expect(Object.values(net.stateDict()).map(({ data }) => data)).toEqual(before);
      expect(net.training).toBe(true);
      expect((net.forward(randn([3, 4])) as Tensor).shape).toEqual([3, 4]);
    });
  }
  test("are rejected if a method uses a module in a variable", () => {
    const layer = new nn.Linear(4, 4);
    class Closed extends nn.Module {
      forward(x: Tensor): Tensor {
        return layer.forward(x);
      }
    }
    const model = train(new nn.Sequential(layer, new nn.BatchNorm1d(4), new Closed()));
    expect(() => nn.fuse(model, shape)).toThrow("fuse: the copy of Closed uses the model");
  });
  test("are allowed if they use no model, or if inputShape is given", () => {
    class Negated extends nn.Module {
      f = (x: Tensor): Tensor => x.neg();
      forward(x: Tensor): Tensor {
        return this.f(x);
      }
    }
    class Activated extends Pair {
      f = (x: Tensor): Tensor => x.relu();
      forward(x: Tensor): Tensor {
        return this.f(this.norm.forward(this.layer.forward(x)));
      }
    }
    const model = new nn.Sequential(new nn.Linear(4, 4), new nn.BatchNorm1d(4), new Negated());
    requireFused(train(model), randn([3, 4]), 0);
    requireFused(train(new Activated()), randn([3, 4]), 0, shape);
  });
});

describe("modules that keep activations", () => {
  class Net extends Pair {
    seen: Tensor | null = null;
    log: Tensor[] = [];
    calls = 0;
    forward(x: Tensor): Tensor {
      this.calls++;
      this.seen = this.norm.forward(this.layer.forward(x));
      this.log.push(this.seen);
      return this.seen;
    }
  }
  test("are fused and do not change", () => {
    const net = train(new Net());
    const fused = nn.fuse(net, shape);
    expect(norms(fused)).toBe(0);
    for (const each of [net, fused]) expect([each.seen, each.log, each.calls]).toEqual([null, [], 0]);
    summary(net, [2, 4]);
    expect([net.seen, net.log, net.calls]).toEqual([null, [], 0]);
  });
  test("are not folded if they keep the layer's result", () => {
    class Kept extends Pair {
      seen: Tensor[] = [];
      forward(x: Tensor): Tensor {
        this.seen = [this.layer.forward(x)];
        return this.norm.forward(this.seen[0]!);
      }
    }
    const net = train(new Kept());
    const fused = nn.fuse(net, shape);
    expect([net.seen, norms(fused)]).toEqual([[], 1]);
    const x = randn([3, 4]);
    expect(fused.forward(x).data).toEqual(net.eval().forward(x).data);
    expect(fused.seen[0]!.data).toEqual(net.seen[0]!.data);
  });
  test("can keep a disposed one", () => {
    const net = train(new Net()).eval();
    tidy(() => void net.forward(randn([2, 4])));
    const { seen } = net;
    expect(seen!.isDisposed).toBe(true);
    const fused = nn.fuse(net, shape);
    expect(net.seen).toBe(seen);
    expect(() => fused.seen!.data).toThrow("was disposed by the end of its scope");
    expect(norms(fused)).toBe(0);
  });
  test("but not a disposed parameter", () => {
    const net = new nn.Linear(4, 4);
    net.dispose();
    expect(() => nn.fuse(net)).toThrow("fuse: the float32 tensor [4, 4] made by full was disposed by dispose().");
  });
});

test("errors about reading values name fuse", () => {
  class Reads extends nn.Module {
    forward(x: Tensor): Tensor {
      return x.mul(x.sum().item());
    }
  }
  expect(() => nn.fuse(new Reads(), shape)).toThrow("has no value while fuse records the function.");
  expect(() => summary(new Reads(), [2, 4])).toThrow("has no value while summary records the function.");
});
