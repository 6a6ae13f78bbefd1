/**
 * Compares the raw kernels and the public API with pure JS: pointwise functions, softmax and sum on 2¹⁶ elements. Results are times per
 * call.
 */
import { type Tensor, tensor, tidy } from "../../src/index.ts";
import { engine, kernels } from "../../src/runtime/engine.ts";
import { type Case, PURE, type Suite } from "../measure.ts";
import * as pure from "../pure/elementwise.ts";
import { requireClose, uniform } from "../values.ts";

const N = 2 ** 16;
const COLUMNS = 128;
const ROWS = N / COLUMNS;
const FACTOR = 1.5;

/** The addresses of the result, the operands and the constant factor. */
interface Addresses {
  readonly out: number;
  readonly a: number;
  readonly b: number;
  readonly factor: number;
}

interface Row {
  readonly name: string;
  /** Calls the raw kernel. */
  readonly kernel: (at: Addresses) => void;
  readonly api: (a: Tensor, b: Tensor) => Tensor;
  readonly pure: (out: Float32Array, a: Float32Array, b: Float32Array) => void;
  /** The number of elements in the result. Default N. */
  readonly results?: number;
}

/** A row for a function with one operand. Its kernel takes (out, x, begin, end, p, q). */
const unary = (name: "exp" | "tanh" | "sigmoid" | "gelu" | "relu"): Row => {
  const kernel = kernels()[name]!;
  return { name, kernel: ({ out, a }) => void kernel(out, a, 0, N, 0, 0), api: (x) => x[name](), pure: pure[name] };
};

function rows(): Row[] {
  const { add, mul, softmax, sum } = kernels();
  return [
    unary("exp"),
    unary("tanh"),
    unary("sigmoid"),
    unary("gelu"),
    unary("relu"),
    { name: "add", kernel: ({ out, a, b }) => void add!(out, a, b, N, 1, 1), api: (a, b) => a.add(b), pure: pure.add },
    {
      name: "mul by a number",
      kernel: ({ out, a, factor }) => void mul!(out, a, factor, N, 1, 0),
      api: (a) => a.mul(FACTOR),
      pure: (out, a) => pure.scale(out, a, FACTOR),
    },
    {
      name: `softmax ${ROWS}×${COLUMNS}`,
      kernel: ({ out, a }) => void softmax!(out, a, COLUMNS, 0, ROWS),
      api: (a) => a.reshape([ROWS, COLUMNS]).softmax(-1),
      pure: (out, a) => pure.softmax(out, a, COLUMNS),
    },
    {
      name: "sum",
      kernel: ({ out, a }) => void sum!(out, a, N, N, 1, 1, 0, 1),
      api: (a) => a.sum(),
      pure: pure.sum,
      results: 1,
    },
  ];
}

function* cases(): Generator<Case> {
  const { heap } = engine();
  const [a, b] = [uniform(N, -4, 4, 1), uniform(N, -4, 4, 2)];
  const at: Addresses = {
    out: heap.allocate(4 * N),
    a: heap.allocate(4 * N),
    b: heap.allocate(4 * N),
    factor: heap.allocate(4),
  };
  heap.f32.set(a, at.a / 4);
  heap.f32.set(b, at.b / 4);
  heap.f32[at.factor / 4] = FACTOR;
  const [ta, tb] = [tensor(a), tensor(b)];
  for (const row of rows()) {
    const { name, results = N } = row;
    const out = new Float32Array(results);
    row.pure(out, a, b);
    row.kernel(at);
    requireClose(`${name}, kernel`, heap.f32.subarray(at.out / 4, at.out / 4 + results), out, 1e-4);
    tidy(() => requireClose(`${name}, API`, row.api(ta, tb).data, out, 1e-4));
    yield {
      name,
      contenders: [
        { impl: PURE, run: () => row.pure(out, a, b) },
        { impl: "nabla kernel", run: () => row.kernel(at) },
        { impl: "nabla API", run: () => tidy(() => void row.api(ta, tb)) },
      ],
    };
  }
  for (const x of [ta, tb]) x.dispose();
}

export const elementwise: Suite = { name: "elementwise", cases };
