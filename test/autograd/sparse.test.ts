/** Sparse gradients of embeddings: when gradients are sparse, and what `grad` and the clipping functions do with them. */
import {
  compile,
  DisposedError,
  detectAnomaly,
  embedding,
  grad,
  hvp,
  memory,
  NonFiniteError,
  type nn,
  optim,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { watch } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import { inMode, MODES } from "../support/modes.ts";
import { expectClose } from "../support/oracle.ts";
import { batches, ints, isSparse, lossOf, N, rowwise, table } from "../support/sparse.ts";

describe("the gradient", () => {
  const index = ints([5, 1, 5, 5, 0, 1]);
  const gradients = (f: (look: (index: Tensor) => Tensor, weight: Tensor) => Tensor, backward?: object) =>
    [true, false].map((sparse) => {
      const layer = table(6, { sparse });
      f((x) => layer.forward(x), layer.weight).backward(backward);
      return layer.weight;
    });

  test.each([
    ["of one use is sparse, and", true, (look: (index: Tensor) => Tensor) => lossOf(look(index))],
    [
      "of indices with two dims is sparse, and",
      true,
      (look: (index: Tensor) => Tensor) => lossOf(look(index.reshape([2, 3]))),
    ],
    [
      "of a result that is used twice is sparse, and",
      true,
      (look: (index: Tensor) => Tensor) =>
        tidy(() => {
          const y = look(index);
          return lossOf(y).add(y.square().sum());
        }),
    ],
    [
      "of two uses is sparse, and",
      true,
      (look: (index: Tensor) => Tensor) => lossOf(look(index)).add(lossOf(look(ints([1, 9])))),
    ],
    [
      "of a table that is also used in another way is dense, and",
      false,
      (look: (index: Tensor) => Tensor, w: Tensor) => lossOf(look(index)).add(w.square().sum()),
    ],
    [
      "of the source of a computed table is dense, and",
      false,
      (_: unknown, w: Tensor) => lossOf(embedding(index, w.mul(2), { sparse: true })),
    ],
  ] as const)("%s equals the dense gradient", (_, sparse, f) => {
    const [own, dense] = gradients(f);
    expect([isSparse(own!), isSparse(dense!)]).toEqual([sparse, false]);
    expectClose(own!.grad!.data, dense!.grad!.data, 1e-6);
    const read = own!.grad!;
    expect(own!.grad).toBe(read);
    expect(isSparse(own!)).toBe(sparse);
  });

  test("agrees with central differences", () => {
    const layer = table(4);
    lossOf(layer.forward(index)).backward();
    const { data } = layer.weight.grad!;
    const f = (at: number, by: number): number => {
      const moved = layer.weight.data as Float32Array;
      moved[at]! += by;
      return tidy(() => lossOf(tensor(moved, [N, 4]).indexSelect(0, index)).item());
    };
    const h = 2 ** -6;
    for (const row of [0, 1, 2, 5])
      for (let i = 0; i < 4; i++)
        expect((f(4 * row + i, h) - f(4 * row + i, -h)) / (2 * h)).toBeCloseTo(data[4 * row + i]!, 2);
  });

  test("of several backward calls is their sum, sparse only if all are", () => {
    const layer = table(6);
    const dense = table(6, { sparse: false });
    const add = (f: (layer: nn.Embedding) => Tensor): void => [layer, dense].forEach((one) => void f(one).backward());
    add((one) => lossOf(one.forward(index)));
    add((one) => lossOf(one.forward(ints([7, 5]))));
    expect(isSparse(layer.weight)).toBe(true);
    expectClose(layer.weight.grad!.data, dense.weight.grad!.data, 1e-6);
    add((one) => one.weight.square().sum());
    expect(isSparse(layer.weight)).toBe(false);
    add((one) => lossOf(one.forward(index)));
    expect(isSparse(layer.weight)).toBe(false);
    expectClose(layer.weight.grad!.data, dense.weight.grad!.data, 1e-6);
  });

  test("is dense in grad(), and when it is differentiated again", () => {
    const { weight } = table(6);
    const f = (options: object) => (w: Tensor) => lossOf(embedding(index, w, options));
    for (const options of [{}, { paddingIdx: 5 }]) {
      const [own, plain] = [f({ ...options, sparse: true }), f(options)];
      const w = weight.detach();
      expect(grad(own)(w).data).toEqual(grad(plain)(w).data);
      expect(hvp(own, w, randn([N, 6])).shape).toEqual([N, 6]);
      const v = randn([N, 6]);
      expect(hvp(own, w, v).data).toEqual(hvp(plain, w, v).data);
      if ("paddingIdx" in options)
        expect(
          hvp(own, w, v)
            .data.slice(30, 36)
            .every((x) => x === 0),
        ).toBe(true);
    }
    const layer = table(6);
    lossOf(layer.forward(index)).backward({ createGraph: true });
    expect(isSparse(layer.weight)).toBe(false);
    expect(layer.weight.grad!.requiresGrad).toBe(true);
  });

  test("read after a compiled call is that of the last call, and does not change the next step", () => {
    const [a, b] = [table(6), table(6)];
    const [first, second] = [a, b].map((layer) => {
      const optimizer = rowwise.SparseAdam(layer.parameters());
      return compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
    });
    for (const list of batches(5, 9)) {
      const weight = zeros([N, 6]).copyFrom(a.weight.detach());
      first!(ints(list));
      second!(ints(list));
      expect(a.weight.grad!.data).toEqual(grad((w: Tensor) => lossOf(embedding(ints(list), w)))(weight).data);
    }
    expect(isSparse(a.weight)).toBe(true);
    expect(a.weight.data).toEqual(b.weight.data);
  });

  test.each(MODES)("replaced or overwritten through grad is the one that the step uses: %s", (mode) => {
    for (const change of [
      (p: Tensor) => void p.grad!.copyFrom(p.grad!.mul(0.5)),
      (p: Tensor) => void (p.grad = p.grad!.mul(0.5)),
      (p: Tensor) => tidy(() => void p.grad!.copyFrom(p.grad!.mul(0.5))),
    ]) {
      const run = (sparse: boolean): ArrayLike<number> => {
        const layer = table(6, { sparse });
        const optimizer = rowwise.SGD(layer.parameters());
        const step = inMode(mode, (x: Tensor) => {
          optimizer.zeroGrad();
          const loss = lossOf(layer.forward(x));
          loss.backward();
          change(layer.weight);
          optimizer.step();
          return loss.detach();
        });
        for (const list of batches(3, 9)) step(ints(list));
        return layer.weight.data;
      };
      expectClose(run(true), run(false), 1e-6);
    }
  });

  test.each(MODES)("is clipped like a dense one, and stays sparse: %s", (mode) => {
    const clips: readonly ((ps: Tensor[]) => Tensor | undefined)[] = [
      (ps) => optim.clipGradNorm(ps, 0.5),
      (ps) => optim.clipGradNorm(ps, 0.5, { normType: 1 }),
      (ps) => optim.clipGradNorm(ps, 0.5, { normType: Number.POSITIVE_INFINITY }),
      (ps) => optim.clipGradNorm(ps, 0.5, { normType: Number.NEGATIVE_INFINITY }),
      (ps) => optim.clipGradNorm(ps, 0.5, { normType: 0 }),
      (ps) => void optim.clipGradValue(ps, 0.01),
    ];
    for (const clip of clips) {
      const [own, dense] = [true, false].map((sparse) => {
        const layer = table(6, { sparse });
        const f = inMode(mode, (x: Tensor) => {
          layer.zeroGrad();
          lossOf(layer.forward(x)).backward();
          return clip(layer.parameters()) ?? zeros([]).clone();
        });
        const norm = f(index).item();
        expect(isSparse(layer.weight)).toBe(sparse);
        return { norm, data: layer.weight.grad!.data };
      });
      expectClose([own!.norm], [dense!.norm], 1e-5);
      expectClose(own!.data, dense!.data, 1e-6);
    }
  });

  test.each([
    ["live()", (p: Tensor) => p.grad!.live()],
    ["live() of an alias", (p: Tensor) => p.grad!.detach().live()],
  ])("written through %s is the one that the step uses", (_, view) => {
    const [own, dense] = [true, false].map((sparse) => {
      const weight = zeros([5]);
      weight.requiresGrad = true;
      embedding(ints([1, 2]), weight, { sparse })
        .sum()
        .backward();
      const g = view(weight);
      g[1] = 10;
      g[4] = 7;
      new optim.SGD([weight], { lr: 1 }).step();
      return [...weight.data];
    });
    expect(own).toEqual([0, -10, -1, 0, -7]);
    expect(dense).toEqual(own);
  });

  test("stays sparse if code only reads it", () => {
    const layer = table(6);
    const watcher = watch(layer);
    lossOf(layer.forward(index)).backward();
    expect(layer.weight.grad!.data.length).toBe(6 * N);
    expect(watcher.step().parameters[0]!.gradient).toBeGreaterThan(0);
    expect(isSparse(layer.weight)).toBe(true);
    watcher.stop();
  });

  test("has at most as many rows as the table", () => {
    const weight = randn([100, 4]);
    const dense = weight.clone();
    for (const x of [weight, dense]) x.requiresGrad = true;
    const list = Array.from({ length: 500 }, (_, i) => (7 * i) % 90);
    for (let t = 0; t < 6; t++)
      for (const x of [weight, dense]) lossOf(embedding(ints(list), x, { sparse: x === weight })).backward();
    const { rows, index: numbers } = weight.gradient as unknown as { rows: Tensor; index: Tensor };
    expect([rows.shape, numbers.shape]).toEqual([[100, 4], [100]]);
    expectClose(weight.grad!.data, dense.grad!.data, 1e-5);
  });

  test("of an empty batch has norm 0 of any order", () => {
    for (const normType of [2, 1, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const [own, dense] = [true, false].map((sparse) => {
        const layer = table(3, { sparse });
        layer.forward(ints([])).sum().backward();
        return optim.clipGradNorm(layer.parameters(), 1, { normType }).item();
      });
      expect([own, dense]).toEqual([0, 0]);
    }
  });

  test("that was disposed throws in a step, as a dense one does, and compiled calls replace it", () => {
    for (const sparse of [true, false]) {
      const layer = table(6, { sparse });
      const optimizer = rowwise.SGD(layer.parameters());
      const f = compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
      for (let t = 0; t < 2; t++) {
        lossOf(layer.forward(index)).backward();
        layer.weight.grad!.dispose();
        expect(() => optimizer.step()).toThrow(DisposedError);
        expect(() => optim.clipGradNorm(layer.parameters(), 1)).toThrow(DisposedError);
        f(index);
        expect(isSparse(layer.weight)).toBe(sparse);
        layer.weight.grad!.dispose();
        f(index);
        expect(layer.weight.grad!.data.length).toBe(6 * N);
        layer.zeroGrad();
      }
    }
  });

  test("that code holds is updated in place by later compiled calls, also after a write", () => {
    const [own, dense] = [true, false].map((sparse) => {
      const layer = table(6, { sparse });
      const f = compile((x: Tensor) => {
        layer.zeroGrad();
        const loss = lossOf(layer.forward(x));
        loss.backward();
        return loss.detach();
      });
      f(index);
      const g = layer.weight.grad!;
      const seen = [g.data];
      for (const write of [() => {}, () => void g.copyFrom(g.mul(2)), () => void g.live().fill(3)]) {
        write();
        f(ints([9, 8, 9, 0, 0, 2]));
        expect(layer.weight.grad).toBe(g);
        seen.push(g.data);
        f(index);
        expect(layer.weight.grad).toBe(g);
        seen.push(g.data);
      }
      expect(isSparse(layer.weight)).toBe(sparse);
      return seen;
    });
    own!.forEach((data, i) => void expectClose(data, dense![i]!, 1e-6));
  });

  test("that was read again before an error is still that of the last compiled call", () => {
    const layer = table(6);
    const optimizer = rowwise.SGD(layer.parameters());
    const f = compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
    f(index);
    const g = layer.weight.grad!;
    const weight = layer.weight.detach().clone();
    const next = ints([9, 8, 9, 0, 0, 2]);
    f(next);
    const read = (): Tensor => {
      void layer.weight.grad;
      return tensor([-1]).sqrt();
    };
    expect(() => detectAnomaly(read)).toThrow(NonFiniteError);
    expect(layer.weight.grad).toBe(g);
    expect(isSparse(layer.weight)).toBe(true);
    expect(g.data).toEqual(grad((w: Tensor) => lossOf(embedding(next, w)))(weight).data);
  });

  test.each([
    ["overwritten", (p: Tensor) => void p.grad!.copyFrom(p.grad!.mul(2))],
    ["exposed", (p: Tensor) => void p.grad!.live()],
    ["read", (p: Tensor) => void p.grad],
  ])("that was %s outlives the compiled function", (_, change) => {
    const [own, dense] = [true, false].map((sparse) => {
      const layer = table(6, { sparse });
      const optimizer = rowwise.SGD(layer.parameters());
      const f = compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
      f(index);
      change(layer.weight);
      f.dispose();
      return layer.weight.grad!.data;
    });
    expectClose(own!, dense!, 1e-6);
  });

  test.each<[string, (p: Tensor, backward: () => void) => void]>([
    ["backward", (_, backward) => backward()],
    ["clipGradNorm", (p) => void optim.clipGradNorm([p], 0.1).dispose()],
    ["clipGradValue", (p) => optim.clipGradValue([p], 0.1)],
    [
      "setting it to null",
      (p) => {
        p.grad!.dispose();
        p.grad = null;
      },
    ],
    [
      "a compiled step",
      (p) => {
        const optimizer = rowwise.SGD([p]);
        const f = compile(() => optimizer.minimize(() => lossOf(embedding(index, p, { sparse: true }))));
        for (let t = 0; t < 2; t++) {
          f();
          p.grad!.copyFrom(p.grad!.data);
        }
        f.dispose();
        optimizer.dispose();
      },
    ],
    ["dispose() of the leaf", () => {}],
  ])("that was overwritten is freed by %s", (_, change) => {
    const cycle = (overwrite: boolean): void => {
      tidy(() => {
        const weight = randn([N, 6]).keep();
        weight.requiresGrad = true;
        const backward = (): void => lossOf(embedding(index, weight, { sparse: true })).backward();
        backward();
        if (overwrite) weight.grad!.copyFrom(weight.grad!.data);
        change(weight, backward);
        weight.dispose();
      });
    };
    cycle(true);
    const { tensors, bytes } = memory();
    for (let t = 0; t < 3; t++) cycle(t !== 1);
    const after = memory();
    expect({ tensors: after.tensors, bytes: after.bytes }).toEqual({ tensors, bytes });
  });

  test("of a table that a scope frees is freed with it, and training leaks nothing", () => {
    const layer = table(6);
    const optimizer = rowwise.SparseAdam(layer.parameters());
    const step = (): void => {
      tidy(() => {
        const other = randn([N, 6]);
        other.requiresGrad = true;
        lossOf(embedding(index, other, { sparse: true })).backward();
        other.grad!.copyFrom(other.grad!.data);
        const unwritten = randn([N, 6]);
        unwritten.requiresGrad = true;
        lossOf(embedding(index, unwritten, { sparse: true })).backward();
        void unwritten.grad;
        optimizer.minimize(() => lossOf(layer.forward(index)));
        void layer.weight.grad;
      });
    };
    step();
    const before = memory();
    for (let t = 0; t < 5; t++) step();
    const { tensors, bytes } = memory();
    expect({ tensors, bytes }).toEqual({ tensors: before.tensors, bytes: before.bytes });
    layer.zeroGrad();
    expect(layer.weight.grad).toBe(null);
    expect(memory().tensors).toBe(before.tensors - 3);
  });
});
