/**
 * Initializers for parameters. Each one overwrites a tensor in place, without recording the operation for autograd, and returns
 * the tensor. Weights are [out, …kernel, in], channels last: fanIn = in·|kernel|, fanOut = out·|kernel|.
 */

import { withGrad } from "../core/context.ts";
import { normal as randomNormal, uniform as randomUniform } from "../core/creation.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { show, sizeOf } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, ShapeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { erfc64 } from "./erf.ts";

function write(x: Tensor, values: () => Tensor): Tensor {
  withGrad(false, () => tidy(() => void x.copyFrom(values())));
  return x;
}

/** Sets every element to `value`. @returns x */
export function constant(x: Tensor, value: number): Tensor {
  check("constant", arguments, "x:tensor value:number");
  return withGrad(false, () => x.copyFrom(new Float32Array(x.size).fill(value)));
}
/** Sets every element to 0. @returns x */
export function zeros(x: Tensor): Tensor {
  check("zeros", arguments, "x:tensor");
  return constant(x, 0);
}
/** Sets every element to 1. @returns x */
export function ones(x: Tensor): Tensor {
  check("ones", arguments, "x:tensor");
  return constant(x, 1);
}
/** Draws from the uniform distribution on [low, high), by default [0, 1). @returns x */
export function uniform(x: Tensor, low = 0, high = 1): Tensor {
  check("uniform", arguments, "x:tensor low?:number high?:number");
  return write(x, () => randomUniform(x.shape, low, high));
}
/** Draws from N(mean, std²), by default N(0, 1). @returns x */
export function normal(x: Tensor, mean = 0, std = 1): Tensor {
  check("normal", arguments, "x:tensor mean?:number std?:number");
  return write(x, () => randomNormal(x.shape, mean, std));
}

/**
 * fanIn and fanOut of a weight [out, …kernel, in], equal to PyTorch's for [out, in, …kernel]. With groups, `in` counts
 * the channels of one group. A transposed convolution's weight is [in, …kernel, out], so its fans are swapped, as in
 * PyTorch.
 * @throws ShapeError if x has fewer than two dimensions
 */
export function fans(x: Tensor): {
  /** The number of inputs that each output reads. */
  fanIn: number;
  /** The number of outputs that each input reaches. */
  fanOut: number;
} {
  check("fans", arguments, "x:tensor");
  if (x.shape.length < 2)
    throw new ShapeError(
      `init: ${show(x.shape)} has no fanIn: a weight is [out, in] or [out, …kernel, in]. Use uniform or normal.`,
    );
  const kernel = sizeOf(x.shape.slice(1, -1));
  return { fanIn: x.shape.at(-1)! * kernel, fanOut: x.shape[0]! * kernel };
}

/** The activations that `calculateGain` supports. */
export type Nonlinearity = "linear" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

const NONLINEARITIES = ["linear", "sigmoid", "tanh", "relu", "leakyRelu", "selu"];

/**
 * The gain that preserves the variance through a nonlinearity (PyTorch's calculate_gain).
 * @param a leakyRelu's slope, default 0.01
 * @throws RangeError
 */
export function calculateGain(nonlinearity: Nonlinearity, a = 0.01): number {
  check("calculateGain", arguments, "nonlinearity:string a?:number");
  const gains: Record<Nonlinearity, number> = {
    linear: 1,
    sigmoid: 1,
    tanh: 5 / 3,
    relu: Math.SQRT2,
    leakyRelu: Math.sqrt(2 / (1 + a * a)),
    selu: 3 / 4,
  };
  requireChoice("calculateGain", "nonlinearity", nonlinearity, NONLINEARITIES);
  return gains[nonlinearity];
}

/** Options for the Xavier and orthogonal initializations. */
export interface GainOptions {
  /** The factor that scales the values. Default 1. */
  gain?: number;
}

/**
 * Xavier: uniform with variance gain²·2/(fanIn + fanOut) (Glorot and Bengio 2010, eq. 16).
 * @returns x
 * @throws ShapeError if x has fewer than two dimensions
 */
export function xavierUniform(x: Tensor, options: GainOptions = {}): Tensor {
  check("xavierUniform", arguments, "x:tensor {gain:number}");
  const { gain = 1 } = options;
  const { fanIn, fanOut } = fans(x);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform(x, -bound, bound);
}

/**
 * Xavier: normal with variance gain²·2/(fanIn + fanOut) (Glorot and Bengio 2010, eq. 12).
 * @returns x
 * @throws ShapeError if x has fewer than two dimensions
 */
export function xavierNormal(x: Tensor, options: GainOptions = {}): Tensor {
  check("xavierNormal", arguments, "x:tensor {gain:number}");
  const { gain = 1 } = options;
  const { fanIn, fanOut } = fans(x);
  return normal(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Options for the Kaiming initializations. */
export interface KaimingOptions {
  /** leakyRelu's slope for negative inputs. Default 0. */
  a?: number;
  /** "fanIn" preserves the variance of activations, "fanOut" that of gradients. Default "fanIn". */
  mode?: "fanIn" | "fanOut";
  /** The activation after the layer, which sets the gain. Default "leakyRelu". */
  nonlinearity?: Nonlinearity;
}

function kaimingStd(
  name: string,
  x: Tensor,
  { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" }: KaimingOptions,
): number {
  requireChoice(name, "mode", mode, ["fanIn", "fanOut"]);
  requireChoice(name, "nonlinearity", nonlinearity, NONLINEARITIES);
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(x)[mode]);
}
/**
 * Kaiming (He): uniform with variance gain²/fan (He et al. 2015, eq. 10).
 * @returns x
 * @throws ShapeError if x has fewer than two dimensions, RangeError for an invalid option
 */
export function kaimingUniform(x: Tensor, options: KaimingOptions = {}): Tensor {
  check("kaimingUniform", arguments, "x:tensor {a:number mode:string nonlinearity:string}");
  const bound = Math.sqrt(3) * kaimingStd("kaimingUniform", x, options);
  return uniform(x, -bound, bound);
}
/**
 * Kaiming (He): normal with variance gain²/fan (He et al. 2015, eq. 10).
 * @returns x
 * @throws ShapeError if x has fewer than two dimensions, RangeError for an invalid option
 */
export function kaimingNormal(x: Tensor, options: KaimingOptions = {}): Tensor {
  check("kaimingNormal", arguments, "x:tensor {a:number mode:string nonlinearity:string}");
  return normal(x, 0, kaimingStd("kaimingNormal", x, options));
}

/** Options for `truncNormal`. */
export interface TruncNormalOptions {
  /** The mean of the untruncated distribution. Default 0. */
  mean?: number;
  /** The standard deviation of the untruncated distribution, above 0. Default 1. */
  std?: number;
  /** Lower bound. Default -2. */
  a?: number;
  /** Upper bound. Default 2. */
  b?: number;
}

/**
 * Draws from N(mean, std²) truncated to [a, b]: mean + std·Φ⁻¹(u), where u is uniform between Φ((a − mean)/std) and
 * Φ((b − mean)/std).
 * @returns x
 * @throws RangeError if a ≥ b, or std is not a finite number above 0
 */
export function truncNormal(x: Tensor, options: TruncNormalOptions = {}): Tensor {
  check("truncNormal", arguments, "x:tensor {mean:number std:number a:number b:number}");
  const { mean = 0, std = 1, a = -2, b = 2 } = options;
  if (!(a < b && std > 0 && Number.isFinite(std))) {
    throw new RangeError(
      `truncNormal: a must be below b, and std a finite number above 0, got a = ${a}, b = ${b}, std = ${std}.`,
    );
  }
  // Mirror a range in the right tail to the left: probabilities near 0 are precise, but those near 1 are not.
  const mirrored = a > mean;
  const [low, high] = mirrored ? [mean - b, mean - a] : [a - mean, b - mean];
  const [from, to] = [normalCdf(low / std), normalCdf(high / std)];
  const drawn = tidy(() => randomUniform(x.shape, 0, 1).data);
  const values = Float32Array.from(drawn, (u) => {
    const z = std * inverseNormalCdf(from + u * (to - from));
    return Math.min(b, Math.max(a, mean + (mirrored ? -z : z)));
  });
  return withGrad(false, () => x.copyFrom(values));
}

/** Φ(x). */
const normalCdf = (x: number): number => 0.5 * erfc64(-x / Math.SQRT2);

/** Φ⁻¹(p), with Acklam's rational approximation (relative error below 1.2e-9). */
function inverseNormalCdf(p: number): number {
  const polynomial = (t: number, ...c: number[]): number => c.reduce((sum, v) => sum * t + v, 0);
  const tail = (q: number): number =>
    polynomial(
      q,
      -7.784894002430293e-3,
      -3.223964580411365e-1,
      -2.400758277161838,
      -2.549732539343734,
      4.374664141464968,
      2.938163982698783,
    ) / polynomial(q, 7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1);
  if (p <= 0 || p >= 1) return p <= 0 ? -Infinity : Infinity;
  if (p < 0.02425) return tail(Math.sqrt(-2 * Math.log(p)));
  if (p > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - p)));
  const q = p - 0.5;
  return (
    (q *
      polynomial(
        q * q,
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
      )) /
    polynomial(
      q * q,
      -5.447609879822406e1,
      1.615858368580409e2,
      -1.556989798598866e2,
      6.680131188771972e1,
      -1.328068155288572e1,
      1,
    )
  );
}

/**
 * Fills x, seen as a matrix [out, fanIn], with a random (semi-)orthogonal matrix times gain (Saxe et al. 2013): the
 * factor Q in the QR decomposition of a Gaussian matrix. R has a positive diagonal, which makes Q uniformly
 * distributed.
 * @returns x
 * @throws ShapeError if x has fewer than two dimensions
 */
export function orthogonal(x: Tensor, options: GainOptions = {}): Tensor {
  check("orthogonal", arguments, "x:tensor {gain:number}");
  const { gain = 1 } = options;
  const { fanIn } = fans(x);
  const rows = x.shape[0]!;
  const [n, k] = rows >= fanIn ? [rows, fanIn] : [fanIn, rows];
  // Compute k orthonormal columns of length n by Gram–Schmidt; a second pass over each column removes rounding errors.
  const q = Float64Array.from(tidy(() => randomNormal([k, n], 0, 1).data));
  const dot = (i: number, j: number): number => {
    let sum = 0;
    for (let r = 0; r < n; r++) sum += q[i * n + r]! * q[j * n + r]!;
    return sum;
  };
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < 2 * i; j++) {
      const other = j % i;
      const along = dot(i, other);
      for (let r = 0; r < n; r++) q[i * n + r]! -= along * q[other * n + r]!;
    }
    const length = Math.sqrt(dot(i, i));
    for (let r = 0; r < n; r++) q[i * n + r]! /= length;
  }
  const values = new Float32Array(x.size);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < fanIn; j++) values[i * fanIn + j] = gain * q[rows >= fanIn ? j * n + i : i * n + j]!;
  return withGrad(false, () => x.copyFrom(values));
}
