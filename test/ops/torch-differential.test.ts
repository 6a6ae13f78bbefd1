/**
 * 500 random configurations of losses, reductions, norms, optimizers and integer ops, eager and compiled, agree with
 * PyTorch's values (test/torch/differential.json, which differential.py writes).
 */
import { readFileSync } from "node:fs";
import { compile, grad, optim, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { type Case, find, load, loadArgument, type Stored } from "../support/torch.ts";

type Values = Exclude<Stored, { at: number }>;
interface CallCase extends Case {
  /** Whether the function returns several results. Only the first one is compared. */
  first?: boolean;
}
interface OptimizerCase {
  name: string;
  optimizer: "SGD" | "Adam" | "AdamW" | "NAdam" | "RMSProp" | "Adagrad";
  options: object;
  clip: number | null;
  start: Stored[];
  /** The gradients of each step; null for a parameter without a gradient. */
  steps: (Stored | null)[][];
  /** The gradients' total norm before clipping, in each step. */
  totals: number[];
  end: Stored[];
}
type Groups = Record<"losses" | "reductions" | "norms" | "integers", CallCase[]> & { optimizers: OptimizerCase[] };

const differential: Groups & { torch: string } = JSON.parse(
  readFileSync(new URL("../torch/differential.json", import.meta.url), "utf8"),
);

/**
 * The tolerance between float32 and PyTorch's float64: a fraction of the element, plus a fraction of the largest
 * element because sums may cancel.
 */
const RELATIVE = 2e-5;
const OF_LARGEST = 2e-6;

/** Asserts the shape, the element type and the values. Integers, booleans, NaN and ±∞ must equal PyTorch's. */
function expectClose(got: Tensor, stored: Stored, what: string): void {
  const want = stored as Values;
  expect([...got.shape], `${what}: shape`).toEqual(want.shape);
  expect(got.dtype, `${what}: dtype`).toBe(want.dtype ?? "float32");
  const expected = want.data.map(Number);
  const actual = Array.from(got.data);
  if (want.dtype) {
    expect(actual, what).toEqual(expected);
    return;
  }
  const scale = Math.max(0, ...expected.map(Math.abs).filter(Number.isFinite));
  const wrong = expected.findIndex((v, i) =>
    Number.isFinite(v)
      ? !(Math.abs(actual[i]! - v) <= RELATIVE * Math.abs(v) + OF_LARGEST * scale)
      : !Object.is(actual[i], v),
  );
  if (wrong >= 0) expect.fail(`${what}: element ${wrong} must be PyTorch's ${expected[wrong]}, got ${actual[wrong]}`);
}

const bits = (x: Tensor): Uint8Array => new Uint8Array(x.data.buffer);

/** The value and the gradients of a configuration, as one function of its tensors. */
function program({ f, args, wrt = [], dy, first }: CallCase): { run: (...xs: Tensor[]) => Tensor[]; inputs: Tensor[] } {
  const method = (x: unknown, ...rest: unknown[]): Tensor =>
    (x as Record<string, (...a: unknown[]) => Tensor>)[f]!(...rest);
  // `to` exists only as a method.
  const call = f === "to" ? method : find(f);
  const loaded = args.map(loadArgument);
  const value = (all: unknown[]): Tensor => {
    const result: unknown = call(...all);
    return first ? (result as Tensor[])[0]! : (result as Tensor);
  };
  const upstream = dy ? load(dy) : tensor(1);
  const run = (...xs: Tensor[]): Tensor[] => {
    const all = [...loaded];
    for (const [i, at] of wrt.entries()) all[at] = xs[i];
    if (!wrt.length) return [value(all)];
    const loss = (...points: Tensor[]): Tensor => {
      const here = [...all];
      for (const [i, at] of wrt.entries()) here[at] = points[i];
      return value(here).mul(upstream).sum();
    };
    return [value(all), ...(grad(loss, Array.from(wrt.keys()))(...xs) as Tensor[])];
  };
  return { run, inputs: wrt.map((at) => loaded[at] as Tensor) };
}

for (const group of ["losses", "reductions", "norms", "integers"] as const) {
  describe(`${group}: random configurations agree with PyTorch ${differential.torch}, eager and compiled`, () => {
    for (const c of differential[group]) {
      test(c.name, () =>
        tidy(() => {
          const { run, inputs } = program(c);
          const [value, ...grads] = run(...inputs);
          expectClose(value!, c.out, "value");
          for (const [i, g] of grads.entries()) expectClose(g, c.grads![i]!, `gradient of argument ${c.wrt![i]}`);
          const compiled = compile(run, { name: c.f });
          const again = compiled(...inputs);
          for (const [i, x] of [value!, ...grads].entries())
            expect(bits(again[i]!), `compiled result ${i} is bit-identical to the eager one`).toEqual(bits(x));
          compiled.dispose();
        }),
      );
    }
  });
}

describe(`optimizers: random configurations take the same steps as PyTorch ${differential.torch}`, () => {
  for (const { name, optimizer: kind, options, clip, start, steps, totals, end } of differential.optimizers) {
    test(name, () => {
      const params = start.map(load);
      for (const p of params) p.requiresGrad = true;
      const optimizer = new optim[kind](params, options as { lr: number });
      for (const [step, grads] of steps.entries()) {
        for (const [i, p] of params.entries()) p.grad = grads[i] ? load(grads[i]) : null;
        if (clip !== null) {
          const total = optim.clipGradNorm(params, clip).item();
          expect(Math.abs(total - totals[step]!)).toBeLessThanOrEqual(1e-6 * totals[step]!);
        }
        optimizer.step();
      }
      for (const [i, p] of params.entries()) expectClose(p, end[i]!, `parameter ${i}`);
    });
  }
});

test("the file has 500 configurations", () => {
  const { losses, reductions, norms, integers, optimizers } = differential;
  expect([losses, reductions, norms, integers, optimizers].reduce((n, group) => n + group.length, 0)).toBe(500);
});
