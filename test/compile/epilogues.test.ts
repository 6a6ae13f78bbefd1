/** Steps that compile fuses into products and convolutions: the results have eager's bits on every path of the kernels. */
import { compile, conv2d, convTranspose2d, linear, nn, noGrad, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { fuseMatmulEpilogues } from "../../src/compile/passes/matmulEpilogues.ts";
import { train } from "../support/fuse.ts";
import { names, recorded } from "../support/recorded.ts";

const activations: Record<string, (x: Tensor) => Tensor> = {
  relu: (x) => x.relu(),
  hardTanh: (x) => new nn.ReLU6().forward(x),
  tanh: (x) => x.tanh(),
  sigmoid: (x) => x.sigmoid(),
};

/** The elements of x as text that tells −0 from 0. */
const textOf = (x: Tensor): string[] =>
  Array.from(x.data as Float32Array, (value) => (Object.is(value, -0) ? "-0" : String(value)));

/** Fails unless the compiled function is fused and gives eager's bits. */
function requireSame(product: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], what: string): void {
  for (const [name, act] of Object.entries(activations)) {
    const f = (...all: Tensor[]) => act(product(...all));
    const { steps, placed } = recorded(f, ...inputs);
    expect(names(fuseMatmulEpilogues(steps, placed)).join(" "), what).toContain(`+${name}`);
    const [eager, compiled] = tidy(() => [textOf(f(...inputs)), textOf(compile(f)(...inputs))]);
    expect(compiled, `${what} ${name}`).toEqual(eager);
  }
}

/** Values that reach 0, 6 and both signs often. */
const values = (shape: number[]) => tidy(() => randn(shape).mul(3));

describe("fused activations have eager's bits", () => {
  // [m, k, n], for thin, deep and packed products, whole and partial tiles, and several blocks of k.
  const shapes = [
    [1, 5, 3],
    [2, 20, 40],
    [3, 4, 8],
    [7, 9, 32],
    [40, 16, 96],
    [40, 16, 90],
    [33, 1, 70],
    [12, 24, 144],
    [13, 30, 21],
    [14, 600, 17],
    [5, 700, 40],
    [70, 0, 9],
  ] as const;
  for (const [m, k, n] of shapes) {
    test(`in the product ${m}×${k}×${n}, with and without bias`, () => {
      const [x, w, wt, b] = [values([m, k]), values([k, n]), values([n, k]), values([n])];
      requireSame((a, c) => a!.matmul(c!), [x, w], "x·w");
      requireSame((a, c) => linear(a!, c!), [x, wt], "x·wᵀ");
      requireSame((a, c, d) => linear(a!, c!, d), [x, wt, b], "x·wᵀ + b");
    });
  }
  test("for NaN, infinities, and zeros of both signs", () => {
    const special = [Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 6, 7];
    // With fused multiply-adds, a product that underflows is −0, and stays −0 with a bias of −0.
    const tiny = tensor(new Array<number>(40).fill(-1e-30), [40, 1]);
    for (const n of [9, 32, 40]) {
      const x = tensor(
        Array.from({ length: 40 }, (_, i) => special[i % special.length]!),
        [40, 1],
      );
      const w = tensor(new Array<number>(n).fill(1e-30), [n, 1]);
      const b = tensor(new Array<number>(n).fill(-0));
      const shifts = tensor(Array.from({ length: n }, (_, i) => special[i % special.length]!));
      const ones = tensor(new Array<number>(n).fill(1), [n, 1]);
      requireSame((a, c) => linear(a!, c!), [x, ones], `x, ${n}`);
      requireSame((a, c, d) => linear(a!, c!, d), [x, ones, shifts], `x + b, ${n}`);
      requireSame((a, c) => linear(a!, c!), [tiny, w], `−0, ${n}`);
      requireSame((a, c, d) => linear(a!, c!, d), [tiny, w, b], `−0 + b, ${n}`);
      requireSame((a, c) => a!.matmul(c!.t()), [tiny, w], `−0, not packed, ${n}`);
    }
  });
  const convolutions = [
    ["a pointwise convolution", 9, 16, 24, 1, {}],
    ["a convolution", 9, 5, 19, 3, { padding: 1 }],
    ["a convolution with k beyond one block", 5, 130, 8, 3, {}],
    ["a convolution with stride and groups", 9, 8, 12, 3, { stride: 2, groups: 2 }],
    ["a depthwise convolution", 9, 21, 21, 3, { padding: 1, groups: 21 }],
    ["a convolution by Winograd's method", 9, 16, 27, 3, { padding: 1 }],
  ] as const;
  for (const [what, size, channels, outChannels, kernel, options] of convolutions) {
    test(`in ${what}, with and without bias`, () => {
      const x = values([2, size, size, channels]);
      const groups = "groups" in options ? options.groups : 1;
      const w = values([outChannels, kernel, kernel, channels / groups]);
      const b = values([outChannels]);
      requireSame((a, c) => conv2d(a!, c!, null, options), [x, w], what);
      requireSame((a, c, d) => conv2d(a!, c!, d, options), [x, w, b], `${what} with bias`);
      const y = values([2, size, size, outChannels]);
      const bt = values([channels]);
      requireSame((a, c) => convTranspose2d(a!, c!, null, options), [y, w], `${what}, transposed`);
      requireSame((a, c, d) => convTranspose2d(a!, c!, d, options), [y, w, bt], `${what}, transposed, with bias`);
    });
    test(`in ${what}, after batch normalization and a sum`, () => {
      const groups = "groups" in options ? options.groups : 1;
      const conv = new nn.Conv2d(channels, outChannels, kernel, options);
      const plain = new nn.Conv2d(channels, outChannels, kernel, { ...options, bias: false });
      const affine = train(new nn.BatchNorm2d(outChannels)).eval();
      const bare = train(new nn.BatchNorm2d(outChannels, { affine: false })).eval();
      expect(plain.weight.shape[3]).toBe(channels / groups);
      const x = values([2, size, size, channels]);
      const other = tidy(() => values([...noGrad(() => plain.forward(x)).shape]));
      const same = (f: (x: Tensor, other: Tensor) => Tensor, fused: string) => {
        const run = (...inputs: Tensor[]) => noGrad(() => f(inputs[0]!, inputs[1]!));
        const { steps, placed } = recorded(run, x, other);
        const after = names(fuseMatmulEpilogues(steps, placed));
        expect(after.filter((name) => name.startsWith("conv"))).toEqual([fused]);
        expect(after.at(-1)).toBe(fused);
        const [eager, compiled] = tidy(() => [textOf(run(x, other)), textOf(compile(run)(x, other))]);
        expect(compiled, fused).toEqual(eager);
      };
      const relu6 = new nn.ReLU6();
      same((a) => affine.forward(plain.forward(a)), "conv+standardize");
      same((a) => bare.forward(conv.forward(a)).relu(), "conv+standardize+relu");
      same((a) => relu6.forward(affine.forward(conv.forward(a))), "conv+standardize+hardTanh");
      same((a, b) => affine.forward(plain.forward(a)).add(b).relu(), "conv+standardize+add+relu");
      same((a, b) => b.add(bare.forward(plain.forward(a))), "conv+standardize+add");
      same((a, b) => relu6.forward(conv.forward(a).add(b)), "conv+add+hardTanh");
    });
  }
  test("in batch normalization, where relu turns −0 into 0", () => {
    const norm = new nn.BatchNorm1d(11).eval();
    const zeros = tensor(new Array<number>(11).fill(-0));
    norm.bias!.copyFrom(zeros);
    const x = tidy(() => values([40, 11]).mul(tensor(Array.from({ length: 11 }, (_, i) => (i % 3 ? 1 : -0)))));
    for (const [name, act] of Object.entries(activations)) {
      const f = (a: Tensor) => noGrad(() => act(norm.forward(a)));
      const { steps, placed } = recorded(f, x);
      const isFused = name === "relu" || name === "hardTanh";
      expect(names(fuseMatmulEpilogues(steps, placed)).includes(`standardize+${name}`), name).toBe(isFused);
      expect(textOf(compile(f)(x)), name).toEqual(textOf(f(x)));
    }
  });
  test("of two convolutions whose results are added, the first one adds the second one's result", () => {
    const [w, v, x] = [values([4, 1, 1, 4]), values([4, 3, 3, 4]), values([1, 3, 3, 4])];
    const f = (a: Tensor) => conv2d(a, v, null, { padding: 1 }).add(conv2d(a, w)).relu();
    const { steps, placed } = recorded(f, x);
    expect(names(fuseMatmulEpilogues(steps, placed))).toEqual(["conv", "conv+add+relu"]);
    expect(textOf(compile(f)(x))).toEqual(textOf(f(x)));
  });
  test("not in a convolution whose sum with another value is larger than both", () => {
    const w = values([4, 1, 1, 4]);
    const f = (x: Tensor, other: Tensor) => conv2d(x, w).add(other).relu();
    const inputs = [values([1, 3, 1, 4]), values([1, 1, 3, 4])] as const;
    const { steps, placed } = recorded(f, ...inputs);
    expect(names(fuseMatmulEpilogues(steps, placed))[0]).toBe("conv");
    expect(textOf(compile(f)(...inputs))).toEqual(textOf(f(...inputs)));
  });
  test("a convolution moves to the step that reads it only if its operands do not change before", () => {
    const w = values([4, 1, 1, 4]);
    const f = (x: Tensor) => {
      const y = conv2d(x, w);
      w.copyFrom(w.mul(2));
      return y.relu();
    };
    const { steps, placed } = recorded(f, values([1, 3, 3, 4]));
    expect(names(fuseMatmulEpilogues(steps, placed))).toEqual(names(steps));
  });
});
