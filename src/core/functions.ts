/**
 * The ops as functions of tensors: `exp(x)` beside `x.exp()`, and those with no first tensor. Each is an export of its own, marked as
 * pure, so that bundlers leave out what a page does not call.
 */
import "./eager.ts";
import * as ops from "../ops/functions.ts";
import type { ShorterForms } from "../ops/methods.ts";
import { signatures } from "../ops/signatures.ts";
import { checker } from "../runtime/arguments.ts";
import { asInternal } from "./owners.ts";
import type { LiftedFunction } from "./tensor.ts";

type Name = keyof typeof ops;
type Lifted<K extends Name> = LiftedFunction<(typeof ops)[K]> &
  (K extends keyof ShorterForms ? LiftedFunction<ShorterForms[K]> : unknown);

/** An op in terms of tensors, with its arguments checked. */
function lift<K extends Name>(name: K, f: (typeof ops)[K]): Lifted<K> {
  const check = checker(name, signatures[name]);
  const run = asInternal(f as (...args: unknown[]) => unknown);
  // Ops speak of Value, whose only implementation is Tensor; the cast says so in one place.
  return ((...args: unknown[]) => run(...check(args))) as unknown as Lifted<K>;
}

export const neg = /* @__PURE__ */ lift("neg", ops.neg);
export const abs = /* @__PURE__ */ lift("abs", ops.abs);
export const sign = /* @__PURE__ */ lift("sign", ops.sign);
export const square = /* @__PURE__ */ lift("square", ops.square);
export const sqrt = /* @__PURE__ */ lift("sqrt", ops.sqrt);
export const rsqrt = /* @__PURE__ */ lift("rsqrt", ops.rsqrt);
export const reciprocal = /* @__PURE__ */ lift("reciprocal", ops.reciprocal);
export const exp = /* @__PURE__ */ lift("exp", ops.exp);
export const expm1 = /* @__PURE__ */ lift("expm1", ops.expm1);
export const log = /* @__PURE__ */ lift("log", ops.log);
export const log1p = /* @__PURE__ */ lift("log1p", ops.log1p);
export const floor = /* @__PURE__ */ lift("floor", ops.floor);
export const ceil = /* @__PURE__ */ lift("ceil", ops.ceil);
export const round = /* @__PURE__ */ lift("round", ops.round);
export const clamp = /* @__PURE__ */ lift("clamp", ops.clamp);
export const add = /* @__PURE__ */ lift("add", ops.add);
export const sub = /* @__PURE__ */ lift("sub", ops.sub);
export const mul = /* @__PURE__ */ lift("mul", ops.mul);
export const div = /* @__PURE__ */ lift("div", ops.div);
export const pow = /* @__PURE__ */ lift("pow", ops.pow);
export const maximum = /* @__PURE__ */ lift("maximum", ops.maximum);
export const minimum = /* @__PURE__ */ lift("minimum", ops.minimum);
export const mod = /* @__PURE__ */ lift("mod", ops.mod);
export const eq = /* @__PURE__ */ lift("eq", ops.eq);
export const ne = /* @__PURE__ */ lift("ne", ops.ne);
export const lt = /* @__PURE__ */ lift("lt", ops.lt);
export const le = /* @__PURE__ */ lift("le", ops.le);
export const gt = /* @__PURE__ */ lift("gt", ops.gt);
export const ge = /* @__PURE__ */ lift("ge", ops.ge);
export const logicalAnd = /* @__PURE__ */ lift("logicalAnd", ops.logicalAnd);
export const logicalOr = /* @__PURE__ */ lift("logicalOr", ops.logicalOr);
export const logicalXor = /* @__PURE__ */ lift("logicalXor", ops.logicalXor);
export const logicalNot = /* @__PURE__ */ lift("logicalNot", ops.logicalNot);
export const isNaN = /* @__PURE__ */ lift("isNaN", ops.isNaN);
export const where = /* @__PURE__ */ lift("where", ops.where);
export const sin = /* @__PURE__ */ lift("sin", ops.sin);
export const cos = /* @__PURE__ */ lift("cos", ops.cos);
export const tan = /* @__PURE__ */ lift("tan", ops.tan);
export const atan2 = /* @__PURE__ */ lift("atan2", ops.atan2);
export const tanh = /* @__PURE__ */ lift("tanh", ops.tanh);
export const sigmoid = /* @__PURE__ */ lift("sigmoid", ops.sigmoid);
export const logSigmoid = /* @__PURE__ */ lift("logSigmoid", ops.logSigmoid);
export const softplus = /* @__PURE__ */ lift("softplus", ops.softplus);
export const relu = /* @__PURE__ */ lift("relu", ops.relu);
export const leakyRelu = /* @__PURE__ */ lift("leakyRelu", ops.leakyRelu);
export const elu = /* @__PURE__ */ lift("elu", ops.elu);
export const selu = /* @__PURE__ */ lift("selu", ops.selu);
export const erf = /* @__PURE__ */ lift("erf", ops.erf);
export const gelu = /* @__PURE__ */ lift("gelu", ops.gelu);
export const silu = /* @__PURE__ */ lift("silu", ops.silu);
export const mish = /* @__PURE__ */ lift("mish", ops.mish);
export const hardSigmoid = /* @__PURE__ */ lift("hardSigmoid", ops.hardSigmoid);
export const hardSwish = /* @__PURE__ */ lift("hardSwish", ops.hardSwish);
export const hardTanh = /* @__PURE__ */ lift("hardTanh", ops.hardTanh);
export const sum = /* @__PURE__ */ lift("sum", ops.sum);
export const mean = /* @__PURE__ */ lift("mean", ops.mean);
export const max = /* @__PURE__ */ lift("max", ops.max);
export const min = /* @__PURE__ */ lift("min", ops.min);
export const argMax = /* @__PURE__ */ lift("argMax", ops.argMax);
export const argMin = /* @__PURE__ */ lift("argMin", ops.argMin);
export const prod = /* @__PURE__ */ lift("prod", ops.prod);
export const any = /* @__PURE__ */ lift("any", ops.any);
export const all = /* @__PURE__ */ lift("all", ops.all);
export const logSumExp = /* @__PURE__ */ lift("logSumExp", ops.logSumExp);
export const variance = /* @__PURE__ */ lift("variance", ops.variance);
export const std = /* @__PURE__ */ lift("std", ops.std);
export const norm = /* @__PURE__ */ lift("norm", ops.norm);
export const cumsum = /* @__PURE__ */ lift("cumsum", ops.cumsum);
export const softmax = /* @__PURE__ */ lift("softmax", ops.softmax);
export const logSoftmax = /* @__PURE__ */ lift("logSoftmax", ops.logSoftmax);
export const matmul = /* @__PURE__ */ lift("matmul", ops.matmul);
export const dot = /* @__PURE__ */ lift("dot", ops.dot);
export const mT = /* @__PURE__ */ lift("mT", ops.mT);
export const linear = /* @__PURE__ */ lift("linear", ops.linear);
export const reshape = /* @__PURE__ */ lift("reshape", ops.reshape);
export const flatten = /* @__PURE__ */ lift("flatten", ops.flatten);
export const squeeze = /* @__PURE__ */ lift("squeeze", ops.squeeze);
export const unsqueeze = /* @__PURE__ */ lift("unsqueeze", ops.unsqueeze);
export const permute = /* @__PURE__ */ lift("permute", ops.permute);
export const transpose = /* @__PURE__ */ lift("transpose", ops.transpose);
export const t = /* @__PURE__ */ lift("t", ops.t);
export const slice = /* @__PURE__ */ lift("slice", ops.slice);
export const flip = /* @__PURE__ */ lift("flip", ops.flip);
export const pad = /* @__PURE__ */ lift("pad", ops.pad);
export const broadcastTo = /* @__PURE__ */ lift("broadcastTo", ops.broadcastTo);
export const narrow = /* @__PURE__ */ lift("narrow", ops.narrow);
export const split = /* @__PURE__ */ lift("split", ops.split);
export const concat = /* @__PURE__ */ lift("concat", ops.concat);
export const stack = /* @__PURE__ */ lift("stack", ops.stack);
export const indexSelect = /* @__PURE__ */ lift("indexSelect", ops.indexSelect);
export const indexAdd = /* @__PURE__ */ lift("indexAdd", ops.indexAdd);
export const gather = /* @__PURE__ */ lift("gather", ops.gather);
export const scatterAdd = /* @__PURE__ */ lift("scatterAdd", ops.scatterAdd);
export const scatterSum = /* @__PURE__ */ lift("scatterSum", ops.scatterSum);
export const oneHot = /* @__PURE__ */ lift("oneHot", ops.oneHot);
export const embedding = /* @__PURE__ */ lift("embedding", ops.embedding);
export const bernoulli = /* @__PURE__ */ lift("bernoulli", ops.bernoulli);
export const randperm = /* @__PURE__ */ lift("randperm", ops.randperm);
export const conv1d = /* @__PURE__ */ lift("conv1d", ops.conv1d);
export const conv2d = /* @__PURE__ */ lift("conv2d", ops.conv2d);
export const convTranspose1d = /* @__PURE__ */ lift("convTranspose1d", ops.convTranspose1d);
export const convTranspose2d = /* @__PURE__ */ lift("convTranspose2d", ops.convTranspose2d);
export const avgPool2d = /* @__PURE__ */ lift("avgPool2d", ops.avgPool2d);
export const globalAvgPool2d = /* @__PURE__ */ lift("globalAvgPool2d", ops.globalAvgPool2d);
export const maxPool2d = /* @__PURE__ */ lift("maxPool2d", ops.maxPool2d);
export const maxPool2dWithIndices = /* @__PURE__ */ lift("maxPool2dWithIndices", ops.maxPool2dWithIndices);
export const batchNorm = /* @__PURE__ */ lift("batchNorm", ops.batchNorm);
export const batchNormTrain = /* @__PURE__ */ lift("batchNormTrain", ops.batchNormTrain);
export const groupNorm = /* @__PURE__ */ lift("groupNorm", ops.groupNorm);
export const layerNorm = /* @__PURE__ */ lift("layerNorm", ops.layerNorm);
export const rmsNorm = /* @__PURE__ */ lift("rmsNorm", ops.rmsNorm);
export const rnn = /* @__PURE__ */ lift("rnn", ops.rnn);
export const lstm = /* @__PURE__ */ lift("lstm", ops.lstm);
export const gru = /* @__PURE__ */ lift("gru", ops.gru);
export const scaledDotProductAttention = /* @__PURE__ */ lift(
  "scaledDotProductAttention",
  ops.scaledDotProductAttention,
);
export const tril = /* @__PURE__ */ lift("tril", ops.tril);
export const triu = /* @__PURE__ */ lift("triu", ops.triu);
export const sort = /* @__PURE__ */ lift("sort", ops.sort);
export const argSort = /* @__PURE__ */ lift("argSort", ops.argSort);
export const topK = /* @__PURE__ */ lift("topK", ops.topK);
export const einsum = /* @__PURE__ */ lift("einsum", ops.einsum);
export const cholesky = /* @__PURE__ */ lift("cholesky", ops.cholesky);
export const eigh = /* @__PURE__ */ lift("eigh", ops.eigh);
export const triangularSolve = /* @__PURE__ */ lift("triangularSolve", ops.triangularSolve);
