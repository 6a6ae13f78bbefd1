/** The ops as functions, one name each: functions.ts lifts them to tensors. */

export { conv1d, conv2d, convTranspose1d, convTranspose2d } from "./image/convolve.ts";
export { avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices } from "./image/pool.ts";
export { embedding, gather, indexAdd, indexSelect, oneHot, scatterAdd, scatterSum } from "./index/gather.ts";
export { einsum } from "./matrix/einsum.ts";
export { argSort, cholesky, eigh, sort, topK, triangularSolve } from "./matrix/linalg.ts";
export { dot, linear, matmul, mT } from "./matrix/matmul.ts";
export {
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
export {
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
export { bernoulli, randperm } from "./random/random.ts";
export { batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm } from "./reduce/norm.ts";
export {
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
  std,
  sum,
  variance,
} from "./reduce/reduce.ts";
export { logSoftmax, softmax } from "./reduce/rows.ts";
export { scaledDotProductAttention } from "./sequence/attention.ts";
export { gru, lstm, rnn } from "./sequence/sequence.ts";
export {
  broadcastTo,
  concat,
  flatten,
  flip,
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
} from "./shape/shape.ts";
export { tril, triu } from "./shape/triangle.ts";
