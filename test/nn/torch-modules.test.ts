/** Recurrent layers and attention against PyTorch: results and gradients of inputs and parameters, eager and compiled. */
import { compile, nn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { build, expectTorch, load, loadArgument, values } from "../support/torch.ts";

/** The tensors in a nested result, in order. */
const flat = (v: unknown): Tensor[] => (Array.isArray(v) ? v.flatMap(flat) : v ? [v as Tensor] : []);

describe(`modules agree with PyTorch ${values.torch}`, () => {
  for (const one of values.modules) {
    test(one.name, () =>
      tidy(() => {
        const module = build(one);
        const inputs = one.inputs.map(loadArgument);
        const leaves = flat(inputs.flatMap((x) => (Object.getPrototypeOf(x) === Object.prototype ? [] : x))).filter(
          (x) => x.dtype === "float32",
        );
        for (const x of leaves) x.requiresGrad = true;
        const outputs = flat(module.forward(...inputs));
        expect(outputs.length).toBe(one.out.length);
        outputs.forEach((y, i) => expectTorch(y, one.out[i]!, `result ${i}`));
        const loss = outputs.map((y, i) => y.mul(load(one.dy[i]!)).sum()).reduce((a, b) => a.add(b));
        loss.backward();
        leaves.forEach((x, i) => expectTorch(x.grad!, one.dx[i]!, `gradient by input ${i}`));
        const named = Object.fromEntries(module.namedParameters());
        for (const [name, stored] of Object.entries(one.grads)) expectTorch(named[name]!.grad!, stored, name);

        // The compiled function produces the same bits for results and gradients.
        const eager = [...outputs, ...module.parameters().map((p) => p.grad!)].map((x) => x.data);
        for (const x of leaves) x.requiresGrad = false;
        module.zeroGrad();
        const dys = one.dy.map(load);
        const step = compile((xs: unknown[], seeds: Tensor[]) => {
          module.zeroGrad();
          const ys = flat(module.forward(...xs));
          const total = ys.map((y, i) => y.mul(seeds[i]!).sum()).reduce((a, b) => a.add(b));
          total.backward();
          return ys.map((y) => y.detach());
        });
        for (let call = 0; call < 2; call++) {
          const ys = step(inputs, dys);
          const compiled = [...ys, ...module.parameters().map((p) => p.grad!)].map((x) => x.data);
          compiled.forEach((data, i) => expect(data, `compiled, array ${i}, call ${call}`).toEqual(eager[i]));
        }
        step.dispose();
        module.dispose();
      }),
    );
  }
});

describe("recurrent layers reject invalid inputs", () => {
  const x = () => tensor(new Float32Array(24), [4, 2, 3]);
  test.each<[string, () => unknown, RegExp]>([
    ["sizes", () => new nn.LSTM(0, 5), /LSTM: inputSize must be a whole number above 0, got 0/],
    [
      "another number of features",
      () => new nn.GRU(4, 5).forward(x()),
      /GRU: x must be \[steps, batch, 4\], or without the batch, got \[4, 2, 3\]/,
    ],
    [
      "states of another shape",
      () => new nn.RNN(3, 5).forward(x(), tensor(new Float32Array(5), [1, 1, 5])),
      /RNN: the initial state must be \[1, 2, 5\] \(\[layers·directions, batch, hidden\]\), got \[1, 1, 5\]/,
    ],
    [
      "lengths that are too long",
      () => new nn.LSTM(3, 5).forward(x(), undefined, { lengths: [5, 1] }),
      /lstm: sequence 0 has length 5, but lengths must be in 0 … 4/,
    ],
    [
      "a wrong number of lengths",
      () => new nn.LSTM(3, 5).forward(x(), undefined, { lengths: [1] }),
      /lstm: the list of lengths must be \[2\], got \[1\]/,
    ],
    [
      "lengths of another element type",
      () => new nn.LSTM(3, 5).forward(x(), undefined, { lengths: tensor([1.5, 2]) }),
      /lstm: the list of lengths must be int32, got float32\. Convert it with \.to\("int32"\)/,
    ],
    [
      "an unknown nonlinearity",
      () => new nn.RNN(3, 5, { nonlinearity: "elu" as "relu" }),
      /RNN: nonlinearity must be one of tanh, relu, got "elu"/,
    ],
    [
      "a sequence without steps",
      () => new nn.GRU(3, 5).forward(tensor(new Float32Array(0), [0, 2, 3])),
      /gru: the sequence \[0, 2, 3\] has no steps/,
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});

test("dropout between recurrent layers is active only in training, and not after the last layer", () => {
  const module = new nn.GRU(3, 4, { numLayers: 2, dropout: 1 });
  const x = tensor(new Float32Array(24).fill(1), [4, 2, 3]);
  const [trained] = module.forward(x);
  module.eval();
  const [evaluated] = module.forward(x);
  expect(trained.data).not.toEqual(evaluated.data);
  // If the output of layer 0 is dropped, layer 1 receives zeros. The output of layer 1 itself is not dropped.
  expect(trained.data.some((v) => v !== 0)).toBe(true);
});
