/**
 * The measured cost of ops on one thread, in nanoseconds per operation, next to the estimate with which src/ops/definition/work.ts decides
 * what threads share.
 */
import { Op } from "../../assembly/opcodes.ts";
import { manualSeed, rand, randint, type Tensor, tidy } from "../../src/index.ts";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { costOf, operationsOf } from "../../src/ops/definition/work.ts";
import { PLAIN_PRODUCT } from "../../src/ops/matrix/matmul.ts";
import { table } from "../../src/ops/table.ts";
import { type Case, median, type Suite } from "../measure.ts";

const [ROWS, COLUMNS] = [1024, 64];
const N = ROWS * COLUMNS;
const middle = (outer: number, n: number, inner: number, shape: number[]) => ({
  outer,
  n,
  inner,
  divisor: 1,
  reverse: false,
  shape,
});

/** A call of N elements or so, for families that are taken to cost something each. */
function callOf(code: Op): { inputs: Tensor[]; attributes: unknown } | undefined {
  const rows = (): Tensor => rand([ROWS, COLUMNS]);
  const labels = (): Tensor => randint(0, COLUMNS, [ROWS]);
  if (code <= Op.Round) return { inputs: [rand([N])], attributes: [0.25, 0.75] };
  if (code <= Op.ClampGrad) return { inputs: [rand([N]), rand([N])], attributes: [0.25, 0.75] };
  if (code <= Op.LessEqual) return { inputs: [rand([N]), rand([N])], attributes: null };
  if (code === Op.Where) return { inputs: [rand([N]).gt(0.5), rand([N]), rand([N])], attributes: null };
  if (code <= Op.ArgMin) return { inputs: [rows()], attributes: middle(ROWS, COLUMNS, 1, [ROWS]) };
  if (code === Op.Cumsum) return { inputs: [rows()], attributes: middle(1, ROWS, COLUMNS, [ROWS, COLUMNS]) };
  if (code <= Op.LogSoftmax) return { inputs: [rows()], attributes: null };
  if (code <= Op.LogSoftmaxGrad) return { inputs: [rows(), rows()], attributes: null };
  if (code === Op.CrossEntropy) return { inputs: [rows(), labels()], attributes: { ignoreIndex: -100 } };
  if (code === Op.CrossEntropyGrad)
    return { inputs: [rand([ROWS]), rows(), labels(), rand([ROWS, 2])], attributes: { ignoreIndex: -100 } };
  if (code === Op.Matmul) return { inputs: [rand([256, 256]), rand([256, 256])], attributes: PLAIN_PRODUCT };
  if (code === Op.Fill) return { inputs: [], attributes: { shape: [N], dtype: "float32", value: 3 } };
  if (code === Op.Permute) return { inputs: [rows()], attributes: { dims: [1, 0] } };
  if (code === Op.Cast) return { inputs: [rand([N])], attributes: { dtype: "int32" } };
  if (code === Op.OneHot) return { inputs: [labels()], attributes: { classes: COLUMNS } };
  if (code === Op.RandomInteger) return { inputs: [], attributes: { shape: [N], p: -7, q: 1000 } };
  if (code >= Op.Uniform && code <= Op.Bernoulli) return { inputs: [], attributes: { shape: [N], p: 0.25, q: 0.75 } };
  if (code !== Op.Adam) return undefined;
  return {
    inputs: [rand([]), rand([N]), rand([N]), randint(2, 3, []), rand([N]), rand([N])],
    attributes: { flags: 0, constants: [0.9, 0.999, 1e-8, 0], slots: [0, 1] },
  };
}

/** Nanoseconds of a call, the median of many. */
function time(run: () => void): number {
  for (let i = 0; i < 50; i++) run();
  const calls = Array.from({ length: 100 }, () => {
    const before = performance.now();
    run();
    return performance.now() - before;
  });
  return 1e6 * median(calls);
}

function* cases(): Generator<Case> {
  manualSeed(1);
  for (const op of Object.values(table) as AnyOp[]) {
    const call = callOf(op.code);
    if (!call) continue;
    const { inputs, attributes } = call;
    const run = (): void => tidy(() => void applyAll(op, inputs, attributes));
    const operations = tidy(() => {
      const outputs = applyAll(op, inputs, attributes);
      return operationsOf(op, { inputs, outputs, attributes });
    });
    const cost = time(run) / operations;
    yield {
      name: op.name,
      contenders: [{ impl: "nabla API", run }],
      note: `${op.name}: ${cost.toFixed(3)} ns, taken as ${costOf(op)}`,
    };
    for (const x of inputs) x.dispose();
  }
}

export const costs: Suite = { name: "costs", cases };
