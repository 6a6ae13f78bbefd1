/** Activations that compile fuses into products and convolutions: they have eager's bits on every path of the kernels. */
import { compile, conv2d, convTranspose2d, linear, nn, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { fuseMatmulEpilogues } from "../../src/compile/passes/matmulEpilogues.ts";
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
  for (const [what, size, channels, outChannels, kernel, options] of [
    ["a pointwise convolution", 9, 16, 24, 1, {}],
    ["a convolution", 9, 5, 19, 3, { padding: 1 }],
    ["a convolution with k beyond one block", 5, 130, 8, 3, {}],
    ["a convolution with stride and groups", 9, 8, 12, 3, { stride: 2, groups: 2 }],
    ["a depthwise convolution", 9, 21, 21, 3, { padding: 1, groups: 21 }],
  ] as const) {
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
  }
});
