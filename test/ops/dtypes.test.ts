/** All layers and matrix products convert inputs that are not float32 by the same rule, and never convert weights. */
import { compile, dot, einsum, linear, matmul, nn, ones, randn, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";

const whole = (shape: number[], dtype: "int32" | "uint8" | "bool"): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i % 2),
    shape,
  ).to(dtype);

/** Functions and layers, each with the shape of its input. */
const takers: [name: string, shape: number[], f: (x: Tensor) => Tensor][] = [
  ["matmul, on the left", [3, 4], (x) => x.matmul(weights.wide)],
  ["matmul, on the right", [4, 3], (x) => matmul(weights.tall, x)],
  ["dot", [4], (x) => dot(x, weights.row)],
  ["einsum", [3, 4], (x) => einsum("ij,jk->ik", x, weights.wide)],
  ["linear", [3, 4], (x) => linear(x, weights.tall)],
  ["linear, of a vector, with a bias", [4], (x) => linear(x, weights.tall, weights.bias)],
  ["linear, of a batch of matrices", [2, 3, 4], (x) => linear(x, weights.tall)],
  ["Linear", [3, 4], (x) => layers.linear.forward(x)],
  ["Conv1d", [1, 6, 2], (x) => layers.conv1d.forward(x)],
  ["Conv2d", [1, 4, 4, 2], (x) => layers.conv2d.forward(x)],
  ["ConvTranspose2d", [1, 4, 4, 2], (x) => layers.convTranspose2d.forward(x)],
  ["LSTM", [5, 2, 4], (x) => layers.lstm.forward(x)[0]],
  ["GRUCell", [2, 4], (x) => layers.gruCell.forward(x)],
  ["LayerNorm", [2, 4], (x) => layers.layerNorm.forward(x)],
  ["MultiheadAttention", [2, 3, 4], (x) => layers.attention.forward(x, x, x)[0]],
];
const weights = { wide: randn([4, 5]), tall: randn([5, 4]), row: randn([4]), bias: randn([5]) };
const layers = {
  linear: new nn.Linear(4, 5),
  conv1d: new nn.Conv1d(2, 3, 3),
  conv2d: new nn.Conv2d(2, 3, 3),
  convTranspose2d: new nn.ConvTranspose2d(2, 3, 3),
  lstm: new nn.LSTM(4, 3),
  gruCell: new nn.GRUCell(4, 3),
  layerNorm: new nn.LayerNorm(4),
  attention: new nn.MultiheadAttention(4, 2),
};

describe.each(takers)("%s", (_, shape, f) => {
  test.each(["int32", "uint8", "bool"] as const)("converts %s inputs to float32", (dtype) => {
    const x = whole(shape, dtype);
    const expected = f(x.to("float32"));
    const found = f(x);
    expect(found.dtype).toBe("float32");
    expect(found.toArray()).toEqual(expected.toArray());
    expect(compile(f)(x).toArray()).toEqual(expected.toArray());
  });
});

test("weights get gradients if the input is an integer tensor", () => {
  const layer = new nn.Linear(2, 1);
  layer.forward(tensor([[1, 2], [3, 4]], { dtype: "int32" })).sum().backward(); // biome-ignore format: a matrix
  expect(layer.weight.grad!.toArray()).toEqual([[4, 6]]);
});

test("weights that are not float32 are rejected, and the error names them", () => {
  const x = ones([1, 2]);
  expect(() => linear(x, ones([3, 2]).to("int32"))).toThrow(
    'linear: the weight must be float32, got int32. Convert it with .to("float32").',
  );
  expect(() => linear(x, ones([3, 2]), ones([3]).to("int32"))).toThrow(/^linear: the bias must be float32, got int32/);
});
