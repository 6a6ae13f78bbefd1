/**
 * Measures the cost of each op on one thread, in nanoseconds per operation, and prints it next to the estimate (`cost`) in the op's entry,
 * which decides whether threads share the op.
 */
import { Family, Op } from "../../assembly/opcodes.ts";
import { manualSeed, rand, randint, type Tensor, tidy } from "../../src/index.ts";
import { type AnyOp, applyAll, familyOf } from "../../src/ops/definition/op.ts";
import { operationsOf } from "../../src/ops/definition/work.ts";
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

/** The inputs and attributes of a call with about N elements; undefined for ops that the suite does not measure. */
function callOf(op: AnyOp): { inputs: Tensor[]; attributes: unknown } | undefined {
  const rows = (): Tensor => rand([ROWS, COLUMNS]);
  const labels = (): Tensor => randint(0, COLUMNS, [ROWS]);
  switch (familyOf(op)) {
    case Family.Unary:
      return { inputs: [rand([N])], attributes: [0.25, 0.75] };
    case Family.Derivative:
      return { inputs: [rand([N]), rand([N])], attributes: [0.25, 0.75] };
    case Family.Binary:
    case Family.Compare:
      return { inputs: [rand([N]), rand([N])], attributes: null };
    case Family.Where:
      return { inputs: [rand([N]).gt(0.5), rand([N]), rand([N])], attributes: null };
    case Family.Reduce:
      return op.code === Op.Cumsum
        ? { inputs: [rows()], attributes: middle(1, ROWS, COLUMNS, [ROWS, COLUMNS]) }
        : { inputs: [rows()], attributes: middle(ROWS, COLUMNS, 1, [ROWS]) };
    case Family.Softmax:
      return { inputs: [rows()], attributes: null };
    case Family.SoftmaxGrad:
      return { inputs: [rows(), rows()], attributes: null };
    case Family.OneHot:
      return { inputs: [labels()], attributes: { classes: COLUMNS } };
    case Family.Distribution:
    case Family.Bernoulli:
      return { inputs: [], attributes: { shape: [N], p: 0.25, q: 0.75 } };
    case Family.RandomInteger:
      return { inputs: [], attributes: { shape: [N], p: -7, q: 1000 } };
  }
  switch (op.code) {
    case Op.CrossEntropy:
      return { inputs: [rows(), labels()], attributes: { ignoreIndex: -100 } };
    case Op.CrossEntropyGrad:
      return { inputs: [rand([ROWS]), rows(), labels(), rand([ROWS, 2])], attributes: { ignoreIndex: -100 } };
    case Op.Matmul:
      return { inputs: [rand([256, 256]), rand([256, 256])], attributes: PLAIN_PRODUCT };
    case Op.Fill:
      return { inputs: [], attributes: { shape: [N], dtype: "float32", value: 3 } };
    case Op.Permute:
      return { inputs: [rows()], attributes: { dims: [1, 0] } };
    case Op.Cast:
      return { inputs: [rand([N])], attributes: { dtype: "int32" } };
    case Op.Adam:
      return {
        inputs: [rand([]), rand([N]), rand([N]), randint(2, 3, []), rand([N]), rand([N])],
        attributes: { flags: 0, constants: [0.9, 0.999, 1e-8, 0], slots: [0, 1] },
      };
  }
  return undefined;
}

/** The median time of a call in nanoseconds. */
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
    const call = callOf(op);
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
      note: `${op.name}: ${cost.toFixed(3)} ns, estimated as ${op.cost}`,
    };
    for (const x of inputs) x.dispose();
  }
}

export const costs: Suite = { name: "costs", cases };
