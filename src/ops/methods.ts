/** The ops that are methods of Tensor. functions.ts lists those that are functions. */

import type { Operand } from "./definition/op.ts";
import type { DType, Shape, Value } from "./definition/value.ts";
import type { Conv1dOptions, Conv2dOptions, ConvTranspose1dOptions, ConvTranspose2dOptions } from "./image/convolve.ts";
import { gather, indexAdd, indexSelect, oneHot, scatterAdd } from "./index/gather.ts";
import { argSort, sort, topK } from "./matrix/linalg.ts";
import { dot, matmul, mT } from "./matrix/matmul.ts";
import {
  atan2,
  cos,
  elu,
  erf,
  gelu,
  hardSigmoid,
  hardSwish,
  hardTanh,
  leakyRelu,
  logSigmoid,
  mish,
  relu,
  selu,
  sigmoid,
  silu,
  sin,
  softplus,
  tan,
  tanh,
} from "./pointwise/activation.ts";
import {
  abs,
  add,
  ceil,
  clamp,
  div,
  eq,
  exp,
  expm1,
  floor,
  ge,
  gt,
  isNaN,
  le,
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  logicalXor,
  lt,
  maximum,
  minimum,
  mod,
  mul,
  ne,
  neg,
  pow,
  reciprocal,
  round,
  rsqrt,
  sign,
  sqrt,
  square,
  sub,
  where,
} from "./pointwise/arithmetic.ts";
import {
  all,
  any,
  argMax,
  argMin,
  cumsum,
  logSumExp,
  max,
  mean,
  min,
  norm,
  prod,
  type ReduceOptions,
  std,
  sum,
  variance,
} from "./reduce/reduce.ts";
import { logSoftmax, softmax } from "./reduce/rows.ts";
import {
  broadcastTo,
  cast,
  flatten,
  flip,
  narrow,
  pad,
  permute,
  reshape,
  slice,
  split,
  squeeze,
  t,
  transpose,
  unsqueeze,
  view,
} from "./shape/shape.ts";
import { tril, triu } from "./shape/triangle.ts";

/** Methods: `x.name(...rest)` is `name(x, ...rest)`. */
// biome-ignore format: a list, as it is read
export const methods = {
  neg, abs, sign, square, sqrt, rsqrt, reciprocal, exp, expm1, log, log1p, floor, ceil, round, clamp,
  add, sub, mul, div, pow, maximum, minimum, mod, eq, ne, lt, le, gt, ge,
  logicalAnd, logicalOr, logicalXor, logicalNot, isNaN,
  sin, cos, tan, atan2, tanh, sigmoid, logSigmoid, softplus, relu, leakyRelu, elu, selu, erf, gelu, silu, mish,
  hardSigmoid, hardSwish, hardTanh,
  sum, mean, max, min, argMax, argMin, prod, any, all, logSumExp, var: variance, std, norm, cumsum,
  softmax, logSoftmax,
  matmul, dot, mT,
  reshape, view, flatten, squeeze, unsqueeze, permute, transpose, t, slice, flip, pad, broadcastTo, narrow, split,
  tril, triu, sort, argSort, topK, indexSelect, gather, scatterAdd, indexAdd, oneHot,
  /** Another element type: "float32", "int32", "bool" or "uint8". */
  to: (x: Value, dtype: DType): Value => cast(x, dtype),
  /** The tensor where the mask holds, `other` elsewhere. */
  where: (x: Value, condition: Value, other: Operand): Value => where(condition, x, other),
};

export interface Eps {
  readonly eps?: number;
}

/** Further forms of the functions above: options may follow any of the optional arguments. */
export interface ShorterForms {
  argMax(x: Operand, options: ReduceOptions): Value;
  argMin(x: Operand, options: ReduceOptions): Value;
  norm(x: Operand, ...args: [options: ReduceOptions] | [p: number, options: ReduceOptions]): Value;
  sort(x: Operand, options: { readonly descending?: boolean }): Value[];
  argSort(x: Operand, options: { readonly descending?: boolean }): Value;
  topK(x: Value, k: number, options: { readonly largest?: boolean }): Value[];
  conv1d(x: Operand, w: Value, options: Conv1dOptions): Value;
  conv2d(x: Operand, w: Value, options: Conv2dOptions): Value;
  convTranspose1d(x: Operand, w: Value, options: ConvTranspose1dOptions): Value;
  convTranspose2d(x: Operand, w: Value, options: ConvTranspose2dOptions): Value;
  layerNorm(
    x: Operand,
    normalizedShape: number | Shape,
    ...args: [options: Eps] | [weight: Value | null, options: Eps]
  ): Value;
  rmsNorm(x: Operand, normalizedShape: number | Shape, options: Eps): Value;
  batchNorm(x: Operand, average: Value, variance: Value, options: Eps): Value;
  groupNorm(x: Operand, groups: number, options: Eps): Value;
}
