import { memory, nn, noGrad, rand, randn, type Tensor, zeros } from "nabla";
import { describe, expect, test, vi } from "vitest";

/** ‖a − b‖ / ‖b‖. */
const difference = (a: Tensor, b: Tensor): number => a.sub(b).norm().item() / b.norm().item();

const image = randn([2, 9, 9, 6]).keep();
const sequence = randn([20, 3, 6]).keep();

describe("what stays in float32", () => {
  class Positions extends nn.Module {
    table = nn.parameter(randn([5, 4]));
    linear = new nn.Linear(4, 4);
    norm = new nn.LayerNorm(4);
    forward(x: Tensor): Tensor {
      return this.norm.forward(this.linear.forward(x.add(this.table)));
    }
  }
  test("weights of unknown classes are in the report and in a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const model = new nn.Sequential(new Positions(), new nn.Linear(4, 2));
    const quantized = await nn.quantize(model);
    expect(warn.mock.calls).toEqual([
      [
        "nabla: quantize left 0.table (quantize does not know this class) in float32. To hide this warning, list the modules in { skip }.",
      ],
    ]);
    warn.mockRestore();
    const report = nn.quantizationReport(quantized)!;
    expect(report.weights.map(({ name, reason }) => [name, reason !== ""])).toEqual([
      ["0.table", true],
      ["0.linear.weight", false],
      ["1.weight", false],
    ]);
    expect(`${report}`).toContain("float32: quantize does not know this class");
    expect(`${report}`).toContain("176 B in float32, 128 B now");
    expect(quantized.forward(rand([5, 4])).shape).toEqual([5, 2]);
  });
  test("a quantized model, which can be neither quantized again nor fused", async () => {
    const quantized = new nn.Sequential(
      await nn.quantize(new nn.Sequential(new nn.Conv2d(1, 2, 3), new nn.BatchNorm2d(2)).eval()),
      new nn.Linear(4, 2),
    );
    const message = (op: string): string =>
      `${op}: 0.0 (Conv2d) is quantized. Call ${op} on the model that you quantized.`;
    await expect(nn.quantize(quantized)).rejects.toThrow(message("quantize"));
    expect(() => nn.fuse(quantized)).toThrow(message("fuse"));
  });

  test("modules in skip", async () => {
    const warn = vi.spyOn(console, "warn");
    const quantized = await nn.quantize(new nn.Sequential(new Positions(), new nn.Linear(4, 2)), { skip: ["0"] });
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
    expect(Object.keys(quantized.stateDict())).toContain("0.linear.weight");
    expect(Object.keys(quantized.stateDict())).toContain("1.int8");
    for (const [model, path, message] of [
      [new nn.Sequential(new nn.Linear(4, 2)), "1", /^quantize: skip must be one of 0, got "1"\. Did you mean "0"\?$/],
      [new nn.Sequential(new nn.Linear(4, 2)), "", /^quantize: skip must be one of 0, got ""\. Did you mean "0"\?$/],
      [new nn.Linear(4, 2), "weight", /^quantize: skip must be empty, got "weight"\.$/],
      [
        new nn.Sequential(...Array.from({ length: 60 }, () => new nn.Linear(1, 1))),
        "head",
        /^quantize: skip must be one of 0, 1, .* 19, … \(60 in all\), got "head"\.$/,
      ],
    ] as const)
      await expect(nn.quantize(model, { skip: [path] })).rejects.toThrow(message);
  });
  test("normalizations, without a warning", async () => {
    const warn = vi.spyOn(console, "warn");
    const model = new nn.Sequential(new nn.LayerNorm([3, 4]), new nn.RMSNorm([3, 4]), new nn.BatchNorm1d(4)).eval();
    const quantized = await nn.quantize(model);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
    expect(nn.quantizationReport(quantized)!.weights).toEqual([]);
    const x = rand([2, 3, 4]);
    expect(quantized.forward(x).data).toEqual((model.forward(x) as Tensor).data);
  });
  test("layers in SpectralNorm", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const model = new nn.Sequential(new nn.SpectralNorm(new nn.Linear(4, 4)), new nn.Linear(4, 2)).eval();
    const quantized = await nn.quantize(model);
    expect(warn.mock.calls[0]![0]).toContain("0.layer.weight (SpectralNorm replaces its weight)");
    warn.mockRestore();
    const x = rand([5, 4]);
    expect(difference(quantized.forward(x) as Tensor, model.forward(x) as Tensor)).toBeLessThan(1.5e-2);
    expect(Object.keys(quantized.stateDict())).toContain("1.int8");
  });
  test("layers with their own forward, and very long rows", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    class Own extends nn.Linear {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    const attention = new nn.MultiheadAttention(2, 1);
    Object.assign(attention, { inProjWeight: nn.parameter(zeros([1, 140_000])) });
    await nn.quantize(new nn.Sequential(new Own(2, 2), new nn.Linear(140_000, 1), attention));
    expect(warn.mock.calls[0]![0]).toContain("0.weight (its class has its own forward)");
    expect(warn.mock.calls[0]![0]).toContain("1.weight (its rows are longer than 131072)");
    expect(warn.mock.calls[0]![0]).toContain("2.inProjWeight (its rows are longer than 131072)");
    warn.mockRestore();
  });
});

describe("errors", () => {
  test("quantize rejects weights that are not finite", async () => {
    const model = new nn.Sequential(new nn.Linear(2, 2));
    const { tensors } = memory();
    (model.parameters()[0] as Tensor).live()[1] = Number.NaN;
    await expect(nn.quantize(model)).rejects.toThrow(
      'quantize: "0.weight" contains NaN. Quantize a model whose weights are finite.',
    );
    expect(memory().tensors).toBeLessThanOrEqual(tensors);
  });
  test.each(["int8", "int4", "float16"] as const)("a failed call leaves no tensors, %s", async (dtype) => {
    class Own extends nn.Linear {
      readonly #secret = 1;
      read(): number {
        return this.#secret;
      }
    }
    const bad = new nn.Linear(40, 2);
    (bad.weight as Tensor).live()[3] = Number.POSITIVE_INFINITY;
    const inner = (): nn.Module[] => [new nn.MultiheadAttention(40, 2), new nn.GRU(40, 3), new nn.Linear(4, 4)];
    for (const model of [
      new nn.Sequential(bad, ...inner()),
      new nn.Sequential(new Own(2, 2), ...inner(), new nn.BatchNorm1d(4)),
    ]) {
      const { tensors } = memory();
      await expect(nn.quantize(model, { dtype, skip: model[0] === bad ? [] : ["0"] })).rejects.toThrow(
        /contains Infinity|#private members/,
      );
      expect(memory().tensors).toBe(tensors);
    }
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.BatchNorm1d(2), new Own(2, 2)).eval();
    const { tensors } = memory();
    expect(() => nn.fuse(model)).toThrow("#private members");
    expect(memory().tensors).toBe(tensors);
  });
  test("a layer whose forward was replaced", async () => {
    const layer = new nn.Linear(2, 2);
    Object.assign(layer, { forward: (x: Tensor) => x });
    vi.spyOn(console, "warn").mockImplementationOnce(() => {});
    await expect(nn.quantize(layer)).rejects.toThrow(
      "quantize: cannot copy Linear, because its forward is a property. Make it a method.",
    );
  });
  test("weightsOnly with another format", async () => {
    await expect(nn.quantize(new nn.Linear(2, 2), { dtype: "int4", weightsOnly: true })).rejects.toThrow(
      'quantize: weightsOnly is for int8 only, but dtype is "int4". Leave out weightsOnly.',
    );
  });
  test("a quantized model can be neither trained nor differentiated", async () => {
    const quantized = await nn.quantize(
      new nn.Sequential(new nn.Linear(2, 3), new nn.LayerNorm(3), new nn.Linear(3, 1)),
    );
    expect(() => quantized.train().forward(rand([2, 2]))).toThrow(
      "QuantizedLinear: a quantized model cannot be trained. Call eval() on it, and train the original model instead.",
    );
    quantized.eval();
    const x = rand([2, 2]);
    x.requiresGrad = true;
    expect(() => quantized.forward(x)).toThrow(
      "QuantizedLinear: a quantized layer has no gradients, but the input requires one. Call forward in noGrad(() => …), or pass x.detach().",
    );
    expect(noGrad(() => quantized.forward(x) as Tensor).requiresGrad).toBe(false);
    expect(quantized.forward(rand([2, 2])).requiresGrad).toBe(false);
    expect(quantized.parameters().every((p) => !p.requiresGrad)).toBe(true);
  });
  test.each(["int8", "float16"] as const)(
    "an input that requires a gradient, or training, in every layer, %s",
    async (dtype) => {
      const layers: [nn.Module, Tensor][] = [
        [new nn.Conv2d(6, 2, 3), image],
        [new nn.LSTM(6, 2), sequence],
        [new nn.GRUCell(6, 2), sequence.narrow(0, 0, 1).squeeze(0)],
        [new nn.MultiheadAttention(6, 2), sequence],
      ];
      for (const [layer, input] of layers) {
        const quantized = await nn.quantize(layer, { dtype });
        const x = input.clone();
        x.requiresGrad = true;
        expect(() => quantized.forward(x)).toThrow(
          /: a quantized layer has no gradients, but the input requires one\. /,
        );
        noGrad(() => quantized.forward(x));
        quantized.train();
        expect(() => quantized.forward(input)).toThrow(/: a quantized model cannot be trained\. Call eval\(\) on it/);
      }
    },
  );
  test("unknown formats, and numbers that are too large for float16", async () => {
    const model = new nn.Sequential(new nn.Linear(2, 2));
    await expect(nn.quantize(model, { dtype: "float8" as "int8" })).rejects.toThrow(
      /^quantize: dtype must be one of int8, int4, float16, bfloat16, got "float8"\./,
    );
    (model.parameters()[0] as Tensor).live()[2] = 70_000;
    await expect(nn.quantize(model, { dtype: "float16" })).rejects.toThrow(
      'quantize: "0.weight" contains 70000, which float16 cannot hold. Use bfloat16.',
    );
    const quantized = await nn.quantize(model, { dtype: "bfloat16" });
    expect((quantized.layers[0] as nn.Linear).weight.data[2]).toBe(70_144);
    (model.parameters()[0] as Tensor).live()[2] = 3.4e38;
    await expect(nn.quantize(model, { dtype: "bfloat16" })).rejects.toThrow(
      /contains 3\.39\d+e\+38, which bfloat16 cannot hold\. List its module in \{ skip \}\./,
    );
  });
  test("a quantized layer rejects an input of the wrong size", async () => {
    const quantized = await nn.quantize(new nn.Linear(2, 3));
    expect(() => quantized.forward(rand([2, 3]))).toThrow(
      "QuantizedLinear: [2, 3] does not fit the weight [3, 2]: the last size must be 2.",
    );
  });
});
