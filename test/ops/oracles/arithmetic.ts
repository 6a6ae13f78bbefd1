/** The oracles for arithmetic, exponentials, rounding, extremes and comparisons (src/ops/pointwise/). */
import { Op } from "../../../assembly/opcodes.ts";
import type { Oracle } from "./oracle.ts";
import { binary, derivative, unary } from "./pointwise.ts";

const plain = { low: -4, high: 4, extreme: 1e30 };
const positive = { low: 0.2, high: 4, extreme: 1e30 };
const steps = {
  ...plain,
  kinks: [-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5],
};

const where: Oracle<null> = {
  reference: ([condition, a, b]) => [
    {
      shape: a!.shape,
      data: Float64Array.from(condition!.data, (c, i) => (c ? a!.data[i]! : b!.data[i]!)),
    },
  ],
  samples: [[], [0], [1], [3], [5], [31], [33]].map((shape) => ({
    inputs: [{ shape, dtype: "bool" }, { shape }, { shape }],
    attributes: null,
  })),
};

export const arithmetic = {
  [Op.Neg]: unary((x) => -x, plain),
  [Op.Abs]: unary(Math.abs, { ...plain, kinks: [0] }),
  [Op.Sign]: unary(Math.sign, { ...plain, kinks: [0] }),
  [Op.Square]: unary((x) => x * x, { ...plain, extreme: 1e18 }),
  [Op.Sqrt]: unary(Math.sqrt, positive),
  [Op.Rsqrt]: unary((x) => 1 / Math.sqrt(x), positive),
  [Op.Reciprocal]: unary((x) => 1 / x, positive),
  [Op.Exp]: unary(Math.exp, { low: -4, high: 4, extreme: 100 }),
  [Op.Expm1]: unary(Math.expm1, { low: -4, high: 4, extreme: 100 }),
  [Op.Log]: unary(Math.log, positive),
  [Op.Log1p]: unary(Math.log1p, { low: -0.7, high: 4, extreme: 1e30 }),
  [Op.Floor]: unary(Math.floor, steps),
  [Op.Ceil]: unary(Math.ceil, steps),
  [Op.Round]: unary((x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)), steps),
  [Op.Clamp]: unary((x, p, q) => Math.min(q, Math.max(p, x)), { ...plain, parameters: [-1, 2], kinks: [-1, 2] }),
  [Op.ClampGrad]: derivative((x, p, q) => Number(x >= p && x <= q), { ...plain, parameters: [-1, 2], kinks: [-1, 2] }),
  [Op.Add]: binary((a, b) => a + b, plain),
  [Op.Sub]: binary((a, b) => a - b, plain),
  [Op.SquaredDifference]: binary((a, b) => (a - b) ** 2, { ...plain, extreme: 1e18 }),
  [Op.Mul]: binary((a, b) => a * b, { ...plain, extreme: 1e18 }),
  [Op.Div]: binary((a, b) => a / b, { ...plain, second: positive }),
  [Op.Pow]: binary(Math.pow, { ...positive, second: { low: -3, high: 3 } }),
  [Op.Maximum]: binary(Math.max, plain),
  [Op.Minimum]: binary(Math.min, plain),
  [Op.Mod]: binary((a, b) => a - b * Math.floor(a / b), { low: 3.2, high: 3.8, second: { low: 1.3, high: 1.5 } }),
  [Op.Equal]: binary((a, b) => Number(a === b), plain),
  [Op.NotEqual]: binary((a, b) => Number(a !== b), plain),
  [Op.Less]: binary((a, b) => Number(a < b), plain),
  [Op.LessEqual]: binary((a, b) => Number(a <= b), plain),
  [Op.Where]: where,
};
