/** Ops with several differentiable outputs, and kernels' gradients differentiated again: who holds what, and for how long. */
import {
  eigh,
  grad,
  hessian,
  jacobian,
  manualSeed,
  memory,
  nn,
  optim,
  randn,
  type Tensor,
  tensor,
  tidy,
  vjp,
} from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";

const layer = (): nn.LSTM => {
  manualSeed(2);
  return new nn.LSTM(2, 3);
};
/** Second differences of a function of one tensor. */
function numericHessian(f: (x: Tensor) => Tensor, x: Tensor): number[] {
  const h = 2e-2;
  const at = (i: number, a: number, j: number, b: number): number => {
    const moved = (x.data as Float32Array).slice();
    moved[i]! += a;
    moved[j]! += b;
    return f(tensor(moved, x.shape)).item();
  };
  return Array.from({ length: x.size ** 2 }, (_, k) => {
    const [i, j] = [Math.floor(k / x.size), k % x.size];
    return (at(i, h, j, h) - at(i, h, j, -h) - at(i, -h, j, h) + at(i, -h, j, -h)) / (4 * h * h);
  });
}

describe("where the second output is gone", () => {
  test("hessian, jacobian and a pullback called twice go through an LSTM", () => {
    tidy(() => {
      const lstm = layer();
      const x = randn([2, 1, 2]);
      const loss = (z: Tensor) => lstm.forward(z)[0].square().sum();
      expectClose(hessian(loss)(x).data, numericHessian(loss, x), 5e-3, "hessian");
      const rows = jacobian((z: Tensor) => lstm.forward(z)[0])(x);
      expect(rows.shape).toEqual([2, 1, 3, 2, 1, 2]);
      const [y, pullback] = vjp((z: Tensor) => lstm.forward(z)[0], x);
      const seed = randn(y.shape);
      expect(pullback(seed)[0]!.data).toEqual(pullback(seed)[0]!.data);
    });
  });
  test("and through eigenvalues", () => {
    tidy(() => {
      const x = tensor([
        [2, 0.3],
        [0.3, -1],
      ]);
      expect(jacobian((z: Tensor) => eigh(z)[0]!)(x).shape).toEqual([2, 2, 2]);
      const loss = (z: Tensor) => eigh(z)[0]!.pow(3).sum();
      expectClose(hessian(loss)(x).data, numericHessian(loss, x), 2e-2, "hessian");
    });
  });
  test("backward may be called twice, and another loss's graph stays whole", () => {
    tidy(() => {
      const [lstm, encoder] = [layer(), new nn.Linear(2, 2)];
      const h = encoder.forward(randn([4, 1, 2]));
      const first = tidy(() => lstm.forward(h)[0].sum());
      const second = h.square().sum();
      first.backward({ retainGraph: true });
      first.backward({ retainGraph: true });
      first.dispose();
      second.backward();
      expect(encoder.weight.grad!.data.every(Number.isFinite)).toBe(true);
    });
  });
  test("only the second output is used: gradients flow from it alone", () => {
    tidy(() => {
      const lstm = layer();
      const x = randn([3, 1, 2]);
      const f = (z: Tensor) => lstm.forward(z)[1][1].sum();
      const h = 1e-2;
      const numeric = Array.from(x.data, (_, i) => {
        const at = (by: number) =>
          f(
            tensor(
              (x.data as Float32Array).map((v, j) => (i === j ? v + by : v)),
              x.shape,
            ),
          ).item();
        return (at(h) - at(-h)) / (2 * h);
      });
      expectClose(grad(f)(x).data, numeric, 1e-3);
    });
  });
});

test("third derivatives through a GRU agree with differences of second ones", () => {
  tidy(() => {
    manualSeed(4);
    const gru = new nn.GRU(1, 2);
    const f = (z: Tensor) => gru.forward(z)[0].sum();
    const along = (z: Tensor) => grad((u: Tensor) => grad(f)(u).sum())(z).sum();
    const x = randn([2, 1, 1]);
    const h = 1e-2;
    const numeric = [0, 1].map((i) => {
      const at = (by: number) =>
        along(
          tensor(
            (x.data as Float32Array).map((v, j) => (i === j ? v + by : v)),
            x.shape,
          ),
        ).item();
      return (at(h) - at(-h)) / (2 * h);
    });
    expectClose(grad(along)(x).data, numeric, 5e-3);
  });
});

test("nothing is left behind: losses, gradients, second derivatives, optimizer steps, a cache", () => {
  const lstm = layer();
  const model = new nn.TransformerEncoder([
    new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 8, batchFirst: true }),
  ]);
  const p = randn([4, 4]).keep();
  p.requiresGrad = true;
  const optimizers = [new optim.Muon([p]), new optim.NAdam([p]), new optim.Lion([p])];
  const cache = new nn.KeyValueCache();
  const x = randn([3, 1, 2]).keep();
  const token = randn([1, 1, 4]).keep();
  const once = (): void => {
    tidy(() => void grad((z: Tensor) => lstm.forward(z)[0].sum())(x));
    tidy(() => void hessian((z: Tensor) => lstm.forward(z)[0].square().sum())(x));
    tidy(() => p.square().sum().backward());
    for (const optimizer of optimizers) optimizer.step();
    optimizers[0]!.zeroGrad();
    tidy(() => {
      model.forward(token, { isCausal: true, cache });
      model.forward(token, { isCausal: true, cache });
    });
    cache.clear();
  };
  once();
  const before = memory().bytes;
  for (let i = 0; i < 5; i++) once();
  expect(memory().bytes).toBe(before);
});
