/** Pointwise kernels: functions of one tensor, arithmetic, comparisons, logic and conversions. */
import type { DataType } from "@tensorflow/tfjs-core";
import { broadcastShapes, sameShape, type Value } from "../../ops/definition/value.ts";
import {
  elu,
  eluGrad,
  heaviside,
  leakyRelu,
  prelu,
  relu,
  selu,
  sigmoid,
  softplus,
  tanh,
} from "../../ops/pointwise/activation.ts";
import { add, div, mul, neg, reciprocal, square, squaredDifference, sub } from "../../ops/pointwise/arithmetic.ts";
import { eq, ge, gt, isNaN, le, lt, ne, where } from "../../ops/pointwise/comparison.ts";
import { exp, expm1, log, log1p, pow, rsqrt, sqrt } from "../../ops/pointwise/exponential.ts";
import { abs, clamp, maximum, minimum, sign } from "../../ops/pointwise/extremes.ts";
import { erf } from "../../ops/pointwise/gelu.ts";
import { logicalAnd, logicalOr } from "../../ops/pointwise/logical.ts";
import { ceil, floor, mod, round } from "../../ops/pointwise/rounding.ts";
import { atan2, cos, sin, tan } from "../../ops/pointwise/trigonometry.ts";
import { max } from "../../ops/reduce/reduce.ts";
import { broadcastTo, cast } from "../../ops/shape/shape.ts";
import { isNumeric } from "../entry.ts";
import { type NumericArray, newView, type View } from "../view.ts";
import { ALL, type NativeKernel, NUMBERS, sameTypes } from "./kernel.ts";

const unary = (f: (x: Value) => Value): NativeKernel => ({ run: ({ x }) => f(x!) });
const binary = (f: (a: Value, b: Value) => Value, types?: NativeKernel["types"]): NativeKernel => ({
  ...(types && { types }),
  accepts: sameTypes,
  run: ({ a, b }) => f(a!, b!),
});

/** x as int32. As in JavaScript, numbers outside int32's range wrap modulo 2³², and NaN and ±∞ become 0. */
function toInt32(x: View): Value {
  if (!x.size) return cast(x, "int32");
  const largest = (max(abs(x)) as View).live()[0]!;
  if (largest < 2 ** 31) return cast(x, "int32");
  const out = newView(x.shape, "int32");
  out.live().set(x.live());
  return out;
}

/**
 * ⌊a/b⌋ as int32, computed in double precision: for the float32 numbers 1 and 0.1, the quotient is just below 10, but float32 rounds it to
 * 10. As in JavaScript, results wrap modulo 2³², and NaN and ±∞ become 0.
 */
function floorDiv(a: Value, b: Value): Value {
  const shape = broadcastShapes("floorDiv", a.shape, b.shape);
  const [dividend, divisor] = [broadcastTo(a, shape) as View, broadcastTo(b, shape) as View];
  const out = newView(shape, "int32");
  const [x, y, z] = [dividend.live(), divisor.live(), out.live()];
  const n = z.length;
  for (let i = 0; i < n; i++) z[i] = Math.floor(x[i]! / y[i]!);
  return out;
}

/** The bitwise AND of two arrays of integers. */
function both(a: View, b: View): Value {
  const out = newView(a.shape, "int32");
  const [x, y, z] = [a.live(), b.live(), out.live()];
  const n = z.length;
  for (let i = 0; i < n; i++) z[i] = x[i]! & y[i]!;
  return out;
}

/** Negates bools, four bytes at a time. */
function not(x: View): Value {
  const out = newView(x.shape, "bool");
  const [from, to] = [x.live(), out.live()];
  const words = (bytes: NumericArray): Int32Array => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  const [a, b] = [words(from), words(to)];
  const n = a.length;
  for (let i = 0; i < n; i++) {
    // Set the lowest bit of each byte if any bit of that byte is set.
    let bits = a[i]! | (a[i]! >>> 4);
    bits |= bits >>> 2;
    b[i] = ((bits | (bits >>> 1)) & 0x01010101) ^ 0x01010101;
  }
  for (let i = 4 * n; i < from.length; i++) to[i] = from[i] ? 0 : 1;
  return out;
}

/** √(1 − x²), accurate near ±1. */
const cosOfAsin = (x: Value): Value => sqrt(mul(sub(1, x), add(1, x)));

/** Above this x, sinh x rounds to eˣ/2. halfExp computes eˣ/2, because eˣ may overflow even if eˣ/2 does not. */
const LARGE = 40;
/** eˣ/2, computed as ½eˣᐟ²·eˣᐟ², which overflows only if the result does. */
function halfExp(x: Value): Value {
  const root = exp(mul(x, 0.5));
  return mul(mul(root, 0.5), root);
}

/** Applies a function to |x|, and gives the result the sign of x. */
function odd(x: Value, f: (size: Value) => Value): Value {
  const value = f(abs(x));
  return where(lt(x, 0), neg(value), value);
}

/** sinh x = ((eˣ − 1) − (e⁻ˣ − 1))/2, which is accurate near 0. */
const sinh = (x: Value): Value =>
  odd(x, (s) => where(gt(s, LARGE), halfExp(s), mul(sub(expm1(s), expm1(neg(s))), 0.5)));

/** cosh x = (eˣ + e⁻ˣ)/2. */
function cosh(x: Value): Value {
  const s = abs(x);
  return add(halfExp(s), mul(exp(neg(s)), 0.5));
}

/** asinh x = ±log(|x| + √(x² + 1)), accurate near 0 and without overflow: log1p(s + s²/(1 + √(s² + 1))), or log s + log 2 for large s. */
const asinh = (x: Value): Value =>
  odd(x, (s) => {
    const near = log1p(add(s, div(square(s), add(1, sqrt(add(square(s), 1))))));
    return where(gt(s, 1e9), add(log(s), Math.LN2), near);
  });

/** acosh x = log(x + √(x − 1)·√(x + 1)), computed from t = x − 1, so that the result is accurate near 1. */
function acosh(x: Value): Value {
  const t = sub(x, 1);
  const near = log1p(add(t, mul(sqrt(t), sqrt(add(x, 1)))));
  return where(gt(x, 1e9), add(log(x), Math.LN2), near);
}

export const pointwiseKernels: Readonly<Record<string, NativeKernel>> = {
  Abs: unary(abs),
  Acos: unary((x) => atan2(cosOfAsin(x), x)),
  Acosh: unary(acosh),
  AddN: {
    types: NUMBERS,
    accepts: (inputs) => sameTypes(inputs) && new Set(Object.values(inputs).map(({ shape }) => `${shape}`)).size === 1,
    run: (inputs) =>
      Object.values(inputs)
        .slice(1)
        .reduce<Value>((sum, x) => add(sum, x), inputs[0]!),
  },
  Asin: unary((x) => atan2(x, cosOfAsin(x))),
  Asinh: unary(asinh),
  Atan: unary((x) => atan2(x, 1)),
  // ½·log((1 + x)/(1 − x))
  Atanh: unary((x) => odd(x, (s) => mul(log1p(div(mul(s, 2), sub(1, s))), 0.5))),
  Ceil: unary(ceil),
  Cos: unary(cos),
  Cosh: unary(cosh),
  Elu: unary((x) => elu(x)),
  EluGrad: { run: ({ dy, y }) => eluGrad(dy!, y!, 1) },
  Erf: unary(erf),
  Exp: unary(exp),
  Expm1: unary(expm1),
  Floor: unary(floor),
  IsFinite: unary((x) => lt(abs(x), Number.POSITIVE_INFINITY)),
  IsInf: unary((x) => eq(abs(x), Number.POSITIVE_INFINITY)),
  IsNan: unary(isNaN),
  LeakyRelu: { run: ({ x }, { alpha }) => leakyRelu(x!, alpha) },
  Log: unary(log),
  Log1p: unary(log1p),
  Neg: unary(neg),
  Reciprocal: unary(reciprocal),
  Relu: unary(relu),
  Relu6: unary((x) => clamp(x, 0, 6)),
  Round: unary(round),
  Rsqrt: unary(rsqrt),
  Selu: unary(selu),
  Sigmoid: unary(sigmoid),
  // TensorFlow.js defines the sign of NaN as 0.
  Sign: unary((x) => sign(where(isNaN(x), 0, x))),
  Sin: unary(sin),
  Sinh: unary(sinh),
  Softplus: unary((x) => softplus(x)),
  Sqrt: unary(sqrt),
  Square: { types: NUMBERS, run: ({ x }) => square(x!) },
  Step: { run: ({ x }, { alpha }) => heaviside(x!, alpha) },
  Tan: unary(tan),
  Tanh: unary(tanh),
  ClipByValue: { run: ({ x }, { clipValueMin, clipValueMax }) => clamp(x!, clipValueMin, clipValueMax) },

  Add: binary(add, NUMBERS),
  Sub: binary(sub, NUMBERS),
  Multiply: binary(mul, NUMBERS),
  Maximum: binary(maximum, NUMBERS),
  Minimum: binary(minimum, NUMBERS),
  RealDiv: binary(div),
  // The CPU kernel's quotient is int32, whatever the types of the operands.
  FloorDiv: binary(floorDiv),
  Mod: binary(mod),
  Pow: binary(pow),
  Atan2: binary(atan2),
  SquaredDifference: binary((a, b) => (a.dtype === "int32" ? square(sub(a, b)) : squaredDifference(a, b)), NUMBERS),
  Prelu: { run: ({ x, alpha }) => prelu(x!, alpha!) },

  Equal: binary(eq, ALL),
  NotEqual: binary(ne, ALL),
  Less: binary(lt, NUMBERS),
  LessEqual: binary(le, NUMBERS),
  Greater: binary(gt, NUMBERS),
  GreaterEqual: binary(ge, NUMBERS),
  LogicalAnd: binary(logicalAnd, ["bool"]),
  LogicalOr: binary(logicalOr, ["bool"]),
  BitwiseAnd: {
    types: ["int32"],
    accepts: ({ a, b }) => sameShape(a!.shape, b!.shape),
    run: ({ a, b }) => both(a!, b!),
  },
  LogicalNot: { types: ["bool"], run: ({ x }) => not(x!) },
  Select: {
    types: ALL,
    // TensorFlow.js broadcasts the inputs before it calls the kernel, except a vector of conditions, which is left to
    // the CPU kernel.
    accepts: ({ condition, t, e }) =>
      condition!.dtype === "bool" &&
      t!.dtype === e!.dtype &&
      sameShape(condition!.shape, t!.shape) &&
      sameShape(t!.shape, e!.shape),
    run: ({ condition, t, e }) => where(condition!, t!, e!),
  },
  Cast: {
    types: ALL,
    accepts: ({ x }, { dtype }: { dtype: DataType }) => isNumeric(dtype) && dtype !== x!.dtype,
    run: ({ x }, { dtype }) => (dtype === "int32" && x!.dtype === "float32" ? toInt32(x!) : cast(x!, dtype)),
  },
};
