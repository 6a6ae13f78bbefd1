/** The ops as functions of tensors: `exp(x)` beside `x.exp()`, and those with no first tensor. */
import "./eager.ts";
import { functions, type ShorterForms } from "./ops/methods.ts";
import { signatures } from "./ops/signatures.ts";
import { contained } from "./owners.ts";
import { check } from "./runtime/arguments.ts";
import type { LiftedFunction } from "./tensor.ts";

type Name = keyof typeof functions;
const checked = Object.entries(functions).map(([name, f]) => {
  const signature = signatures[name as Name];
  const run = contained(f as (...args: unknown[]) => unknown);
  return [name, (...args: unknown[]) => run(...check(name, args, signature))];
});
// Ops speak of Value, whose only implementation is Tensor; the cast says so in one place.
const lifted = Object.fromEntries(checked) as unknown as {
  readonly [K in Name]: LiftedFunction<(typeof functions)[K]> &
    (K extends keyof ShorterForms ? LiftedFunction<ShorterForms[K]> : unknown);
};

// biome-ignore format: a list, as it is read
export const {
  neg, abs, sign, square, sqrt, rsqrt, reciprocal, exp, expm1, log, log1p, floor, ceil, round, clamp,
  add, sub, mul, div, pow, maximum, minimum, mod, eq, ne, lt, le, gt, ge,
  logicalAnd, logicalOr, logicalXor, logicalNot, isNaN, where,
  sin, cos, tan, atan2, tanh, sigmoid, logSigmoid, softplus, relu, leakyRelu, elu, selu, erf, gelu, silu, mish,
  hardSigmoid, hardSwish, hardTanh,
  sum, mean, max, min, argMax, argMin, prod, any, all, logSumExp, variance, std, norm, cumsum,
  softmax, logSoftmax, matmul, dot, mT, linear,
  reshape, flatten, squeeze, unsqueeze, permute, transpose, t, slice, flip, pad, broadcastTo, narrow, split, concat, stack,
  indexSelect, indexAdd, gather, scatterAdd, scatterSum, oneHot, embedding, bernoulli, randperm,
  conv1d, conv2d, convTranspose1d, convTranspose2d, avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices,
  batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm, rnn, lstm, gru,
  scaledDotProductAttention, tril, triu, sort, argSort, topK, einsum, cholesky, eigh, triangularSolve,
} = lifted;
