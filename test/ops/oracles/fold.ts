/** Oracles for src/ops/reduce/fold.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import type { FoldAttributes, Middle } from "../../../src/ops/reduce/fold.ts";
import type { Oracle, Reference } from "./oracle.ts";

/** Calls `visit` with the index of each element in the input and in the result. */
function eachInMiddle({ outer, n, inner }: Middle, visit: (from: number, to: number, i: number) => void): void {
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < n; i++) for (let j = 0; j < inner; j++) visit((o * n + i) * inner + j, o * inner + j, i);
}

type Sizes = [outer: number, n: number, inner: number];
const ROWS: Sizes[] = [
  [1, 1, 1],
  [1, 5, 1],
  [3, 33, 1],
  [1, 1030, 1],
  [5, 4, 1],
  [0, 3, 1],
];
const ALL: Sizes[] = [...ROWS, [1, 5, 3], [2, 33, 5], [3, 70, 4], [2, 3, 31], [2, 97, 37], [1, 160, 16]];

function fold(
  reference: (x: Reference, attributes: FoldAttributes) => ArrayLike<number>,
  { sizes = ALL, divisor = 1, keepsShape = false } = {},
): Oracle<FoldAttributes> {
  return {
    reference: ([x], attributes) => [{ shape: attributes.shape, data: reference(x!, attributes) }],
    samples: sizes.map(([outer, n, inner]) => ({
      inputs: [{ shape: [outer, n, inner] }],
      attributes: { outer, n, inner, divisor, reverse: false, shape: [outer, keepsShape ? n : 1, inner] },
    })),
  };
}

const sum = fold(
  (x, attributes) => {
    const out = new Float64Array(attributes.outer * attributes.inner);
    eachInMiddle(attributes, (from, to) => (out[to]! += x.data[from]!));
    return out.map((total) => total / attributes.divisor);
  },
  { divisor: 3 },
);

const extreme = (pick: (a: number, b: number) => number) =>
  fold((x, attributes) => {
    const out = new Float64Array(attributes.outer * attributes.inner);
    eachInMiddle(attributes, (from, to, i) => (out[to] = i ? pick(out[to]!, x.data[from]!) : x.data[from]!));
    return out;
  });

const prod = fold((x, attributes) => {
  const out = new Float64Array(attributes.outer * attributes.inner).fill(1);
  eachInMiddle(attributes, (from, to) => (out[to]! *= x.data[from]!));
  return out;
});

const argExtreme = (better: (a: number, b: number) => boolean) =>
  fold(
    (x, attributes) => {
      const out = new Float64Array(attributes.outer);
      const best = new Float64Array(attributes.outer);
      eachInMiddle(attributes, (from, to, i) => {
        if (i && !better(x.data[from]!, best[to]!)) return;
        best[to] = x.data[from]!;
        out[to] = i;
      });
      return out;
    },
    { sizes: ROWS },
  );

const cumsum = fold(
  (x, { outer, n, inner, reverse }) => {
    const out = Float64Array.from(x.data);
    for (let o = 0; o < outer; o++)
      for (let i = 1; i < n; i++)
        for (let j = 0; j < inner; j++) {
          const at = (o * n + (reverse ? n - 1 - i : i)) * inner + j;
          out[at]! += out[at + (reverse ? inner : -inner)]!;
        }
    return out;
  },
  { keepsShape: true },
);

export const folds = {
  [Op.Sum]: sum,
  [Op.Max]: extreme(Math.max),
  [Op.Min]: extreme(Math.min),
  [Op.ArgMax]: argExtreme((a, b) => a > b),
  [Op.ArgMin]: argExtreme((a, b) => a < b),
  [Op.Cumsum]: cumsum,
  [Op.Prod]: prod,
};
