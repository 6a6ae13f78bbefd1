/** The ops as people call them: those that become methods of Tensor (the tensor first), and those that stay functions. */
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
} from "./activation.ts";
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
} from "./arithmetic.ts";
import { scaledDotProductAttention } from "./attention.ts";
import {
  type Conv1dOptions,
  type Conv2dOptions,
  type ConvTranspose1dOptions,
  type ConvTranspose2dOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
} from "./convolve.ts";
import { einsum } from "./einsum.ts";
import { embedding, gather, indexAdd, indexSelect, oneHot, scatterAdd, scatterSum } from "./gather.ts";
import { argSort, cholesky, eigh, sort, topK, triangularSolve } from "./linalg.ts";
import { dot, linear, matmul, mT } from "./matmul.ts";
import { batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm } from "./norm.ts";
import type { Operand } from "./op.ts";
import { avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices } from "./pool.ts";
import { bernoulli, rand, randn, randperm } from "./random.ts";
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
} from "./reduce.ts";
import { logSoftmax, softmax } from "./rows.ts";
import { gru, lstm, rnn } from "./sequence.ts";
import {
  broadcastTo,
  cast,
  concat,
  flatten,
  flip,
  full,
  narrow,
  pad,
  permute,
  reshape,
  slice,
  split,
  squeeze,
  stack,
  t,
  transpose,
  unsqueeze,
} from "./shape.ts";
import { tril, triu } from "./triangle.ts";
import type { DType, Shape, Value } from "./value.ts";

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
  reshape, view: reshape, flatten, squeeze, unsqueeze, permute, transpose, t, slice, flip, pad, broadcastTo, narrow, split,
  tril, triu, sort, argSort, topK, indexSelect, gather, scatterAdd, indexAdd, oneHot,
  /** Another element type: "float32", "int32", "bool" or "uint8". */
  to: (x: Value, dtype: DType): Value => cast(x, dtype),
  /** The tensor where the mask holds, `other` elsewhere. */
  where: (x: Value, condition: Value, other: Operand): Value => where(condition, x, other),
};

const { var: _, to: __, where: ___, view: ____, ...shared } = methods;

/** Functions: all methods whose name JavaScript allows, and what has no first tensor. */
// biome-ignore format: a list, as it is read
export const functions = {
  ...shared, variance, where,
  concat, stack, embedding, scatterSum, linear, bernoulli, rand, randn, randperm,
  full, conv1d, conv2d, convTranspose1d, convTranspose2d,
  avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices,
  batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm, rnn, lstm, gru, scaledDotProductAttention,
  einsum, cholesky, eigh, triangularSolve,
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
