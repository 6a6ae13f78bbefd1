/**
 * Ops with several differentiable outputs, higher derivatives of gradient kernels, and the lifetime of their tensors.
 */
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
/** The Hessian of a function of one tensor, from second differences. */
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

describe("after the second output was disposed", () => {
  test("hessian, jacobian and a repeated pullback work for an LSTM", () => {
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
  test("hessian and jacobian work for eigenvalues", () => {
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
  test("backward can be called twice, and the graph of another loss stays valid", () => {
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
  test("gradients flow from the second output if only that is used", () => {
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

test("third derivatives of a GRU agree with central differences of second derivatives", () => {
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

test("losses, gradients, second derivatives, optimizer steps and caches leave no tensors behind", () => {
  const lstm = layer();
  const model = new nn.TransformerEncoder([
    new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 8, dropout: 0, batchFirst: true }),
  ]);
  const p = randn([4, 4]).keep();
  p.requiresGrad = true;
  const optimizers = [new optim.Muon([p]), new optim.NAdam([p]), new optim.Lion([p])];
  const x = randn([3, 1, 2]).keep();
  const token = randn([1, 1, 4]).keep();
  const once = (): void => {
    tidy(() => void grad((z: Tensor) => lstm.forward(z)[0].sum())(x));
    tidy(() => void hessian((z: Tensor) => lstm.forward(z)[0].square().sum())(x));
    tidy(() => p.square().sum().backward());
    for (const optimizer of optimizers) optimizer.step();
    optimizers[0]!.zeroGrad();
    const cache = new nn.KeyValueCache(1, 4);
    tidy(() => {
      model.forward(token, { isCausal: true, cache });
      model.forward(token, { isCausal: true, cache });
    });
    cache.dispose();
  };
  once();
  const before = memory().bytes;
  for (let i = 0; i < 5; i++) once();
  expect(memory().bytes).toBe(before);
});
