/** Initial values for parameters, written in place. Fans are those of a weight [out, in, …]: fanIn = in·…, fanOut = out·…. */

import { normal as randomNormal, uniform as randomUniform } from "../creation.ts";
import { show, sizeOf } from "../ops/value.ts";
import { ShapeError } from "../runtime/errors.ts";
import { type Tensor, tidy, withGrad } from "../tensor.ts";

function write(x: Tensor, values: () => Tensor): Tensor {
  withGrad(false, () => tidy(() => void x.copyFrom(values())));
  return x;
}

/** `value` everywhere. */
export const constant = (x: Tensor, value: number): Tensor => x.copyFrom(new Float32Array(x.size).fill(value));
export const zeros = (x: Tensor): Tensor => constant(x, 0);
export const ones = (x: Tensor): Tensor => constant(x, 1);
/** Uniform in [low, high). */
export const uniform = (x: Tensor, low = 0, high = 1): Tensor => write(x, () => randomUniform(x.shape, low, high));
export const normal = (x: Tensor, mean = 0, std = 1): Tensor => write(x, () => randomNormal(x.shape, mean, std));

/** Inputs and outputs of each unit of a weight [out, in, …]. @throws ShapeError below two dimensions */
export function fans(x: Tensor): { fanIn: number; fanOut: number } {
  const [out, into, ...rest] = x.shape;
  if (out === undefined || into === undefined)
    throw new ShapeError(`init: ${show(x.shape)} has no fans; a weight is [out, in, …]. Use uniform or normal.`);
  return { fanIn: into * sizeOf(rest), fanOut: out * sizeOf(rest) };
}

export type Nonlinearity = "linear" | "sigmoid" | "tanh" | "relu" | "leakyRelu" | "selu";

/** The factor that keeps variance through a nonlinearity (PyTorch's calculate_gain); `a` is leakyRelu's slope. */
export function calculateGain(nonlinearity: Nonlinearity, a = 0.01): number {
  const gains: Record<Nonlinearity, number> = {
    linear: 1,
    sigmoid: 1,
    tanh: 5 / 3,
    relu: Math.SQRT2,
    leakyRelu: Math.sqrt(2 / (1 + a * a)),
    selu: 3 / 4,
  };
  return gains[nonlinearity];
}

/** Uniform with variance gain²·2/(fanIn + fanOut) (Glorot and Bengio 2010, eq. 16). */
export function xavierUniform(x: Tensor, { gain = 1 } = {}): Tensor {
  const { fanIn, fanOut } = fans(x);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform(x, -bound, bound);
}

/** Normal with variance gain²·2/(fanIn + fanOut) (Glorot and Bengio 2010, eq. 12). */
export function xavierNormal(x: Tensor, { gain = 1 } = {}): Tensor {
  const { fanIn, fanOut } = fans(x);
  return normal(x, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

export interface KaimingOptions {
  /** leakyRelu's slope. Default 0. */
  a?: number;
  /** Which variance to keep: of activations (fanIn, the default) or of gradients. */
  mode?: "fanIn" | "fanOut";
  nonlinearity?: Nonlinearity;
}

function kaimingStd(x: Tensor, { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" }: KaimingOptions): number {
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(x)[mode]);
}
/** Uniform with variance gain²/fan (He et al. 2015, eq. 10). */
export function kaimingUniform(x: Tensor, options: KaimingOptions = {}): Tensor {
  const bound = Math.sqrt(3) * kaimingStd(x, options);
  return uniform(x, -bound, bound);
}
/** Normal with variance gain²/fan (He et al. 2015, eq. 10). */
export function kaimingNormal(x: Tensor, options: KaimingOptions = {}): Tensor {
  return normal(x, 0, kaimingStd(x, options));
}

/** Normal, redrawn until it lies in [a, b]. @throws RangeError if the interval is empty */
export function truncNormal(x: Tensor, { mean = 0, std = 1, a = -2, b = 2 } = {}): Tensor {
  if (!(a < b) || !(std > 0))
    throw new RangeError(`truncNormal: needs a < b and std > 0, but a = ${a}, b = ${b}, std = ${std}.`);
  if (Math.min(Math.abs(a - mean), Math.abs(b - mean)) > 4 * std && (a - mean) * (b - mean) > 0) {
    throw new RangeError(
      `truncNormal: [${a}, ${b}] lies more than 4 std from the mean ${mean}: almost nothing would ever be drawn there.`,
    );
  }
  return write(x, () => {
    let drawn = randomNormal(x.shape, mean, std);
    for (;;) {
      const outside = drawn.lt(a).logicalOr(drawn.gt(b));
      if (outside.any().item() === 0) return drawn;
      drawn = randomNormal(x.shape, mean, std).where(outside, drawn);
    }
  });
}

/**
 * A (semi-)orthogonal matrix of the flattened [out, in·…], times gain (Saxe et al. 2013): the Q of a random matrix, its
 * signs fixed by R's diagonal, which makes it uniform over rotations.
 */
export function orthogonal(x: Tensor, { gain = 1 } = {}): Tensor {
  const { fanIn } = fans(x);
  const rows = x.shape[0]!;
  const [n, k] = rows >= fanIn ? [rows, fanIn] : [fanIn, rows];
  // k columns of length n, made orthonormal by Gram and Schmidt, twice over for the last digits.
  const drawn = tidy(() => randomNormal([k, n], 0, 1).data);
  const columns = Array.from({ length: k }, (_, i) => Float64Array.from(drawn.subarray(i * n, (i + 1) * n)));
  columns.forEach((column, i) => {
    for (let pass = 0; pass < 2; pass++) {
      for (const other of columns.slice(0, i)) {
        const along = column.reduce((sum, v, r) => sum + v * other[r]!, 0);
        for (let r = 0; r < n; r++) column[r]! -= along * other[r]!;
      }
    }
    const length = Math.sqrt(column.reduce((sum, v) => sum + v * v, 0));
    for (let r = 0; r < n; r++) column[r]! /= length;
  });
  const values = new Float32Array(x.size);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < fanIn; j++) values[i * fanIn + j] = gain * (rows >= fanIn ? columns[j]![i]! : columns[i]![j]!);
  return x.copyFrom(values);
}
