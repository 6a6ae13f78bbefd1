/** The oracles for activations, trigonometry, GELU and the logistic loss (src/ops/pointwise/). */
import { Op } from "../../../assembly/opcodes.ts";
import { erf64, erfc64 } from "../../../src/nn/erf.ts";
import { binary, derivative, unary } from "./pointwise.ts";

const plain = { low: -4, high: 4, extreme: 1e4 };
const SELU_ALPHA = 1.6732632423543772;
const SELU_SCALE = 1.0507009873554805;
// gelu_tanh(x) = ½x(1 + tanh u), u = c(x + 0.044715x³), c = √(2/π).
const C = Math.sqrt(2 / Math.PI);
const logistic = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
/** A logit and a probability. */
const withProbability = { low: -4, high: 4, second: { low: 0, high: 1 } };

export const activation = {
  [Op.Sin]: unary(Math.sin, plain),
  [Op.Cos]: unary(Math.cos, plain),
  [Op.Tan]: unary(Math.tan, { low: -1.3, high: 1.3, extreme: 1e4 }),
  [Op.Atan2]: binary(Math.atan2, { low: 0.3, high: 4, second: { low: -4, high: 4 } }),
  [Op.Tanh]: unary(Math.tanh, { ...plain, extreme: 400 }),
  [Op.TanhGrad]: derivative((y) => 1 - y * y, { low: -1, high: 1 }),
  [Op.Sigmoid]: unary(logistic, plain),
  [Op.SigmoidGrad]: derivative((y) => y * (1 - y), { low: 0, high: 1 }),
  [Op.LogSigmoid]: unary((x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))), plain),
  [Op.Softplus]: unary(softplus, plain),
  [Op.Relu]: unary((x) => Math.max(x, 0), { ...plain, kinks: [0] }),
  [Op.ReluGrad]: derivative((y) => Number(y > 0), { ...plain, kinks: [0] }),
  [Op.LeakyRelu]: unary((x, p) => (x > 0 ? x : p * x), { ...plain, parameters: [0.125, 0], kinks: [0] }),
  [Op.LeakyReluGrad]: derivative((x, p) => (x > 0 ? 1 : p), { ...plain, parameters: [0.125, 0], kinks: [0] }),
  [Op.Heaviside]: unary((x, p) => (x > 0 ? 1 : x <= 0 ? p : x), { ...plain, parameters: [0.125, 0], kinks: [0] }),
  [Op.Prelu]: binary((x, slope) => (x < 0 ? slope * x : x), plain),
  [Op.Elu]: unary((x, p) => (x > 0 ? x : p * Math.expm1(x)), { ...plain, parameters: [1.5, 0], kinks: [0] }),
  [Op.EluGrad]: derivative((y, p) => (y > 0 ? 1 : y + p), { low: -1.4, high: 4, parameters: [1.5, 0], kinks: [0] }),
  [Op.Selu]: unary((x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)), { ...plain, kinks: [0] }),
  [Op.SeluGrad]: derivative((y) => (y > 0 ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA), {
    low: -1.6,
    high: 4,
    kinks: [0],
  }),
  [Op.Erf]: unary(erf64, plain),
  [Op.Gelu]: unary((x) => (x === -Infinity ? 0 : 0.5 * x * erfc64(-x / Math.SQRT2)), plain),
  [Op.GeluGrad]: derivative(
    (x) => 0.5 * erfc64(-x / Math.SQRT2) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI),
    plain,
  ),
  [Op.GeluTanh]: unary((x) => 0.5 * x * (1 + Math.tanh(C * (x + 0.044715 * x ** 3))), { ...plain, extreme: 1e3 }),
  [Op.GeluTanhGrad]: derivative(
    (x) => {
      const t = Math.tanh(C * (x + 0.044715 * x ** 3));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 0.134145 * x * x);
    },
    { ...plain, extreme: 1e3 },
  ),
  [Op.Silu]: unary((x) => x * logistic(x), plain),
  [Op.SiluGrad]: derivative((x) => logistic(x) * (1 + x * (1 - logistic(x))), plain),
  [Op.Mish]: unary((x) => x * Math.tanh(softplus(x)), plain),
  [Op.MishGrad]: derivative((x) => {
    const t = Math.tanh(softplus(x));
    return t + x * (1 - t * t) * logistic(x);
  }, plain),
  [Op.HardSigmoid]: unary((x) => Math.min(6, Math.max(0, x + 3)) / 6, { ...plain, kinks: [-3, 3] }),
  [Op.HardSigmoidGrad]: derivative((x) => (Math.abs(x) < 3 ? 1 / 6 : 0), { ...plain, kinks: [-3, 3] }),
  [Op.HardSwish]: unary((x) => (x * Math.min(6, Math.max(0, x + 3))) / 6, { ...plain, kinks: [-3, 3] }),
  [Op.HardSwishGrad]: derivative((x) => (x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6), { ...plain, kinks: [-3, 3] }),
  [Op.HardTanh]: unary((x, p, q) => Math.min(q, Math.max(p, x)), { ...plain, parameters: [-1, 2], kinks: [-1, 2] }),
  [Op.HardTanhGrad]: derivative((x, p, q) => Number(x > p && x < q), { ...plain, parameters: [-1, 2], kinks: [-1, 2] }),
  [Op.LogisticLoss]: binary(
    (x, t) => (t === 0 ? 0 : t * softplus(-x)) + (t === 1 ? 0 : (1 - t) * softplus(x)),
    withProbability,
  ),
  [Op.LogisticSlope]: binary((x, t) => (1 - t) / (1 + Math.exp(-x)) - t / (1 + Math.exp(x)), withProbability),
};
