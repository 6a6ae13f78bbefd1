/**
 * Compares nabla's matrix products with pure JS: square ones, and the three that train a linear layer. Results are rates in GFLOP/s, also
 * given as fractions of the ceiling.
 */
import { linear, type Tensor, tensor, tidy } from "../../src/index.ts";
import { engine, kernels } from "../../src/runtime/engine.ts";
import { type Case, CEILING, type Contender, PURE, type Suite } from "../measure.ts";
import { product, productTransB } from "../pure/matmul.ts";
import { requireClose, uniform } from "../values.ts";

/** C [m, n] = op(A)·op(B), inner size k. */
interface Shape {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly trans?: "A" | "B";
  readonly label?: string;
  /** Whether the public API is measured too. */
  readonly api?: boolean;
}

/** The products x·Wᵀ, dY·W and dYᵀ·x of a linear layer. */
const layer = (batch: number, inputs: number, outputs: number): Shape[] => [
  { m: batch, k: inputs, n: outputs, trans: "B", label: "x·Wᵀ", api: true },
  { m: batch, k: outputs, n: inputs, label: "dY·W" },
  { m: outputs, k: batch, n: inputs, trans: "A", label: "dYᵀ·x" },
];

const cube = (n: number, api = false): Shape => ({ m: n, k: n, n, api });
const shapes: readonly Shape[] = [
  cube(64, true),
  cube(128),
  cube(256, true),
  cube(512),
  cube(1024),
  ...layer(32, 784, 128),
  ...layer(128, 784, 512),
];

/** The length of the ceiling kernel's chain of multiply-adds. With this length, a call takes a few microseconds. */
const CHAIN = 1000;

/** A kernel that does nothing but multiply-adds (assembly/kernels/probe.ts). */
export const ceiling = (): Contender => {
  const { fmaCeiling } = kernels();
  return { impl: CEILING, run: () => void fmaCeiling!(CHAIN, 0.5, 1), flops: 96 * CHAIN };
};

/** A contender that calls the exported kernel, without tensors. */
function kernelContender(
  { m, k, n, trans }: Shape,
  a: Float32Array,
  b: Float32Array,
  expected: Float32Array,
): { contender: Contender; free: () => void } {
  const { heap } = engine();
  const [transA, transB] = [trans === "A" ? 1 : 0, trans === "B" ? 1 : 0];
  const { gemm, gemmWorkspace } = kernels();
  const sizes = [4 * m * n, 4 * m * k, 4 * k * n, gemmWorkspace!(m, n, k, transA, transB)];
  const blocks = sizes.map((bytes) => heap.allocate(bytes));
  const [out, left, right, workspace] = blocks as [number, number, number, number];
  heap.f32.set(a, left / 4);
  heap.f32.set(b, right / 4);
  // No bias, alpha 1, no activation, no accumulation. One call computes all of C.
  const run = () => void gemm!(out, left, right, 0, 0, m, n, k, transA, transB, 1, 0, 0, workspace, 0, m, 0, n);
  run();
  requireClose("gemm", heap.f32.subarray(out / 4, out / 4 + m * n), expected, 1e-6 * k);
  return {
    contender: { impl: "nabla kernel", run },
    free: () => blocks.forEach((at, i) => heap.release(at, sizes[i]!)),
  };
}

/** The public API. */
function apiContender(
  { m, k, n, trans }: Shape,
  a: Float32Array,
  b: Float32Array,
  expected: Float32Array,
): { contender: Contender; free: () => void } {
  const left = tensor(a, [m, k]);
  const right = tensor(b, trans === "B" ? [n, k] : [k, n]);
  const compute = (): Tensor => (trans === "B" ? linear(left, right) : left.matmul(right));
  tidy(() => requireClose("matmul", compute().data, expected, 1e-6 * k));
  const run = () => tidy(() => void compute());
  return { contender: { impl: "nabla API", run }, free: () => [left, right].forEach((x) => x.dispose()) };
}

function* cases(): Generator<Case> {
  for (const shape of shapes) {
    const { m, k, n, trans, label, api } = shape;
    const [a, b, c] = [uniform(m * k, -1, 1, 1), uniform(k * n, -1, 1, 2), new Float32Array(m * n)];
    const pure = () => (trans === "B" ? productTransB(c, a, b, m, k, n) : product(c, a, b, m, k, n, trans === "A"));
    pure();
    const own = [kernelContender(shape, a, b, c), ...(api ? [apiContender(shape, a, b, c)] : [])];
    const name = label ? `${m}×${k}×${n} ${label}` : `${n}³`;
    yield {
      name,
      flops: 2 * m * k * n,
      contenders: [ceiling(), { impl: PURE, run: pure }, ...own.map(({ contender }) => contender)],
    };
    for (const { free } of own) free();
  }
}

export const matmul: Suite = { name: "matmul", cases };
