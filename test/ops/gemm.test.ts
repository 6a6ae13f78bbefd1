/**
 * The gemm kernel agrees with float64 for all sizes around the tile's edges, all transpositions, and any division into
 * shares.
 */
import { describe, expect, test } from "vitest";
import { engine } from "../../src/runtime/engine.ts";
import { seeded } from "../support/oracle.ts";

const { kernels, heap } = engine();
const call = (name: string, ...args: number[]): number => kernels[name]!(...args);
const MR = call("rowStep");
const NR = call("colStep");
const GUARD = 16;
const SENTINEL = 12345;

interface Case {
  m: number;
  n: number;
  k: number;
  transA?: number;
  transB?: number;
  alpha?: number;
  bias?: boolean;
  relu?: boolean;
  accumulate?: boolean;
  /** The rows and columns where the work is split into shares. */
  cuts?: { rows: number[]; cols: number[] };
}

/** The addresses of the operands, which all cases share. The memory around each operand is filled with NaN. */
const FLOATS = 1 << 21;
const [a, b, bias, c] = [0, 1, 2, 3].map(() => heap.allocate(4 * FLOATS)) as [number, number, number, number];
let workspace = 0;
let workspaceBytes = 0;

function run({ m, n, k, transA = 0, transB = 0, alpha = 1, bias: biased, relu, accumulate, cuts }: Case): Float32Array {
  const random = seeded(m * 10007 + n * 101 + k);
  const fill = (at: number, size: number) => {
    heap.f32.fill(Number.NaN, at / 4, at / 4 + size + GUARD);
    for (let i = 0; i < size; i++) heap.f32[at / 4 + i] = random() - 0.5;
  };
  fill(a, m * k);
  fill(b, k * n);
  fill(bias, n);
  heap.f32.fill(SENTINEL, c / 4, c / 4 + m * n + GUARD);
  for (let i = 0; i < m * n; i++) heap.f32[c / 4 + i] = random();
  const bytes = call("gemmWorkspace", m, n, k, transA, transB) >>> 0;
  if (bytes > workspaceBytes) {
    workspace = heap.allocate(bytes);
    workspaceBytes = bytes;
  }
  heap.f32.fill(Number.NaN, workspace / 4, (workspace + bytes) / 4);
  const rows = [0, ...(cuts?.rows ?? []), m];
  const cols = [0, ...(cuts?.cols ?? []), n];
  for (let i = rows.length - 1; i > 0; i--) {
    for (let j = cols.length - 1; j > 0; j--) {
      call(
        "gemm",
        c,
        a,
        b,
        biased ? bias : 0,
        0,
        m,
        n,
        k,
        transA,
        transB,
        alpha,
        relu ? 1 : 0,
        accumulate ? 1 : 0,
        workspace,
        rows[i - 1]!,
        rows[i]!,
        cols[j - 1]!,
        cols[j]!,
      );
    }
  }
  return heap.f32.slice(c / 4, c / 4 + m * n + GUARD);
}

/**
 * Asserts that each error is at most a fixed multiple of ε·(Σ|terms| + |result|), because the error of a float32 sum grows with its terms.
 */
function check(kind: Case): void {
  const { m, n, k, transA = 0, transB = 0, alpha = 1, bias: biased, relu, accumulate } = kind;
  const random = seeded(m * 10007 + n * 101 + k);
  const draw = (size: number) => Float32Array.from({ length: size }, () => random() - 0.5);
  const [x, w, shift] = [draw(m * k), draw(k * n), draw(n)];
  const before = Float32Array.from({ length: m * n }, () => random());
  const actual = run(kind);
  const what = JSON.stringify(kind);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let size = 0;
      for (let p = 0; p < k; p++) {
        const term = x[transA ? p * m + i : i * k + p]! * w[transB ? j * k + p : p * n + j]!;
        sum += term;
        size += Math.abs(term);
      }
      const linear = alpha * sum + (biased ? shift[j]! : 0);
      const expected = (relu ? Math.max(0, linear) : linear) + (accumulate ? before[i * n + j]! : 0);
      const bound = 2 ** -23 * (Math.sqrt(k + 4) * (Math.abs(alpha) * size) + 2 * Math.abs(expected) + 1);
      const error = Math.abs(actual[i * n + j]! - expected);
      if (!(error <= bound))
        expect.fail(`${what}: C[${i}, ${j}] must be ${expected} within ${bound}, got ${actual[i * n + j]}`);
    }
  }
  for (let i = m * n; i < actual.length; i++) expect(actual[i], `${what}: wrote past the end`).toBe(SENTINEL);
}

const edges = (tile: number): number[] => [
  ...new Set([1, 2, 3, 4, 5, tile - 1, tile, tile + 1, 2 * tile - 1, 2 * tile, 2 * tile + 1]),
];
const TRANSPOSITIONS = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
] as const;

describe("gemm", () => {
  for (const [transA, transB] of TRANSPOSITIONS) {
    test(`is correct for every m, n, k around the tile's edges (${MR}×${NR}), transA=${transA} transB=${transB}`, () => {
      for (const m of edges(MR)) {
        for (const n of edges(NR)) for (const k of [1, 2, 3, 4, 5, 7, 8, 9, 16, 17]) check({ m, n, k, transA, transB });
      }
    });
    test(`is correct for inner sizes around the block's edge, transA=${transA} transB=${transB}`, () => {
      for (const k of [127, 128, 129, 255, 256, 257, 383, 384, 385, 511, 512, 513, 700, 1025]) {
        check({ m: MR + 1, n: NR + 3, k, transA, transB });
        check({ m: 3, n: 5, k, transA, transB });
      }
    });
    test(`is correct for sizes beyond one block, transA=${transA} transB=${transB}`, () => {
      for (const [m, n, k] of [
        [130, 70, 300],
        [33, 784, 128],
        [200, 10, 64],
        [10, 300, 10],
        [1, 784, 32],
        [2, 33, 784],
      ] as const) {
        check({ m, n, k, transA, transB });
      }
    });
    test(`gives the same bits however the work is divided into shares, transA=${transA} transB=${transB}`, () => {
      for (const [m, n, k] of [
        [1, 64, 20],
        [4, 64, 20],
        [50, 70, 300],
        [96, 96, 33],
        [3, 1100, 250],
      ] as const) {
        const whole = run({ m, n, k, transA, transB, bias: true });
        for (const cuts of [
          { rows: [24], cols: [] },
          { rows: [], cols: [24, 48] },
          { rows: [24, 48], cols: [48] },
        ]) {
          const kept = { rows: cuts.rows.filter((r) => r < m), cols: cuts.cols.filter((x) => x < n) };
          expect(
            run({ m, n, k, transA, transB, bias: true, cuts: kept }),
            `${m}×${n}×${k} cut at ${JSON.stringify(kept)}`,
          ).toEqual(whole);
        }
      }
    });
  }
  for (const [transA, transB] of TRANSPOSITIONS) {
    test(`is correct for 1 to 13 rows, n and k of all remainders, and every epilogue, transA=${transA} transB=${transB}`, () => {
      let bits = 0;
      for (let m = 1; m <= 13; m++) {
        for (const n of [1, 8, 13, 31, 35, 66]) {
          for (const k of [3, 4, 7, 12, 17, 28, 63, 130, 261]) {
            bits = (bits + 1) % 8;
            check({ m, n, k, transA, transB, bias: (bits & 1) > 0, relu: (bits & 2) > 0, accumulate: (bits & 4) > 0 });
          }
        }
      }
    });
    test(`is correct for few rows and a B beyond the L2 cache, transA=${transA} transB=${transB}`, () => {
      for (const m of [1, 2, 3, 8]) check({ m, n: 1029, k: 262, transA, transB, bias: m === 2, accumulate: m === 3 });
      for (const m of [1, 3]) check({ m, n: 1024, k: 1030, transA, transB });
    });
  }
  for (const [transA, transB] of TRANSPOSITIONS.slice(0, 3)) {
    test(`gives equal rows of C the same bits, for 1 to 8 rows, transA=${transA} transB=${transB}`, () => {
      for (const [n, k] of [
        [35, 140],
        [64, 28],
        [300, 1100],
        [1027, 253],
      ] as const) {
        run({ m: 8, n, k, transA, transB });
        const memory = heap.f32;
        const row = memory.slice(a / 4, a / 4 + k);
        let first: Float32Array | undefined;
        for (let m = 1; m <= 8; m++) {
          for (let i = 0; i < m; i++)
            row.forEach((x, p) => void (memory[a / 4 + (transA ? p * m + i : i * k + p)] = x));
          call("gemm", c, a, b, 0, 0, m, n, k, transA, transB, 1, 0, 0, workspace, 0, m, 0, n);
          for (let i = 0; i < m; i++) {
            const own = memory.slice(c / 4 + i * n, c / 4 + (i + 1) * n);
            first ??= own;
            expect(own, `row ${i} of ${m}, n=${n} k=${k}`).toEqual(first);
          }
        }
      }
    });
  }
  test("combines alpha, bias, activation and accumulation", () => {
    for (const [m, n, k] of [
      [1, 5, 3],
      [4, 8, 16],
      [7, 13, 40],
      [30, 30, 300],
    ] as const) {
      for (const alpha of [1, -0.5]) {
        for (const bits of [1, 2, 3, 4, 5, 6, 7]) {
          check({ m, n, k, alpha, bias: (bits & 1) > 0, relu: (bits & 2) > 0, accumulate: (bits & 4) > 0 });
          check({
            m,
            n,
            k,
            transA: 1,
            transB: 1,
            alpha,
            bias: (bits & 1) > 0,
            relu: (bits & 2) > 0,
            accumulate: (bits & 4) > 0,
          });
        }
      }
    }
  });
  test("returns the bias for an inner size of 0, and writes nothing without rows or columns", () => {
    check({ m: 5, n: 7, k: 0, bias: true, relu: true });
    check({ m: 5, n: 7, k: 0 });
    check({ m: 0, n: 7, k: 3 });
    check({ m: 7, n: 0, k: 3 });
  });
  test("NaN and infinity in an operand affect exactly one row or column of the result", () => {
    const [m, n, k] = [9, 11, 5];
    run({ m, n, k });
    for (let i = 0; i < m * k; i++) heap.f32[a / 4 + i] = 1;
    for (let i = 0; i < k * n; i++) heap.f32[b / 4 + i] = 1;
    heap.f32[a / 4 + 2 * k] = Number.NaN;
    heap.f32[b / 4 + 3] = Infinity;
    call("gemm", c, a, b, 0, 0, m, n, k, 0, 0, 1, 0, 0, workspace, 0, m, 0, n);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++)
        expect(heap.f32[c / 4 + i * n + j]).toEqual(i === 2 ? Number.NaN : j === 3 ? Infinity : k);
    }
  });
});
