/** nn.fuse in models with modules of their own, through which it follows the tensors. */
import { nn, randn, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { difference, kinds, norms, requireFused, train } from "../support/fuse.ts";

/** A residual block, as in ResNet. */
class Block extends nn.Module {
  conv1: nn.Conv2d;
  bn1: nn.BatchNorm2d;
  conv2: nn.Conv2d;
  bn2: nn.BatchNorm2d;
  downsample: nn.Sequential | null;
  constructor(channels: number, out: number, stride = 1) {
    super();
    this.conv1 = new nn.Conv2d(channels, out, 3, { stride, padding: 1, bias: false });
    this.bn1 = new nn.BatchNorm2d(out);
    this.conv2 = new nn.Conv2d(out, out, 3, { padding: 1, bias: false });
    this.bn2 = new nn.BatchNorm2d(out);
    this.downsample =
      stride > 1 ? new nn.Sequential(new nn.Conv2d(channels, out, 1, { stride }), new nn.BatchNorm2d(out)) : null;
  }
  forward(x: Tensor): Tensor {
    const y = this.bn1.forward(this.conv1.forward(x)).relu();
    return this.bn2
      .forward(this.conv2.forward(y))
      .add(this.downsample?.forward(x) ?? x)
      .relu();
  }
}

describe("modules of your own", () => {
  const image = { inputShape: [1, 8, 8, 3] };
  test("are fused if inputShape is given", () => {
    const model = new nn.Sequential(
      new nn.Conv2d(3, 6, 3, { padding: 1 }),
      new nn.BatchNorm2d(6),
      new nn.ReLU(),
      new Block(6, 6),
      new Block(6, 12, 2),
      new nn.GlobalAvgPool2d(),
      new nn.Linear(12, 4),
    );
    const x = randn([3, 8, 8, 3]);
    const fused = requireFused(train(model), x, 0, image);
    expect(fused.layers[4]).toBeInstanceOf(Block);
    expect((fused.layers[4] as Block).conv1.bias!.shape).toEqual([12]);
    expect(() => nn.fuse(model)).toThrow(
      "fuse: 3.bn1 (BatchNorm2d) is in Block, which has its own forward, so its input is unknown. Pass { inputShape }.",
    );
  });
  test("in lists and maps, with shared modules and cycles, keep their structure", () => {
    class Net extends nn.Module {
      steps = [new nn.Linear(4, 4), new nn.BatchNorm1d(4), new nn.Tanh()];
      heads = new Map([["a", new nn.Linear(4, 2)]]);
      set = new Set([new nn.Linear(4, 2)]);
      options = { scale: 2, table: tensor([1, 2]).keep(), names: ["x"] };
      shared = this.heads.get("a")!;
      self = { net: this as nn.Module };
      f = (x: Tensor) => x.neg();
      forward(x: Tensor): Tensor {
        const y = this.steps.reduce((value, step) => step.forward(value), x);
        return this.f(this.shared.forward(y).add([...this.set][0]!.forward(y)))
          .mul(this.options.scale)
          .add(this.options.table);
      }
    }
    const net = train(new Net());
    const fused = requireFused(net, randn([5, 4]), 0, { inputShape: [2, 4] });
    expect(fused.shared).toBe(fused.heads.get("a"));
    expect(fused.self.net).toBe(fused);
    expect(fused).toBeInstanceOf(Net);
    expect(fused.options.names).not.toBe(net.options.names);
    const own = new Set(Object.values(net.stateDict()));
    for (const x of Object.values(fused.stateDict())) expect(own.has(x)).toBe(false);
    expect(fused.options.table.requiresGrad).toBe(false);
    expect(fused.buffers()).toEqual([fused.options.table]);
  });
  test("keep batch normalization whose input, layer or weight is used elsewhere", () => {
    abstract class Pair extends nn.Module {
      layer = new nn.Linear(4, 4);
      norm = new nn.BatchNorm1d(4);
    }
    const nets = {
      both: class extends Pair {
        forward(x: Tensor): Tensor {
          const y = this.layer.forward(x);
          return this.norm.forward(y).add(y);
        }
      },
      returned: class extends Pair {
        forward(x: Tensor): [Tensor, Tensor] {
          const y = this.layer.forward(x);
          return [this.norm.forward(y), y];
        }
      },
      activation: class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x).relu());
        }
      },
      tied: class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x)).matmul(this.layer.weight);
        }
      },
      twice: class extends Pair {
        forward(x: Tensor): Tensor {
          return this.layer.forward(this.norm.forward(this.layer.forward(x)));
        }
      },
      shared: class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.norm.forward(this.layer.forward(x)).relu());
        }
      },
      reshaped: class extends Pair {
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.layer.forward(x).reshape([-1, 2, 2]).flatten(1));
        }
      },
      split: class extends Pair {
        halves = new nn.BatchNorm1d(2);
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.halves.forward(this.layer.forward(x).reshape([-1, 2])).reshape([-1, 4]));
        }
      },
      computed: class extends Pair {
        v = nn.parameter(randn([4, 4]));
        forward(x: Tensor): Tensor {
          const layer = this.layer as { weight: Tensor };
          const own = layer.weight;
          layer.weight = this.v.mul(2);
          try {
            return this.norm.forward(this.layer.forward(x));
          } finally {
            layer.weight = own;
          }
        }
      },
      normalized: class extends Pair {
        wrapped = new nn.SpectralNorm(this.layer);
        forward(x: Tensor): Tensor {
          return this.norm.forward(this.wrapped.forward(x));
        }
      },
    };
    for (const [name, Net] of Object.entries(nets)) {
      const net = train(new Net()).eval();
      const fused = nn.fuse(net as nn.Module, { inputShape: [3, 4] });
      expect(norms(fused), name).toBe(norms(net));
      const x = randn([3, 4]);
      expect([fused.forward(x)].flat().map((y: Tensor) => y.data)).toEqual(
        [net.forward(x)].flat().map((y: Tensor) => y.data),
      );
    }
  });
  test("with several inputs, a Dropout between the layers, and a mode of their own", () => {
    class Net extends nn.Module {
      layer = new nn.Linear(4, 4);
      drop = new nn.Dropout(0.5);
      norm = new nn.BatchNorm1d(4);
      embedding = new nn.Embedding(5, 4);
      forward(x: Tensor, ids: Tensor): Tensor {
        const y = this.norm.forward(this.drop.forward(this.layer.forward(x)));
        return y.add(this.embedding.forward(ids));
      }
    }
    const net = train(new Net());
    net.layer.eval();
    const fused = nn.fuse(net, { inputShape: [[3, 4], [3]], dtype: ["float32", "int32"] });
    expect(net.norm.training && !net.layer.training).toBe(true);
    expect(kinds(fused)).toContain("Identity");
    const [x, ids] = [randn([3, 4]), tensor([1, 4, 0], { dtype: "int32" })];
    net.eval();
    expect(difference(fused.forward(x, ids), net.forward(x, ids))).toBeLessThan(1e-6);
  });
  test("that cannot be copied are rejected", () => {
    class Hidden extends nn.Module {
      #scale = 2;
      forward(x: Tensor): Tensor {
        return x.mul(this.#scale);
      }
    }
    class Arrow extends nn.Module {
      layer = new nn.Linear(2, 2);
      forward = (x: Tensor) => this.layer.forward(x);
    }
    class Inherited extends Hidden {}
    class Marked extends nn.Module {
      #mark = 1;
      #double(x: Tensor): Tensor {
        return x.mul(2 * this.#mark);
      }
      forward(x: Tensor): Tensor {
        return this.#double(x);
      }
    }
    for (const module of [new Hidden(), new Inherited(), new Marked()])
      expect(() => nn.fuse(new nn.Sequential(module))).toThrow(
        `fuse: cannot copy ${module.constructor.name}, because it has #private members. Use public fields and methods.`,
      );
    expect(() => nn.fuse(new Arrow(), { inputShape: [1, 2] })).toThrow(
      "fuse: cannot copy Arrow, because its forward is a property. Make it a method.",
    );
    class Selector extends nn.Module {
      selector = "a.#abc, .#abc";
      forward(x: Tensor): Tensor {
        return this.selector === "a.#abc, .#abc" ? x.neg() : x;
      }
    }
    expect(nn.fuse(new Selector()).forward(tensor([1])).data).toEqual(new Float32Array([-1]));
  });
  test("in a subclass of Sequential with its own forward are rejected without inputShape", () => {
    class Doubled extends nn.Sequential {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    const model = train(new Doubled(new nn.Linear(4, 4), new nn.BatchNorm1d(4)));
    expect(() => nn.fuse(model)).toThrow(
      "fuse: 1 (BatchNorm1d) is in Doubled, which has its own forward, so its input is unknown. Pass { inputShape }.",
    );
    requireFused(model, randn([3, 4]), 0, { inputShape: [1, 4] });
  });
});
