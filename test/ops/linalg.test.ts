/** Factorizations, einsum and sorting: agreement with PyTorch, defining properties, and errors. */
import {
  argSort,
  cholesky,
  compile,
  eigh,
  einsum,
  eye,
  manualSeed,
  randn,
  sort,
  type Tensor,
  tensor,
  tidy,
  topK,
  triangularSolve,
} from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";
import { check, expectTorch, find, load, loadArgument, values } from "../support/torch.ts";

describe(`linear algebra agrees with PyTorch ${values.torch}`, () => {
  for (const c of values.linalg) test(c.name, () => check(c));
  for (const { name, f, args, out, dy, dx } of values.several) {
    test(name, () =>
      tidy(() => {
        const [x, ...rest] = args.map(loadArgument) as [Tensor, ...unknown[]];
        x.requiresGrad = true;
        const results = (find(f) as unknown as (...args: unknown[]) => Tensor[])(x, ...rest);
        results.forEach((y, i) => expectTorch(y, out[i]!, `result ${i}`));
        const floats = results.filter((y) => y.dtype === "float32");
        const loss = floats.map((y, i) => y.mul(load(dy[i]!)).sum()).reduce((a, b) => a.add(b));
        loss.backward();
        expectTorch(x.grad!, dx, "gradient");
      }),
    );
  }
});

test.each([20, 64])(
  "%d × %d: eigh gives orthonormal eigenvectors, and eigh and cholesky reconstruct the matrix",
  (n) => {
    tidy(() => {
      manualSeed(2);
      const a = randn([n, n]);
      const symmetric = a.add(a.t());
      const [w, v] = eigh(symmetric) as [Tensor, Tensor];
      expectClose(v.mul(w).matmul(v.t()).data, symmetric.data, 2e-5, "V·diag(w)·Vᵀ");
      expectClose(
        v.t().matmul(v).data,
        Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
        1e-5,
      );
      const values = Array.from(w.data);
      expect(values).toEqual([...values].sort((p, q) => p - q));
      const positive = a.matmul(a.t()).div(n).add(eye(n));
      const l = cholesky(positive);
      expectClose(l.matmul(l.t()).data, positive.data, 1e-5, "L·Lᵀ");
      const b = randn([n, 3]);
      expectClose(l.matmul(triangularSolve(l, b)).data, b.data, 1e-4, "L·(L⁻¹·B)");
    });
  },
);

test("eigh: equal eigenvalues are correct, and so is the gradient of their sum", () => {
  tidy(() => {
    const a = tensor([
      [2, 0, 0],
      [0, 2, 0],
      [0, 0, 5],
    ]);
    a.requiresGrad = true;
    const [w] = eigh(a) as [Tensor, Tensor];
    expect(w.toArray()).toEqual([2, 2, 5]);
    w.sum().backward();
    expect(a.grad!.toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
  });
});

test("triangularSolve: a batch of right-hand sides can share one matrix", () => {
  const x = triangularSolve(
    tensor([
      [2, 0],
      [1, 4],
    ]),
    randn([3, 2, 1]),
  );
  expect(x.shape).toEqual([3, 2, 1]);
  expect(triangularSolve(tensor([[41]]), tensor([[41]])).item()).toBe(1);
});

test("cholesky: a matrix that is not positive definite gives NaN, starting at the first invalid pivot", () => {
  const l = cholesky(
    tensor([
      [4, 2, 0],
      [2, -1, 0],
      [0, 0, 1],
    ]),
  );
  expect(l.slice(0).toArray()).toEqual([2, 0, 0]);
  expect(l.slice(1, 1).item()).toBeNaN();
});

describe("sorting", () => {
  test("NaN comes last, or first in descending order, and −0 equals 0", () => {
    const x = [3, Number.NaN, -1, 0, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
    expect(argSort(tensor(x)).toArray()).toEqual([6, 2, 3, 4, 0, 5, 1, 7]);
    expect(argSort(tensor(x), 0, { descending: true }).toArray()).toEqual([1, 7, 5, 0, 3, 4, 2, 6]);
    expect(topK(tensor(x), 2)[1]!.toArray()).toEqual([1, 7]);
  });
  test("long rows are sorted as JavaScript sorts them", () => {
    tidy(() => {
      manualSeed(6);
      const x = randn([3, 5000]);
      const [sorted] = sort(x) as [Tensor, Tensor];
      for (let r = 0; r < 3; r++)
        expect(sorted.slice(r).data).toEqual((x.slice(r).data as Float32Array).slice().sort());
    });
  });
  test("integers that float32 cannot distinguish keep their element type and order", () => {
    const x = tensor([16777217, 16777216, 16777218], { dtype: "int32" });
    const [sorted, places] = sort(x) as [Tensor, Tensor];
    expect([sorted.dtype, sorted.toArray(), places.toArray()]).toEqual([
      "int32",
      [16777216, 16777217, 16777218],
      [1, 0, 2],
    ]);
    expect(topK(x, 1)[0]!.toArray()).toEqual([16777218]);
    expect(
      tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { dtype: "int32" },
      ).tril().dtype,
    ).toBe("int32");
    expect(
      tensor([
        [true, true],
        [true, true],
      ])
        .triu(1)
        .toArray(),
    ).toEqual([
      [false, true],
      [false, false],
    ]);
  });
  test("a scalar can be sorted", () => expect(sort(tensor(3)).map((y) => y.item())).toEqual([3, 0]));
});

test("eager and compiled results are bit-identical", () => {
  tidy(() => {
    manualSeed(1);
    const x = randn([2, 4, 4]);
    const f = (a: Tensor) => {
      const symmetric = a.matmul(a.mT()).add(1);
      return [
        ...eigh(symmetric),
        ...sort(a, 1),
        ...topK(a, 2),
        einsum("bij,bjk->bik", a, symmetric),
        triangularSolve(symmetric, a),
      ];
    };
    const eager = f(x).map((y) => y.data);
    const compiled = compile(f);
    compiled(x);
    expect(compiled(x).map((y) => y.data)).toEqual(eager);
    compiled.dispose();
  });
});

describe("invalid arguments are rejected", () => {
  const x = () =>
    tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  test.each<[string, () => unknown, RegExp]>([
    ["a matrix that is not square", () => cholesky(x()), /cholesky: the matrix must be \[..., n, n\], got \[2, 3\]/],
    ["a vector instead of a matrix", () => eigh(tensor([1])), /eigh: the matrix must be \[..., n, n\], got \[1\]/],
    [
      "a right-hand side that does not fit",
      () => triangularSolve(tensor([[1]]), x()),
      /triangularSolve: A is \[1, 1\], so B must be \[1, columns\], got \[2, 3\]/,
    ],
    [
      "a vector as the right-hand side",
      () => triangularSolve(tensor([[1]]), tensor([1])),
      /triangularSolve: B must be \[\.\.\., n, columns\], got \[1\]\. For a single column, use b\.unsqueeze\(-1\)/,
    ],
    [
      "an equation with two arrows",
      () => einsum("ij->ji->j", x()),
      /einsum: "ij->ji->j" must consist of letters, commas and "\.\.\.", with at most one "->"/,
    ],
    [
      "topK of more elements than there are",
      () => topK(x(), 4),
      /topK: k must be a whole number from 0 to 3, the size of dim -1 of \[2, 3\], got 4/,
    ],
    ["a wrong number of operands", () => einsum("ij,jk->ik", x()), /einsum: "ij,jk->ik" needs 2 operands, got 1/],
    [
      "a wrong number of letters",
      () => einsum("ijk->i", x()),
      /einsum: "ijk" does not name the 2 dimensions of \[2, 3\]/,
    ],
    ["a letter with two sizes", () => einsum("ij,ij->i", x(), x().t()), /einsum: "i" has sizes 2 and 3 in "ij,ij->i"/],
    [
      "the diagonal of a matrix that is not square",
      () => einsum("ii->i", x()),
      /einsum: "i" has sizes 2 and 3 in \[2, 3\]/,
    ],
    [
      "an unknown letter in the result",
      () => einsum("ij->k", x()),
      /einsum: the result "k" must name dimensions of the operands, without repeats/,
    ],
    [
      "a repeated letter in the result",
      () => einsum("ij->ii", x()),
      /einsum: the result "ii" must name dimensions of the operands, without repeats/,
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
