/** Activation functions, and kernels for their derivatives where a separate kernel is faster. */

import { Op } from "../../../assembly/opcodes.ts";
import { RangeError } from "../../runtime/errors.ts";
import type { Operand } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { cast } from "../shape/shape.ts";
import { add, div, mul, neg, product, square, sub } from "./arithmetic.ts";
import { le, lt, where } from "./comparison.ts";
import { abs, maximum, minimum } from "./extremes.ts";
import { binary, derivative, unary } from "./pointwise.ts";

/** 1 where a mask is true, else 0. */
const indicator = (mask: Value): Value => cast(mask, "float32");

/**
 * Hyperbolic tangent (≤ 1.4 ulp). d tanh(x)/dx = 1 − tanh²(x).
 *
 * @example
 * ```ts
 * const x = tensor([-1, 0, 1]);
 * x.tanh().toArray(); // [-0.7616, 0, 0.7616]
 * ```
 * @op
 */
export const tanh = unary({
  code: Op.Tanh,
  cost: 1,
  name: "tanh",
  saves: "output",
  vjp: (dy, { y }) => [tanhGrad(dy, y)],
});
/** dy·(1 − y²). */
export const tanhGrad = derivative({
  code: Op.TanhGrad,
  name: "tanhGrad",
  vjp: (d, { dy, x: y }) => product(d, dy, y, -2),
});
/**
 * σ(x) = 1/(1 + e⁻ˣ) (≤ 1.9 ulp). Derivative σ(1 − σ), at most ¼.
 *
 * @example
 * ```ts
 * const x = tensor([-2, 0, 2]);
 * x.sigmoid().toArray(); // [0.1192, 0.5, 0.8808]
 * ```
 * @op
 */
export const sigmoid = unary({
  code: Op.Sigmoid,
  cost: 1,
  name: "sigmoid",
  saves: "output",
  vjp: (dy, { y }) => [sigmoidGrad(dy, y)],
});
/** dy·y·(1 − y). */
export const sigmoidGrad = derivative({
  code: Op.SigmoidGrad,
  name: "sigmoidGrad",
  vjp: (d, { dy, x: y }) => product(d, dy, sub(1, mul(y, 2))),
});
/**
 * log σ(x), without overflow (≤ 1.8 ulp). Derivative σ(−x).
 *
 * @example
 * ```ts
 * const x = tensor([-100, 0]);
 * x.logSigmoid().toArray(); // [-100, -0.6931]
 * ```
 * @op
 */
export const logSigmoid = unary({
  code: Op.LogSigmoid,
  cost: 1,
  name: "logSigmoid",
  saves: "input",
  vjp: (dy, { x }) => [mul(dy, sigmoid(neg(x)))],
});
/** log(1 + eˣ), without overflow (≤ 1.8 ulp). Derivative σ(x). */
export const softplusOp = unary({
  code: Op.Softplus,
  cost: 1,
  name: "softplus",
  saves: "input",
  vjp: (dy, { x }) => [mul(dy, sigmoid(x))],
});
/**
 * log(1 + e^(βx))/β, without overflow (≤ 1.8 ulp for β = 1). Derivative σ(βx).
 *
 * x: any shape → the same shape, float32.
 *
 * @param beta β. A larger β makes the bend at 0 sharper. Default 1.
 * @example
 * ```ts
 * const x = tensor([-1, 0, 100]);
 * x.softplus().toArray(); // [0.3133, 0.6931, 100]
 * ```
 * @op
 */
export function softplus(x: Operand, beta = 1): Value {
  return beta === 1 ? softplusOp(x) : div(softplusOp(mul(x, beta)), beta);
}

/**
 * max(x, 0). Derivative 1 where x > 0, else 0.
 *
 * @example
 * ```ts
 * const x = tensor([-1, 0, 2]);
 * x.relu().toArray(); // [0, 0, 2]
 * ```
 * @op
 */
export const relu = unary({
  code: Op.Relu,
  name: "relu",
  saves: "output",
  integer: (x) => maximum(x, 0),
  vjp: (dy, { y }) => [reluGrad(dy, y)],
});
/** dy where y > 0, else 0. */
export const reluGrad = derivative({
  code: Op.ReluGrad,
  name: "reluGrad",
  vjp: () => null,
});
/**
 * x where x > 0, else slope·x. Derivative 1 or slope.
 *
 * @param slope The slope for negative elements. Default 0.01.
 * @example
 * ```ts
 * const x = tensor([-1, 2]);
 * x.leakyRelu(0.1).toArray(); // [-0.1, 2]
 * ```
 * @op
 */
export const leakyRelu = unary({
  code: Op.LeakyRelu,
  name: "leakyRelu",
  saves: "input",
  parameters: (slope: number = 0.01) => [slope, 0],
  vjp: (dy, { x, p }) => [leakyReluGrad(dy, x, p)],
});
/** 1 where x > 0, else `low`; NaN where x is NaN. Derivative 0. */
export const heaviside = unary({
  code: Op.Heaviside,
  name: "heaviside",
  saves: "none",
  parameters: (low: number) => [low, 0],
  vjp: () => [null],
});
/** x, or slopes·x where x is negative, for slopes that broadcast (He et al. 2015). */
export const prelu = binary({
  code: Op.Prelu,
  name: "prelu",
  saves: "input",
  vjp: (dy, { a: x, b: slopes, needs }) => [
    needs[0] ? where(lt(x, 0), mul(dy, slopes), dy) : null,
    needs[1] ? mul(dy, minimum(x, 0)) : null,
  ],
});
/** dy where x > 0, else slope·dy. */
export const leakyReluGrad = derivative({
  code: Op.LeakyReluGrad,
  name: "leakyReluGrad",
  vjp: () => null,
});
/**
 * x where x > 0, else α(eˣ − 1). Derivative 1, or αeˣ = y + α.
 *
 * @param alpha α ≥ 0. Results approach −α for large negative elements. Default 1.
 * @throws RangeError if alpha is negative
 * @example
 * ```ts
 * const x = tensor([-1, 2]);
 * x.elu().toArray(); // [-0.6321, 2]
 * ```
 * @op
 */
export const elu = unary({
  code: Op.Elu,
  cost: 1,
  name: "elu",
  saves: "output",
  parameters: (alpha: number = 1) => {
    // The derivative infers the sign of x from the sign of y, which is correct only if α ≥ 0.
    if (!(alpha >= 0)) throw new RangeError(`elu: alpha must be ≥ 0, got ${alpha}.`);
    return [alpha, 0];
  },
  vjp: (dy, { y, p }) => [eluGrad(dy, y, p)],
});
/** dy where y > 0, else dy·(y + α). */
export const eluGrad = derivative({
  code: Op.EluGrad,
  name: "eluGrad",
  vjp: (d, { dy, x: y }) => product(d, dy, indicator(le(y, 0))),
});
/**
 * λx where x > 0, else λα(eˣ − 1) (Klambauer et al. 2017). Derivative λ, or y + λα.
 *
 * @example
 * ```ts
 * const x = tensor([-1, 2]);
 * x.selu().toArray(); // [-1.1113, 2.1014]
 * ```
 * @op
 */
export const selu = unary({
  code: Op.Selu,
  cost: 1,
  name: "selu",
  saves: "output",
  vjp: (dy, { y }) => [seluGrad(dy, y)],
});
/** λ·dy where y > 0, else dy·(y + λα). */
export const seluGrad = derivative({
  code: Op.SeluGrad,
  name: "seluGrad",
  vjp: (d, { dy, x: y }) => product(d, dy, indicator(le(y, 0))),
});

/**
 * x·σ(x), also called swish. Derivative σ(1 + x(1 − σ)).
 *
 * @example
 * ```ts
 * const x = tensor([-1, 0, 1]);
 * x.silu().toArray(); // [-0.2689, 0, 0.7311]
 * ```
 * @op
 */
export const silu = unary({
  code: Op.Silu,
  cost: 1,
  name: "silu",
  saves: "input",
  vjp: (dy, { x }) => [siluGrad(dy, x)],
});
/** dy·σ(x)·(1 + x·(1 − σ(x))). */
export const siluGrad = derivative({
  code: Op.SiluGrad,
  cost: 1.3,
  name: "siluGrad",
  vjp(d, { dy, x }) {
    // σ(1 − σ)(2 + x(1 − 2σ)).
    const s = sigmoid(x);
    return product(d, dy, s, sub(1, s), add(mul(x, sub(1, mul(s, 2))), 2));
  },
});
/**
 * x·tanh(softplus(x)) (Misra 2019). Derivative t + x(1 − t²)σ.
 *
 * @example
 * ```ts
 * const x = tensor([-1, 0, 1]);
 * x.mish().toArray(); // [-0.3034, 0, 0.8651]
 * ```
 * @op
 */
export const mish = unary({
  code: Op.Mish,
  cost: 1,
  name: "mish",
  saves: "input",
  vjp: (dy, { x }) => [mishGrad(dy, x)],
});
/** dy·(t + x(1 − t²)σ), t = tanh(softplus(x)), σ = sigmoid(x). */
export const mishGrad = derivative({
  code: Op.MishGrad,
  cost: 1.3,
  name: "mishGrad",
  vjp(d, { dy, x }) {
    // 2t′ + x·t″, t′ = (1 − t²)σ, t″ = t′(1 − σ − 2tσ).
    const s = sigmoid(x);
    const t = tanh(softplusOp(x));
    const t1 = mul(sub(1, square(t)), s);
    const t2 = mul(t1, sub(sub(1, s), product(t, s, 2)));
    return product(d, dy, add(mul(t1, 2), mul(x, t2)));
  },
});
/**
 * min(max(x + 3, 0), 6)/6 (≤ 1 ulp). Derivative 1/6 inside (−3, 3).
 *
 * @example
 * ```ts
 * const x = tensor([-4, 0, 1]);
 * x.hardSigmoid().toArray(); // [0, 0.5, 0.6667]
 * ```
 * @op
 */
export const hardSigmoid = unary({
  code: Op.HardSigmoid,
  cost: 0.4,
  name: "hardSigmoid",
  saves: "input",
  vjp: (dy, { x }) => [hardSigmoidGrad(dy, x)],
});
/** dy/6 inside (−3, 3), else 0. */
export const hardSigmoidGrad = derivative({
  code: Op.HardSigmoidGrad,
  name: "hardSigmoidGrad",
  vjp: () => null,
});
/**
 * x·hardSigmoid(x) (Howard et al. 2019; ≤ 2 ulp). Derivative x/3 + ½ inside (−3, 3), 0 below, 1 above.
 *
 * @example
 * ```ts
 * const x = tensor([-4, 1, 4]);
 * x.hardSwish().toArray(); // [0, 0.6667, 4]
 * ```
 * @op
 */
export const hardSwish = unary({
  code: Op.HardSwish,
  cost: 0.4,
  name: "hardSwish",
  saves: "input",
  vjp: (dy, { x }) => [hardSwishGrad(dy, x)],
});
/** dy·(x/3 + ½) inside (−3, 3), 0 below, dy above. */
export const hardSwishGrad = derivative({
  code: Op.HardSwishGrad,
  name: "hardSwishGrad",
  vjp: (d, { dy, x }) => product(d, dy, indicator(lt(abs(x), 3)), 1 / 3),
});
/**
 * min(max(x, low), high). Derivative 1 where low < x < high, else 0. Unlike clamp's derivative, it is 0 at the bounds.
 *
 * @param low The lower bound. Default -1.
 * @param high The upper bound. Default 1.
 * @example
 * ```ts
 * const x = tensor([-2, 0.5, 2]);
 * x.hardTanh().toArray(); // [-1, 0.5, 1]
 * ```
 * @op
 */
export const hardTanh = unary({
  code: Op.HardTanh,
  cost: 0.4,
  name: "hardTanh",
  saves: "input",
  parameters: (low: number = -1, high: number = 1) => [low, high],
  vjp: (dy, { x, p, q }) => [hardTanhGrad(dy, x, p, q)],
});
/** dy where low < x < high, else 0. */
export const hardTanhGrad = derivative({
  code: Op.HardTanhGrad,
  name: "hardTanhGrad",
  vjp: () => null,
});
