/** summary(model, inputShape), and SpectralNorm. */
import { compile, manualSeed, memory, nn, optim, randn, summary, type Tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";

describe("summary", () => {
  const model = () =>
    new nn.Sequential(
      new nn.Conv2d(1, 8, 3, { padding: 1 }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(14 * 14 * 8, 10),
    );

  test("lists layers, shapes, parameters, FLOPs and bytes, and changes nothing", () => {
    const net = model();
    summary(net, [32, 28, 28, 1]); // creates scalar operands, which are kept
    const before = { tensors: memory().tensors, mean: (net.layers[1] as nn.BatchNorm2d).runningMean!.data };
    const made = summary(net, [32, 28, 28, 1]);
    expect(memory().tensors).toBe(before.tensors);
    expect((net.layers[1] as nn.BatchNorm2d).runningMean!.data).toEqual(before.mean);
    expect(Object.hasOwn(net, "forward")).toBe(false);
    expect(made.rows.map(({ name, outputs }) => [name, ...outputs])).toEqual([
      ["", [32, 10]],
      ["0", [32, 28, 28, 8]],
      ["1", [32, 28, 28, 8]],
      ["2", [32, 28, 28, 8]],
      ["3", [32, 14, 14, 8]],
      ["4", [32, 1568]],
      ["5", [32, 10]],
    ]);
    expect(made.parameters).toBe(80 + 16 + 15690);
    // Two FLOPs per weight and pixel.
    expect(made.rows[1]!.flops).toBe(2 * 32 * 28 * 28 * 8 * 9);
    expect(made.rows[6]!.flops).toBe(2 * 32 * 1568 * 10);
    // BatchNorm also stores means, variances and a count.
    expect(made.parameterBytes).toBe(4 * (made.parameters + 17));
    const lines = String(made).split("\n");
    expect(lines[0]).toMatch(/^layer +output +parameters +FLOP +bytes$/);
    expect(lines[2]).toMatch(/^ {2}0: Conv2d +\[32, 28, 28, 8\] +80 +3\.61 M +803 kB$/);
    expect(lines.at(-1)).toBe("15,786 parameters (63.2 kB with buffers), 6.62 MFLOP forward");
  });

  test("supports several inputs, indices, list results, and modules that are called twice", () => {
    const tied = new nn.Linear(6, 6);
    const twice = summary(new nn.Sequential(tied, new nn.ReLU(), tied), [3, 6]);
    expect(twice.rows.map(({ name, type }) => `${name} ${type}`)).toEqual([
      " Sequential",
      "0 Linear",
      "1 ReLU",
      "0 Linear",
    ]);
    expect(twice.parameters).toBe(42);
    expect(summary(new nn.LSTM(4, 5), [7, 2, 4]).rows[0]!.outputs).toEqual([
      [7, 2, 5],
      [1, 2, 5],
      [1, 2, 5],
    ]);
    expect(
      summary(new nn.TransformerDecoderLayer(8, 2), [
        [5, 2, 8],
        [4, 2, 8],
      ]).rows[0]!.outputs,
    ).toEqual([[5, 2, 8]]);
    expect(summary(new nn.Embedding(10, 3), [2, 4], { dtype: "int32" }).rows[0]!.outputs).toEqual([[2, 4, 3]]);
  });

  test("keeps an instance's forward, counts tied weights once, and counts no FLOPs for lookups", () => {
    class Own extends nn.Module {
      readonly inner = new nn.Linear(2, 3);
      override forward = (x: Tensor): Tensor => this.inner.forward(x);
    }
    const own = new Own();
    expect(summary(own, [1, 2]).rows.length).toBe(2);
    expect(own.forward(randn([1, 2])).shape).toEqual([1, 3]);
    class Tied extends nn.Module {
      readonly embedding = new nn.Embedding(10, 4);
      readonly weight = this.embedding.weight;
      forward(places: Tensor, x: Tensor): Tensor {
        return this.embedding.forward(places).add(x).matmul(this.weight.t());
      }
    }
    const tied = summary(new Tied(), [[3], [3, 4]], { dtype: ["int32", "float32"] });
    expect([tied.parameters, tied.parameterBytes]).toEqual([40, 160]);
    expect(tied.rows[1]!.flops).toBe(0);
  });

  test("throws the model's own error for an invalid input, and restores the model", () => {
    const net = model();
    expect(() => summary(net, [32, 10, 10, 1])).toThrow(/linear: \[32, 200\] does not fit/);
    expect(Object.hasOwn(net.layers[5]!, "forward")).toBe(false);
  });
});

describe("spectral normalization", () => {
  /** The largest singular value, by power iteration on WᵀW. */
  const sigma = (w: Tensor): number => {
    let v = randn([w.shape[1]!]);
    for (let i = 0; i < 200; i++) v = w.t().matmul(w.matmul(v)).div(w.matmul(v).norm());
    return w.matmul(v).norm().div(v.norm()).item();
  };

  test("makes the largest singular value of the weight 1, in training and evaluation mode", () => {
    tidy(() => {
      manualSeed(3);
      const layer = new nn.SpectralNorm(new nn.Linear(6, 4, { bias: false }), { nPowerIterations: 50 });
      const x = randn([5, 6]);
      const y = layer.forward(x);
      expect(sigma(layer.weight)).toBeCloseTo(1, 4);
      expectClose(y.mul(sigma(layer.layer.weight)).data, layer.layer.forward(x).data, 1e-4);
      layer.eval();
      expectClose(layer.forward(x).data, y.data, 1e-6);
      expect(Object.keys(layer.stateDict()).sort()).toEqual(["layer.weight", "u", "v"]);
    });
  });

  test("trains a convolution with the same bits in eager and compiled mode", () => {
    const run = (compiled: boolean): number[][] => {
      manualSeed(5);
      const model = new nn.SpectralNorm(new nn.Conv2d(2, 3, 3));
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
      const x = randn([2, 5, 5, 2]);
      const step = (images: Tensor) => optimizer.minimize(() => model.forward(images).square().mean());
      const stepper = compiled ? compile(step) : step;
      const losses = [0, 1, 2, 3].map(() => stepper(x).item());
      return [losses, ...Object.values(model.stateDict()).map((p) => Array.from(p.data))];
    };
    const eager = run(false);
    expect(eager[0]![3]).toBeLessThan(eager[0]![0]!);
    expect(run(true)).toEqual(eager);
  });

  test("the last dimension of a transposed convolution's weight counts as its outputs", () => {
    const layer = new nn.SpectralNorm(new nn.ConvTranspose2d(2, 5, 3));
    expect([layer.u.shape, layer.v.shape]).toEqual([[5], [18]]);
  });

  test("rejects a layer without a weight matrix", () => {
    expect(() => new nn.SpectralNorm(new nn.LayerNorm(4) as never)).toThrow(
      "SpectralNorm: LayerNorm has no weight with two or more dimensions.",
    );
  });
});
