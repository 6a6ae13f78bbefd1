/** The ops as functions, one name each: functions.ts lifts them to tensors. */
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
} from "./activation.ts";
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
} from "./arithmetic.ts";
export { scaledDotProductAttention } from "./attention.ts";
export { conv1d, conv2d, convTranspose1d, convTranspose2d } from "./convolve.ts";
export { einsum } from "./einsum.ts";
export { embedding, gather, indexAdd, indexSelect, oneHot, scatterAdd, scatterSum } from "./gather.ts";
export { argSort, cholesky, eigh, sort, topK, triangularSolve } from "./linalg.ts";
export { dot, linear, matmul, mT } from "./matmul.ts";
export { batchNorm, batchNormTrain, groupNorm, layerNorm, rmsNorm } from "./norm.ts";
export { avgPool2d, globalAvgPool2d, maxPool2d, maxPool2dWithIndices } from "./pool.ts";
export { bernoulli, randperm } from "./random.ts";
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
} from "./reduce.ts";
export { logSoftmax, softmax } from "./rows.ts";
export { gru, lstm, rnn } from "./sequence.ts";
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
} from "./shape.ts";
export { tril, triu } from "./triangle.ts";
