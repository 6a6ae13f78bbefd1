/** The error function, and GELU in its exact form and its tanh approximation. */

import { Op } from "../../../assembly/opcodes.ts";
import { requireChoice } from "../../runtime/names.ts";
import type { Operand } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { tanh } from "./activation.ts";
import { add, mul, neg, product, square, sub } from "./arithmetic.ts";
import { exp } from "./exponential.ts";
import { derivative, unary } from "./pointwise.ts";

/** φ(x), the density of the standard normal distribution. */
const density = (x: Value): Value => mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));

/**
 * The error function (≤ 1.5 ulp). Derivative 2/√π·e^(−x²).
 *
 * @example
 * ```ts
 * const x = tensor([0, 1]);
 * x.erf().toArray(); // [0, 0.8427]
 * ```
 * @op
 */
export const erf = unary({
  code: Op.Erf,
  cost: 1.2,
  name: "erf",
  saves: "input",
  vjp: (dy, { x }) => [product(dy, exp(neg(square(x))), 2 / Math.sqrt(Math.PI))],
});
/** x·Φ(x) (Hendrycks and Gimpel 2016). Derivative Φ(x) + x·φ(x). */
export const geluErf = unary({
  code: Op.Gelu,
  cost: 1,
  name: "gelu",
  saves: "input",
  vjp: (dy, { x }) => [geluGrad(dy, x)],
});
/** dy·(Φ(x) + x·φ(x)). */
export const geluGrad = derivative({
  code: Op.GeluGrad,
  cost: 1.3,
  name: "geluGrad",
  vjp: (d, { dy, x }) => product(d, dy, density(x), sub(2, square(x))),
});
// gelu_tanh(x) = ½x(1 + tanh u), u = c(x + 0.044715x³), c = √(2/π).
const C = Math.sqrt(2 / Math.PI);
/** ½x(1 + tanh(√(2/π)(x + 0.044715x³))), the tanh approximation of GELU. */
export const geluTanhOp = unary({
  code: Op.GeluTanh,
  cost: 1,
  name: "geluTanh",
  saves: "input",
  vjp: (dy, { x }) => [geluTanhGrad(dy, x)],
});
/** dy·(½(1 + t) + ½x(1 − t²)u′) with t = tanh u. */
export const geluTanhGrad = derivative({
  code: Op.GeluTanhGrad,
  cost: 1.3,
  name: "geluTanhGrad",
  vjp(d, { dy, x }) {
    // (1 − t²)·(u′ + ½x(u″ − 2t·u′²)), u′ = c(1 + 0.134145x²), u″ = 0.26829cx.
    const x2 = square(x);
    const t = tanh(mul(mul(x, add(mul(x2, 0.044715), 1)), C));
    const u1 = mul(add(mul(x2, 0.134145), 1), C);
    const bend = sub(mul(x, 0.26829 * C), product(t, square(u1), 2));
    return product(d, dy, sub(1, square(t)), add(u1, product(x, bend, 0.5)));
  },
});
export interface GeluOptions {
  /** "none" computes x·Φ(x); "tanh" computes the tanh approximation. Default "none". */
  readonly approximate?: "none" | "tanh";
}

/**
 * Gaussian error linear unit: x·Φ(x) (Hendrycks and Gimpel 2016), where Φ is the cumulative distribution function of
 * the standard normal distribution. With `approximate: "tanh"`, gelu computes ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
 * instead. Derivative Φ(x) + x·φ(x).
 *
 * x: any shape → the same shape, float32.
 *
 * @throws RangeError if `approximate` is neither "none" nor "tanh"
 * @example
 * ```ts
 * const x = tensor([-1, 0, 1]);
 * x.gelu().toArray(); // [-0.1587, 0, 0.8413]
 * x.gelu({ approximate: "tanh" }).toArray(); // [-0.1588, 0, 0.8412]
 * ```
 * @op
 */
export function gelu(x: Operand, { approximate = "none" }: GeluOptions = {}): Value {
  requireChoice("gelu", "approximate", approximate, ["none", "tanh"]);
  return approximate === "tanh" ? geluTanhOp(x) : geluErf(x);
}
