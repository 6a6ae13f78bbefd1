/** Optimizers over many steps, schedules, averages and accumulation, against PyTorch or, if PyTorch 1.13 lacks them, against float64. */
import { compile, losses, manualSeed, nn, optim, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";
import { expectTorch, load, values } from "../support/torch.ts";

type Minimizer = { minimize(loss: () => Tensor): unknown };
const make = (kind: string, params: Tensor[], options: object): Minimizer =>
  new (optim[kind as keyof typeof optim] as unknown as new (params: Tensor[], options: object) => Minimizer)(
    params,
    options,
  );

/** The problem that make.py solves with PyTorch: fit tanh(x·W1ᵀ + b1)·W2ᵀ to y. */
function problem() {
  const params = values.problem.start.map(load);
  for (const p of params) p.requiresGrad = true;
  const [w1, b1, w2] = params as [Tensor, Tensor, Tensor];
  const [x, y] = [load(values.problem.x), load(values.problem.y)];
  return { params, loss: () => losses.mse(x.matmul(w1.t()).add(b1).tanh().matmul(w2.t()), y) };
}

describe(`optimizers follow PyTorch ${values.torch} over 50 steps, within 1e-5`, () => {
  for (const { name, optimizer, options, at } of values.marathons) {
    test(name, () => {
      const { params, loss: mse } = problem();
      const running = make(optimizer, params, options);
      const ridge = () => params.map((p) => p.square().sum()).reduce((a, b) => a.add(b));
      const loss = optimizer === "LBFGS" ? () => mse().add(ridge().mul(0.1)) : mse;
      let seen = 0;
      for (let step = 1; step <= 50; step++) {
        running.minimize(loss);
        if (![1, 2, 10, 50].includes(step)) continue;
        for (const [i, p] of params.entries()) expectTorch(p, at[seen]![i]!, `parameter ${i} after step ${step}`);
        seen++;
      }
      expect(seen).toBe(4);
    });
  }
});

describe(`schedules match the learning rates of PyTorch ${values.torch}`, () => {
  for (const { name, schedule, args, rates, values: metrics } of values.schedules) {
    test(name, () => {
      const [a, b] = [tensor([0], { requiresGrad: true }), tensor([0], { requiresGrad: true })];
      const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 0.3 }], { lr: 0.1 });
      const Schedule = optim[schedule as keyof typeof optim] as unknown as new (
        ...args: unknown[]
      ) => optim.StepLR & { step(value?: number): void };
      const running = new Schedule(optimizer, ...args);
      rates.forEach((expected, t) => {
        const got = optimizer.paramGroups.map(({ lr }) => lr);
        expectClose(got, expected, 1e-9, `step ${t}`);
        if (t === 11) {
          // Halfway, load the state into a new schedule.
          const other = new Schedule(optimizer, ...args);
          other.loadStateDict(running.stateDict());
          expectClose(
            optimizer.paramGroups.map(({ lr }) => lr),
            schedule === "ReduceLROnPlateau" ? got : expected,
            1e-9,
          );
        }
        if (metrics) running.step(metrics[t]!);
        else running.step();
      });
    });
  }

  test("SequentialLR: a warm-up followed by a cosine", () => {
    const optimizer = new optim.SGD([tensor([0], { requiresGrad: true })], { lr: 0.4 });
    const parts = [new optim.LinearLR(optimizer, 0.25, 1, 3), new optim.CosineAnnealingLR(optimizer, 4)];
    // Both schedules use the optimizer's initial rate as their base.
    const running = new optim.SequentialLR(parts, [3]);
    const rates = Array.from({ length: 8 }, () => {
      const { lr } = optimizer;
      running.step();
      return lr;
    });
    const cosine = [0, 1, 2, 3, 4].map((t) => (0.4 * (1 + Math.cos((Math.PI * t) / 4))) / 2);
    expectClose(rates, [0.1, 0.2, 0.3, ...cosine], 1e-9);
  });

  test("OneCycleLR: takes totalSteps steps, and rejects any further step", () => {
    const optimizer = new optim.SGD([tensor([0], { requiresGrad: true })], { lr: 0.1 });
    const schedule = new optim.OneCycleLR(optimizer, 1, { totalSteps: 5 });
    for (let i = 0; i < 5; i++) schedule.step();
    expect(() => schedule.step()).toThrow("OneCycleLR: step 6 is beyond totalSteps 5. Pass a larger totalSteps.");
    expect(schedule.lastEpoch).toBe(5);
    expect(() => new optim.OneCycleLR(optimizer, 1, { totalSteps: 10, pctStart: 0.1 })).not.toThrow();
  });

  test("a group that is added later is scheduled from its own learning rate", () => {
    const optimizer = new optim.SGD([tensor([0], { requiresGrad: true })], { lr: 1 });
    const schedule = new optim.ExponentialLR(optimizer, 0.5);
    schedule.step();
    optimizer.addParamGroup({ params: [tensor([0], { requiresGrad: true })], lr: 8 });
    schedule.step();
    schedule.step();
    expect(schedule.getLastLr()).toEqual([1 / 8, 1]);
  });

  test("the states of ReduceLROnPlateau before its first value and of SequentialLR halfway survive JSON", () => {
    const optimizer = new optim.SGD([tensor([0], { requiresGrad: true })], { lr: 1 });
    const plateau = new optim.ReduceLROnPlateau(optimizer, { patience: 1 });
    plateau.loadStateDict(JSON.parse(JSON.stringify(plateau.stateDict())));
    for (const value of [5, 4, 3, 2, 1]) plateau.step(value);
    expect(optimizer.lr).toBe(1);
    expect(() => plateau.loadStateDict({ lastEpoch: 1 } as never)).toThrow(
      "ReduceLROnPlateau: the saved state does not fit this schedule. Was it saved by this schedule?",
    );
    const make = () =>
      new optim.SequentialLR([new optim.LinearLR(optimizer, 0.5, 1, 2), new optim.ExponentialLR(optimizer, 0.5)], [2]);
    const sequence = make();
    for (let i = 0; i < 4; i++) sequence.step();
    const rate = optimizer.lr;
    const other = make();
    other.loadStateDict(JSON.parse(JSON.stringify(sequence.stateDict())));
    expect(optimizer.lr).toBe(rate);
    other.step();
    expect(optimizer.lr).toBe(rate / 2);
    expect(() => new optim.SequentialLR([], [4, 2])).toThrow(
      /milestones must be increasing whole numbers above 0, got \[4, 2\]/,
    );
  });

  test("a compiled step is not recorded again if the learning rate changes", () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 0.5 });
    const schedule = new optim.StepLR(optimizer, 1, 0.5);
    let recorded = 0;
    const step = compile(() => {
      recorded++;
      return optimizer.minimize(() => p.sum());
    });
    for (let i = 0; i < 3; i++) {
      step();
      schedule.step();
    }
    expect(recorded).toBe(1);
    expect(p.toArray()).toEqual([1 - 0.5 - 0.25 - 0.125, 2 - 0.5 - 0.25 - 0.125]);
  });
});

/** The initial parameters, and the gradients for each step. */
const start = [0.5, -1.5, 2, 0.25, -0.75, 1, 3, -2, 0.1, 0.2, -0.3, 0.4];
const gradientAt = (t: number) => start.map((v, i) => Math.sin(v * 3 + i + t));

test.each([{}, { betas: [0.8, 0.95] as const, weightDecay: 0.2, lr: 0.01 }, { maximize: true, lr: 3e-3 }])(
  "Lion %o: equals algorithm 2 of Chen et al. in float64 over 50 steps",
  (options) => {
    const { betas = [0.9, 0.99], weightDecay = 0, lr = 1e-4, maximize = false } = options as optim.LionOptions;
    const p = tensor(start, { requiresGrad: true });
    const optimizer = new optim.Lion([p], options);
    const [w, m] = [Float64Array.from(start), new Float64Array(start.length)];
    for (let t = 1; t <= 50; t++) {
      p.grad = tensor(gradientAt(t));
      optimizer.step();
      gradientAt(t).forEach((raw, i) => {
        const g = (maximize ? -1 : 1) * Math.fround(raw);
        w[i] = w[i]! * (1 - lr * weightDecay) - lr * Math.sign(betas[0] * m[i]! + (1 - betas[0]) * g);
        m[i] = betas[1] * m[i]! + (1 - betas[1]) * g;
      });
    }
    expectClose(p.data, w, 1e-5);
  },
);

describe("Muon", () => {
  type Matrix = number[][];
  const product = (a: Matrix, b: Matrix): Matrix =>
    a.map((row) => b[0]!.map((_, j) => row.reduce((sum, v, k) => sum + v * b[k]![j]!, 0)));
  const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
  const map2 = (a: Matrix, b: Matrix, f: (x: number, y: number) => number): Matrix =>
    a.map((row, i) => row.map((v, j) => f(v, b[i]![j]!)));

  test.each([
    [3, 4, {}],
    [4, 3, { nesterov: false, momentum: 0.8, weightDecay: 0, lr: 0.02 }],
    [4, 3, { adjustLrFn: "matchRmsAdamW" as const, nsSteps: 3 }],
  ])("[%d, %d] %o: equals Jordan's iteration in float64 over 50 steps", (rows, columns, options) => {
    const {
      lr = 1e-3,
      momentum = 0.95,
      nesterov = true,
      weightDecay = 0.1,
      nsSteps = 5,
      adjustLrFn = "original",
    } = options as optim.MuonOptions;
    const matrix = (flat: readonly number[]): Matrix =>
      Array.from({ length: rows }, (_, i) => flat.slice(i * columns, (i + 1) * columns).map(Math.fround));
    const p = tensor(start, [rows, columns], { requiresGrad: true });
    const optimizer = new optim.Muon([p], options);
    let w = matrix(start);
    let b = matrix(start.map(() => 0));
    for (let t = 1; t <= 50; t++) {
      p.grad = tensor(gradientAt(t), [rows, columns]);
      optimizer.step();
      const g = matrix(gradientAt(t));
      b = map2(b, g, (x, y) => momentum * x + (1 - momentum) * y);
      const d = nesterov ? map2(g, b, (x, y) => (1 - momentum) * x + momentum * y) : b;
      const wide = rows <= columns;
      let x = wide ? d : transposed(d);
      const norm = Math.sqrt(x.flat().reduce((sum, v) => sum + v * v, 0));
      x = x.map((row) => row.map((v) => v / norm));
      for (let i = 0; i < nsSteps; i++) {
        const gram = product(x, transposed(x));
        const update = map2(gram, product(gram, gram), (u, v) => -4.775 * u + 2.0315 * v);
        x = map2(x, product(update, x), (u, v) => 3.4445 * u + v);
      }
      const step = wide ? x : transposed(x);
      const factor =
        adjustLrFn === "original" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
      w = map2(w, step, (u, v) => u * (1 - lr * weightDecay) - lr * factor * v);
    }
    expectClose(p.data, w.flat(), 1e-5);
  });

  test("accepts only matrices, even in groups that are added later", () => {
    const muon = new optim.Muon([tensor([[1]], { requiresGrad: true })]);
    expect(() => muon.addParamGroup({ params: [tensor([1], { requiresGrad: true })] })).toThrow(
      "Muon: a parameter must be a matrix, got [1]",
    );
    expect(() => new optim.Muon([tensor([1], { requiresGrad: true })])).toThrow(
      "Muon: a parameter must be a matrix, got [1]. Use Adam for other parameters.",
    );
  });
});

describe("L-BFGS", () => {
  const rosenbrock = (x: Tensor): Tensor => {
    const [a, b] = [x.narrow(0, 0, 1), x.narrow(0, 1, 1)];
    return a.sub(1).square().add(b.sub(a.square()).square().mul(100)).sum();
  };
  test.each([
    [-1.2, 1],
    [2, -3],
    [0, 5],
  ])("finds Rosenbrock's minimum from (%d, %d)", (a, b) => {
    const x = tensor([a, b], { requiresGrad: true });
    const optimizer = new optim.LBFGS([x], { lineSearchFn: "strongWolfe", maxIter: 100 });
    const before = optimizer.minimize(() => rosenbrock(x));
    expect(before).toBeCloseTo((a - 1) ** 2 + 100 * (b - a * a) ** 2, 2);
    // float32 resolves x to 1e-7. Along the valley, which is a thousand times as long as it is wide, the error can be a thousand times
    // larger.
    expectClose(x.data, [1, 1], 1e-4);
    expect(rosenbrock(x).item()).toBeLessThan(1e-8);
  });

  test("solves least squares for a model in one call of minimize", () => {
    manualSeed(4);
    const model = new nn.Linear(5, 2);
    const [x, y] = [randn([30, 5]), randn([30, 2])];
    const optimizer = new optim.LBFGS(model.parameters(), { lineSearchFn: "strongWolfe", maxIter: 40 });
    optimizer.minimize(() => losses.mse(model.forward(x), y));
    // At the minimum, the residuals are orthogonal to the inputs.
    const residuals = model.forward(x).sub(y);
    expectClose(x.t().matmul(residuals).data, new Float64Array(10), 1e-4);
    expectClose(residuals.sum(0).data, [0, 0], 1e-4);
  });

  test("does not step into a region where the loss is NaN", () => {
    const q = tensor([4], { requiresGrad: true });
    const optimizer = new optim.LBFGS([q], { lineSearchFn: "strongWolfe" });
    optimizer.minimize(() => q.sub(1).sqrt().mul(8).sum());
    expect(q.item()).toBeGreaterThanOrEqual(1);
    expect(q.item()).toBeLessThanOrEqual(4);
  });

  test.each<[object, RegExp]>([
    [{ lr: 0 }, /LBFGS: lr must be a number above 0, got 0/],
    [{ maxIter: 1.5 }, /LBFGS: maxIter must be a whole number above 0, got 1.5/],
    [{ lineSearchFn: "armijo" }, /LBFGS: lineSearchFn must be "strongWolfe" or null, got "armijo"/],
  ])("%o is rejected", (options, message) => {
    expect(() => new optim.LBFGS([tensor([1], { requiresGrad: true })], options)).toThrow(message);
  });
});

test.each(["NAdam", "Lion", "Muon"])("%s: compiled and eager steps are bit-identical", (kind) => {
  const run = (compiled: boolean): Float32Array[] => {
    const { params, loss } = problem();
    if (kind === "Muon") params.splice(1, 1)[0]!.requiresGrad = false; // Muon rejects b1, which is a vector
    const optimizer = make(kind, params, { lr: 0.01 });
    const step = () => optimizer.minimize(loss) as Tensor;
    const stepper = compiled ? compile(step) : step;
    for (let i = 0; i < 5; i++) stepper();
    return params.map((p) => p.data as Float32Array);
  };
  expect(run(true)).toEqual(run(false));
});

describe("averages of weights", () => {
  test("follow their formula in eager and compiled steps, and can replace the parameters", () => {
    for (const compiled of [false, true]) {
      const p = tensor([1, 2], { requiresGrad: true });
      const optimizer = new optim.SGD([p], { lr: 0.5 });
      const ema = new optim.EMA([p], { decay: 0.9 });
      const step = () => {
        const loss = optimizer.minimize(() => p.sum());
        ema.update();
        return loss;
      };
      const stepper = compiled ? compile(step) : step;
      const [w, average] = [
        [1, 2],
        [1, 2],
      ];
      for (let i = 0; i < 4; i++) {
        stepper();
        for (const j of [0, 1]) {
          w[j]! -= 0.5;
          average[j] = 0.9 * average[j]! + 0.1 * w[j]!;
        }
      }
      expectClose(ema.averages[0]!.data, average, 1e-6);
      expectClose(
        ema.average(() => p.data),
        average,
        1e-6,
      );
      expect(() =>
        ema.average(() => {
          throw new Error("inside");
        }),
      ).toThrow("inside");
      expect(p.toArray()).toEqual(w);
    }
  });
  test("a decay that is not between 0 and 1 is rejected", () => {
    expect(() => new optim.EMA([], { decay: 1.5 })).toThrow("EMA: decay must be in 0 … 1, got 1.5.");
  });
});

describe("gradient accumulation", () => {
  const run = (parts: number, compiled: boolean): Float32Array => {
    manualSeed(8);
    const model = new nn.Linear(3, 2);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const [x, y] = [randn([12, 3]), randn([12, 2])];
    const step = (a: Tensor, b: Tensor) => {
      const size = 12 / parts;
      const pieces = Array.from(
        { length: parts },
        (_, i) => () => losses.mse(model.forward(a.narrow(0, i * size, size)), b.narrow(0, i * size, size)),
      );
      return optimizer.minimize(parts === 1 ? pieces[0]! : pieces);
    };
    const stepper = compiled ? compile(step) : step;
    const loss = stepper(x, y).item();
    stepper(x, y);
    return Float32Array.of(loss, ...model.weight.data);
  };
  test.each([false, true])("the parts of a batch give the same step as the whole batch, compiled %s", (compiled) => {
    expectClose(run(4, compiled), run(1, compiled), 1e-6);
  });
  test("backward runs for each part before the next part's loss, so memory holds only one graph", () => {
    tidy(() => {
      const p = tensor([1], { requiresGrad: true });
      const order: string[] = [];
      const watched = (i: number) => () => {
        order.push(`${i} sees ${p.grad ? "a" : "no"} gradient`);
        return p.mul(i).sum();
      };
      new optim.SGD([p], { lr: 1 }).minimize([watched(1), watched(2)]);
      expect(order).toEqual(["1 sees no gradient", "2 sees a gradient"]);
      expect(p.item()).toBe(1 - 1.5);
    });
  });
  test("an empty list of losses is rejected", () => {
    expect(() => new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1 }).minimize([])).toThrow(
      "SGD.minimize: the list of losses is empty. Pass at least one function.",
    );
  });
});
