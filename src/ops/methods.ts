/** The ops as people call them: those that become methods of Tensor (the tensor first), and those that stay functions. */
import * as activation from "./activation.ts";
import * as arithmetic from "./arithmetic.ts";
import { scaledDotProductAttention } from "./attention.ts";
import { conv1d, conv2d, convTranspose1d, convTranspose2d } from "./convolve.ts";
import { einsum } from "./einsum.ts";
import * as gather from "./gather.ts";
import { argSort, cholesky, eigh, sort, topK, triangularSolve } from "./linalg.ts";
import * as matmul from "./matmul.ts";
import { batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm } from "./norm.ts";
import type { Operand } from "./op.ts";
import { avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices } from "./pool.ts";
import * as random from "./random.ts";
import * as reduce from "./reduce.ts";
import * as rows from "./rows.ts";
import { gru, lstm, rnn } from "./sequence.ts";
import * as shape from "./shape.ts";
import * as triangle from "./triangle.ts";
import type { DType, Value } from "./value.ts";

// biome-ignore-start format: a list, as it is read
const { neg, abs, sign, square, sqrt, rsqrt, reciprocal, exp, expm1, log, log1p, floor, ceil, round, clamp } =
  arithmetic;
const { add, sub, mul, div, pow, maximum, minimum, mod, eq, ne, lt, le, gt, ge } = arithmetic;
const { logicalAnd, logicalOr, logicalXor, logicalNot, isNaN } = arithmetic;
const { sin, cos, tan, atan2, tanh, sigmoid, logSigmoid, softplus, relu, leakyRelu, elu, selu, erf, gelu, silu, mish } =
  activation;
const { hardSigmoid, hardSwish, hardTanh } = activation;
const { sum, mean, max, min, argMax, argMin, prod, any, all, logSumExp, variance, std, norm, cumsum } = reduce;
const { softmax, logSoftmax } = rows;
const { dot, mT } = matmul;
const { reshape, flatten, squeeze, unsqueeze, permute, transpose, t, slice, flip, pad, broadcastTo, narrow, split } =
  shape;
const { indexSelect, oneHot } = gather;
const { tril, triu } = triangle;
// biome-ignore-end format: a list, as it is read

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
  matmul: matmul.matmul, dot, mT,
  reshape, flatten, squeeze, unsqueeze, permute, transpose, t, slice, flip, pad, broadcastTo, narrow, split,
  tril, triu, sort, argSort, topK, indexSelect, gather: gather.gather, scatterAdd: gather.scatterAdd, indexAdd: gather.indexAdd, oneHot,
  /** Another element type: "float32", "int32", "bool" or "uint8". */
  to: (x: Value, dtype: DType): Value => shape.cast(x, dtype),
  /** The tensor where the mask holds, `other` elsewhere. */
  where: (x: Value, condition: Value, other: Operand): Value => arithmetic.where(condition, x, other),
};

const { bernoulli, rand, randn, randperm } = random;
const { concat, stack } = shape;
const { embedding, scatterSum } = gather;
const { var: _, to: __, where: ___, ...shared } = methods;

/** Functions: all methods whose name JavaScript allows, and what has no first tensor. */
// biome-ignore format: a list, as it is read
export const functions = {
  ...shared, variance, where: arithmetic.where,
  concat, stack, embedding, scatterSum, linear: matmul.linear, bernoulli, rand, randn, randperm,
  full: shape.full, conv1d, conv2d, convTranspose1d, convTranspose2d,
  avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices,
  batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm, rnn, lstm, gru, scaledDotProductAttention,
  einsum, cholesky, eigh, triangularSolve,
};
