/** Creating, reading and printing tensors, and the errors that invalid calls throw. */
import {
  arange,
  concat,
  DisposedError,
  DTypeError,
  embedding,
  eye,
  full,
  info,
  init,
  linspace,
  losses,
  nn,
  ones,
  onesLike,
  ShapeError,
  stack,
  tensor,
  tidy,
  where,
  zeros,
  zerosLike,
} from "nabla";
import { describe, expect, test } from "vitest";

describe("tensor(values, shape?, options?)", () => {
  test("infers shape and element type from nested arrays", () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect([x.shape, x.dtype, x.size]).toEqual([[2, 3], "float32", 6]);
    expect(tensor([[true], [false]]).dtype).toBe("bool");
    expect(tensor(7).shape).toEqual([]);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
  });
  test("takes the element type from a typed array", () => {
    expect(tensor(new Float32Array(2)).dtype).toBe("float32");
    expect(tensor(new Float64Array([0.1])).toArray()).toEqual([Math.fround(0.1)]);
    expect(tensor(new Int32Array(2)).dtype).toBe("int32");
    expect(tensor(new Uint8Array([200])).toArray()).toEqual([200]);
    expect(tensor(new Uint8ClampedArray(2)).dtype).toBe("uint8");
    expect(tensor(new Float32Array(6), [2, 3]).shape).toEqual([2, 3]);
  });
  test("takes options as its second or third argument", () => {
    expect(tensor([1, 2], { dtype: "int32" }).dtype).toBe("int32");
    expect(tensor([1, 2], { requiresGrad: true }).requiresGrad).toBe(true);
    expect(tensor([1, 2, 3, 4], [2, 2], { requiresGrad: true }).shape).toEqual([2, 2]);
    expect(tensor([2, 0], { dtype: "bool" }).toArray()).toEqual([true, false]);
  });
  test("copies its values, so that later changes to the source have no effect", () => {
    const source = new Float32Array([1]);
    const x = tensor(source);
    source[0] = 9;
    expect(x.item()).toBe(1);
  });
  test("rejects invalid values and shapes", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(
      "tensor: expected a row of 2 elements, got a row of 1. Give all rows the same length.",
    );
    expect(() => tensor([[1], 2])).toThrow(ShapeError);
    expect(() => tensor([1, 2, 3], [2, 2])).toThrow("tensor: [2, 2] needs 4 values, got 3.");
    expect(() => tensor(["1"] as unknown as number[])).toThrow(
      'tensor: values must be numbers, booleans or arrays of them, got "1". Convert strings with Number(…).',
    );
    expect(() => tensor(new BigInt64Array(1) as unknown as Int32Array)).toThrow(
      "tensor: BigInt64Array is not supported.",
    );
    expect(() => zeros([2.5])).toThrow("zeros: [2.5] is not a shape. Pass an array of whole numbers, such as [2, 3].");
  });
});

test("zeros, ones, full, zerosLike, onesLike, arange, linspace and eye fill tensors correctly", () => {
  expect(zeros([2]).toArray()).toEqual([0, 0]);
  expect(ones([2], { dtype: "int32" }).toArray()).toEqual([1, 1]);
  expect(full([2, 1], -1.5).toArray()).toEqual([[-1.5], [-1.5]]);
  expect(zerosLike(tensor([true])).toArray()).toEqual([false]);
  expect(onesLike(tensor([[5, 6]])).toArray()).toEqual([[1, 1]]);
  expect(arange(3).toArray()).toEqual([0, 1, 2]);
  expect(arange(5, 0, -2).toArray()).toEqual([5, 3, 1]);
  expect(arange(0, 1, 0.25).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
  expect(() => arange(0, 1, 0)).toThrow("arange: step 0 never reaches 1 from 0.");
  expect(linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(eye(2, 3).toArray()).toEqual([
    [1, 0, 0],
    [0, 1, 0],
  ]);
});

describe("reading", () => {
  test("item, data and toArray copy, and live is a view", () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(tensor([[5]]).item()).toBe(5);
    expect(() => x.item()).toThrow("item: [2, 2] has 4 elements, not one. Use toArray() or data.");
    const { data } = x;
    data[0] = 9;
    expect(x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    x.live()[0] = 9;
    expect(x.toArray()).toEqual([
      [9, 2],
      [3, 4],
    ]);
  });
  test("prints as PyTorch does", () => {
    expect(
      String(
        tensor([
          [1, 2.5],
          [-3, 1 / 3],
        ]),
      ),
    ).toBe("tensor([[1, 2.5],\n        [-3, 0.33333]])");
    expect(String(tensor([1], { dtype: "int32" }))).toBe("tensor([1], int32)");
    expect(String(tensor([true]))).toBe("tensor([true], bool)");
    expect(String(tensor(2, { requiresGrad: true }))).toBe("tensor(2, requiresGrad)");
    expect(String(zeros([0, 3]))).toBe("tensor([], shape [0, 3])");
    expect(String(arange(2000))).toBe("tensor([0, 1, 2, …, 1997, 1998, 1999], shape [2000])");
  });
  test("copyFrom overwrites in place", () => {
    const x = zeros([2, 2]);
    x.copyFrom([1, 2, 3, 4]);
    expect(x.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    x.copyFrom(ones([2, 2]));
    expect(x.sum().item()).toBe(4);
    expect(() => x.copyFrom([1])).toThrow("copyFrom: [2, 2] needs 4 values, got 1.");
    expect(() => x.copyFrom(ones([4]))).toThrow("copyFrom: float32 [4] does not fit float32 [2, 2].");
  });
});

describe("slicing and rearranging", () => {
  const x = () => arange(24).reshape([2, 3, 4]);
  test("slice takes indices, ranges, steps and negative numbers", () => {
    expect(x().slice(1).shape).toEqual([3, 4]);
    expect(x().slice(-1, 0).toArray()).toEqual([12, 13, 14, 15]);
    expect(x().slice(0, 0, [1, 3]).toArray()).toEqual([1, 2]);
    expect(x().slice(0, 0, [null, null, -1]).toArray()).toEqual([3, 2, 1, 0]);
    expect(x().slice(null, [-1], [0, 100, 3]).toArray()).toEqual([[[8, 11]], [[20, 23]]]);
    expect(x().slice([5]).shape).toEqual([0, 3, 4]);
  });
  test("split, narrow, concat, stack, flip and pad move the right elements", () => {
    expect(
      x()
        .split(2, 2)
        .map((p) => p.shape),
    ).toEqual([
      [2, 3, 2],
      [2, 3, 2],
    ]);
    expect(
      arange(5)
        .split(2)
        .map((p) => p.toArray()),
    ).toEqual([[0, 1], [2, 3], [4]]);
    expect(
      arange(5)
        .split([1, 4])
        .map((p) => p.size),
    ).toEqual([1, 4]);
    expect(concat([arange(2), arange(3)]).toArray()).toEqual([0, 1, 0, 1, 2]);
    expect(stack([arange(2), arange(2)], 1).toArray()).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(x().flip([0, 2]).slice(0, 0).toArray()).toEqual([15, 14, 13, 12]);
    expect(arange(2).pad([1, 2], 9).toArray()).toEqual([9, 0, 1, 9, 9]);
    expect(arange(4).pad([-1, 1]).toArray()).toEqual([1, 2, 3, 0]);
    expect(ones([2, 2]).pad([0, 1, 1, 0]).toArray()).toEqual([
      [0, 0, 0],
      [1, 1, 0],
      [1, 1, 0],
    ]);
  });
  test("int32 and bool elements are moved like float32 elements", () => {
    const i = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: "int32" },
    );
    expect([i.t().toArray(), i.t().dtype]).toEqual([
      [
        [1, 3],
        [2, 4],
      ],
      "int32",
    ]);
    const b = tensor([
      [true, false],
      [true, true],
    ]);
    expect(concat([b, b.flip(1)], 1).toArray()).toEqual([
      [true, false, false, true],
      [true, true, true, true],
    ]);
  });
});

describe("element types", () => {
  const i = (values: number[]) => tensor(values, { dtype: "int32" });
  test("int32 with int32 stays int32; with float32 or fractions it becomes float32; div is always float32", () => {
    expect(i([1]).add(i([2])).dtype).toBe("int32");
    expect(i([1]).mul(3).dtype).toBe("int32");
    expect(i([2_000_000_011]).sub(1).item()).toBe(2_000_000_010);
    expect(i([1]).add(0.5).dtype).toBe("float32");
    expect(i([3]).div(2).item()).toBe(1.5);
    expect(i([1]).add(tensor([1])).dtype).toBe("float32");
    expect(
      i([-3])
        .maximum(i([2]))
        .item(),
    ).toBe(2);
  });
  test("large int32 values compare exactly", () => {
    expect(
      i([16777217])
        .eq(i([16777216]))
        .toArray(),
    ).toEqual([false]);
    expect(i([16777217]).gt(16777216).toArray()).toEqual([true]);
  });
  test("masks work with logic, any, all and where, and count as 0 and 1", () => {
    const [a, b] = [tensor([true, true, false, false]), tensor([true, false, true, false])];
    expect(a.logicalAnd(b).toArray()).toEqual([true, false, false, false]);
    expect(a.logicalOr(b).toArray()).toEqual([true, true, true, false]);
    expect(a.logicalXor(b).toArray()).toEqual([false, true, true, false]);
    expect(a.logicalNot().toArray()).toEqual([false, false, true, true]);
    expect([a.any().item(), a.all().item(), a.to("float32").mean().item()]).toEqual([1, 0, 0.5]);
    expect(where(a, tensor([1, 2, 3, 4]), -1).toArray()).toEqual([1, 2, -1, -1]);
    expect(where(a, i([1, 2, 3, 4]), 0).dtype).toBe("int32");
    expect(a.eq(b).mean().item()).toBe(0.5);
  });
});

describe("errors say what is wrong and how to fix it", () => {
  test("a ShapeError names the op, the shapes and the fix", () => {
    expect(() => zeros([32, 784]).matmul(zeros([128, 784]))).toThrow(
      new ShapeError(
        "matmul: [32, 784] × [128, 784] do not fit: inner sizes 784 and 128 differ. Did you mean x.matmul(w.t())?",
      ),
    );
    expect(() => zeros([2, 3]).add(zeros([4]))).toThrow(
      "add: [2, 3] and [4] do not broadcast: sizes 3 and 4 at dim -1 differ and neither is 1. Reshape or unsqueeze one of them.",
    );
    expect(() => zeros([2, 3]).reshape([4])).toThrow("reshape: [2, 3] has 6 elements, which do not fit [4].");
    expect(() => zeros([2]).sum(1)).toThrow("sum: dim must be in -1 … 0, got 1.");
    expect(() => zeros([2, 0]).max(1)).toThrow(
      "max: [2, 0] has no elements along the reduced dims, so the result is undefined.",
    );
    expect(() => zeros([3]).slice(3)).toThrow("slice: 3 is outside dim 0 of [3].");
    expect(() => new nn.Linear(3, 2).forward(zeros([4, 5]))).toThrow(
      "linear: [4, 5] does not fit the weight [2, 3]: the last size must be 3.",
    );
    expect(() => losses.mse(zeros([2]), zeros([2, 1]))).toThrow(
      "mse: the prediction is [2], but the target is [2, 1]. Losses do not broadcast: reshape one of them.",
    );
  });
  test("a DTypeError names the op, the element type and the fix", () => {
    expect(() => where(tensor([1]), 1, 2)).toThrow(
      new DTypeError('where: the condition must be bool, got float32. Convert it with .to("bool").'),
    );
    expect(() => embedding(tensor([0]), zeros([3, 2]))).toThrow(
      'embedding: the index must be int32, got float32. Convert it with .to("int32").',
    );
    expect(() => losses.crossEntropy(zeros([2, 3]), tensor([true, false]))).toThrow(DTypeError);
  });
  test("a RangeError rejects indices and labels that are out of range before anything is read", () => {
    const index = tensor([0, 3], { dtype: "int32" });
    expect(() => embedding(index, zeros([3, 2]))).toThrow("embedding: index 3 at position 1 is outside 0 … 2.");
    expect(() => losses.crossEntropy(zeros([2, 3]), index)).toThrow(
      "crossEntropy: label 3 at position 1 is outside 0 … 2, the classes of logits [2, 3].",
    );
    expect(() => new nn.Dropout(1.5)).toThrow("Dropout: p must be in 0 … 1, got 1.5.");
  });
  test("a DisposedError names the op that made the tensor and the call that disposed it", () => {
    const x = tensor([1, 2]);
    const y = x.mul(2);
    y.dispose();
    expect(() => y.add(1)).toThrow(
      new DisposedError(
        "add: the float32 tensor [2] made by mul was disposed by dispose(). Return it from the scope, or keep() or clone() it first.",
      ),
    );
    let inner = x;
    tidy(() => {
      inner = x.exp();
    });
    expect(() => inner.data).toThrow(/data: the float32 tensor \[2\] made by exp was disposed by the end of its scope/);
    expect(String(inner)).toMatch(/^tensor\(disposed by the end of its scope/);
  });
  test("a rejected call changes nothing", () => {
    const p = tensor([1, 2], { requiresGrad: true });
    expect(() => {
      p.grad = zeros([3]);
    }).toThrow("grad: the gradient is [3], but the tensor is [2]. Reshape the gradient.");
    expect([p.grad, p.toArray()]).toEqual([null, [1, 2]]);
  });
  test("init after the first tensor accepts the current options, and lists those that differ in its error", async () => {
    const build = process.env.NABLA_BUILD as "simd" | "relaxed";
    expect(info().build).toBe(build);
    await init({ build });
    const x = tensor([1, 2]);
    await init({ build });
    await init({ build, threads: 1, memoryLimit: 2 ** 40 });
    expect(x.toArray()).toEqual([1, 2]);
    const differs = (list: string): string =>
      `init: nabla runs with other options: ${list}. ` +
      "Call init once, before the first tensor, or await dispose() first.";
    await expect(init({ build, threads: 2 })).rejects.toThrow(differs("threads is 1, not 2"));
    await expect(init({ build, memoryLimit: 65536 })).rejects.toThrow(differs("memoryLimit is 4294967296, not 65536"));
    await init({ build, winograd: true });
    await expect(init({ build, winograd: false })).rejects.toThrow(differs("winograd is true, not false"));
    await expect(init({ deterministic: true, threads: "auto" })).rejects.toThrow(
      differs(
        `${build === "simd" ? "" : "build is relaxed, not simd; "}deterministic is false, not true; threads is 1, not auto`,
      ),
    );
    await expect(init({ build, threads: -1 })).rejects.toThrow(
      'threads must be "auto" or a whole number in 1 … 64, got -1',
    );
  });
});
