/**
 * Compares two ways to compute per-sample gradients: one compiled backward pass over a whole batch, and loops over its samples. Times are
 * for the whole batch.
 */
import { type PerSample, perSampleGradients } from "../../src/gradients/index.ts";
import { compile, losses, manualSeed, nn, randint, randn, stack, type Tensor, tidy } from "../../src/index.ts";
import { type Case, median, type Suite } from "../measure.ts";

interface Problem {
  readonly name: string;
  readonly batch: number;
  readonly input: readonly number[];
  readonly make: () => nn.Module;
}

const mlp =
  (...sizes: readonly [number, number, number]) =>
  (): nn.Module =>
    new nn.Sequential(new nn.Linear(sizes[0], sizes[1]), new nn.Tanh(), new nn.Linear(sizes[1], sizes[2]));
const cnn = (): nn.Module =>
  new nn.Sequential(
    new nn.Conv2d(1, 8, 3),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(400, 10),
  );
const problems: readonly Problem[] = [
  { name: "MLP 32-64-10 B=256", batch: 256, input: [32], make: mlp(32, 64, 10) },
  { name: "MLP 196-48-10 B=128", batch: 128, input: [196], make: mlp(196, 48, 10) },
  { name: "MLP 784-128-10 B=64", batch: 64, input: [784], make: mlp(784, 128, 10) },
  { name: "CNN 8-16 28×28 B=64", batch: 64, input: [28, 28, 1], make: cnn },
];

/** The largest difference between two results, relative to the largest value. */
function distance(a: PerSample, b: PerSample): number {
  return Math.max(
    ...Object.entries(a).map(([name, x]) =>
      tidy(() => x.sub(b[name]!).abs().max().item() / Math.max(1e-6, x.abs().max().item())),
    ),
  );
}

function* cases(): Generator<Case> {
  for (const { name, batch, input, make } of problems) {
    manualSeed(1);
    const model = make();
    const [x, labels] = [randn([batch, ...input]), randint(0, 10, [batch])];
    const lossOf = (a: Tensor, b: Tensor): Tensor =>
      losses.crossEntropy(model.forward(a) as Tensor, b, { reduction: "none" });
    const samples = Array.from({ length: batch }, (_, k) => [x.narrow(0, k, 1), labels.narrow(0, k, 1)] as const);
    const together = perSampleGradients(model, lossOf, { method: "batch" });
    // The loop that users write: backward for each sample, and a copy of every gradient.
    const loop = (): Record<string, Tensor[]> => {
      const rows: Record<string, Tensor[]> = {};
      for (const [a, b] of samples) {
        model.zeroGrad();
        tidy(() => lossOf(a, b).sum().backward());
        for (const [key, p] of model.namedParameters()) (rows[key] ??= []).push(p.grad!.clone());
      }
      return rows;
    };
    // The fastest possible loop: a compiled step for one sample, and a read of its gradients.
    const single = compile((a: Tensor, b: Tensor) => {
      model.zeroGrad();
      lossOf(a, b).sum().backward();
      return model.parameters().map((p) => p.grad!);
    });
    const difference = tidy(() =>
      distance(together(x, labels), Object.fromEntries(Object.entries(loop()).map(([k, v]) => [k, stack(v)]))),
    );
    if (!(difference < 1e-4))
      throw new Error(`${name}: the batch's gradients must equal the loop's, got a difference of ${difference}.`);
    const once = (run: () => void): number => {
      const started = performance.now();
      run();
      return performance.now() - started;
    };
    const runs = {
      "loop, eager": () => void tidy(() => Object.values(loop()).map((rows) => stack(rows))),
      "loop, compiled": () => {
        for (const [a, b] of samples) for (const g of single(a, b)) void g.data;
      },
      "one backward": () => void together(x, labels),
    };
    for (let i = 0; i < 3; i++) for (const run of Object.values(runs)) run();
    const times = Array.from({ length: 9 }, () => Object.values(runs).map(once));
    const ratio = (i: number): string => median(times.map((round) => round[i]! / round[2]!)).toFixed(1);
    yield {
      name,
      contenders: Object.entries(runs).map(([impl, run]) => ({ impl, run })),
      note: `${name}: one backward is ${ratio(0)}× as fast as the eager loop, and ${ratio(1)}× as fast as the compiled loop`,
    };
    together.dispose();
    single.dispose();
  }
}

export const gradients: Suite = { name: "gradients", cases };
