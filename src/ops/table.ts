/**
 * The op table, with one entry per op code. Its type requires every code, so a missing entry is a compile-time error.
 * Autograd, the encoder, the tests and the op reference read the table. For each code, test/ops/oracles/index.ts has a
 * float64 oracle or names the test that checks the op instead.
 */
import { Op } from "../../assembly/opcodes.ts";
import { checkDefinition } from "./definition/check.ts";
import type { AnyOp } from "./definition/op.ts";
import { convDefinition, convInputDefinition, convWeightDefinition } from "./image/conv.ts";
import { dilationDefinition } from "./image/dilation.ts";
import { avgPoolDefinition, avgPoolGradDefinition, maxPoolDefinition } from "./image/pool.ts";
import { gatherDefinitions } from "./index/gather.ts";
import { interpolateDefinition } from "./index/interpolate.ts";
import { uniqueDefinition } from "./index/sparse.ts";
import { linalgDefinitions } from "./matrix/linalg.ts";
import { matmulDefinition } from "./matrix/matmul.ts";
import { quantizedMatmulDefinition, quantizeRowsDefinition } from "./matrix/quantized.ts";
import { widenDefinition, widenedMatmulDefinition } from "./matrix/widen.ts";
import { chainDefinition } from "./pointwise/chain.ts";
import { whereDefinition } from "./pointwise/comparison.ts";
import { pointwiseDefinitions } from "./pointwiseDefinitions.ts";
import { advanceDefinition, randomDefinitions } from "./random/random.ts";
import { normDefinition, squaresDefinition } from "./reduce/euclid.ts";
import * as folds from "./reduce/fold.ts";
import { normalizeDefinition, normalizeGradDefinition } from "./reduce/norm.ts";
import { rowDefinitions } from "./reduce/rows.ts";
import { standardizeDefinition } from "./reduce/standardize.ts";
import { attentionDefinitions } from "./sequence/attention.ts";
import { recurrences } from "./sequence/recurrent.ts";
import { weightGradients } from "./sequence/recurrentWeights.ts";
import { moves } from "./shape/move.ts";
import { updateDefinitions } from "./update/update.ts";

export const table: { readonly [code in Op]: AnyOp } = {
  ...pointwiseDefinitions,
  [Op.Where]: whereDefinition,
  [Op.Sum]: folds.sumDefinition,
  [Op.Max]: folds.maxDefinition,
  [Op.Min]: folds.minDefinition,
  [Op.ArgMax]: folds.argMaxDefinition,
  [Op.ArgMin]: folds.argMinDefinition,
  [Op.Norm]: normDefinition,
  [Op.Squares]: squaresDefinition,
  [Op.Cumsum]: folds.cumsumDefinition,
  [Op.Prod]: folds.prodDefinition,
  [Op.Softmax]: rowDefinitions.softmax,
  [Op.LogSoftmax]: rowDefinitions.logSoftmax,
  [Op.SoftmaxGrad]: rowDefinitions.softmaxGrad,
  [Op.LogSoftmaxGrad]: rowDefinitions.logSoftmaxGrad,
  [Op.CrossEntropy]: rowDefinitions.crossEntropy,
  [Op.CrossEntropyGrad]: rowDefinitions.crossEntropyGrad,
  [Op.SoftCrossEntropy]: rowDefinitions.softCrossEntropy,
  [Op.SoftCrossEntropyGrad]: rowDefinitions.softCrossEntropyGrad,
  [Op.Matmul]: matmulDefinition,
  [Op.Fill]: moves.fill,
  [Op.Permute]: moves.permute,
  [Op.Slice]: moves.slice,
  [Op.Unslice]: moves.unslice,
  [Op.BroadcastTo]: moves.broadcastTo,
  [Op.Concat]: moves.concat,
  [Op.Assign]: moves.assign,
  [Op.Cast]: moves.cast,
  [Op.IndexSelect]: gatherDefinitions.indexSelect,
  [Op.IndexAdd]: gatherDefinitions.indexAdd,
  [Op.Gather]: gatherDefinitions.gather,
  [Op.ScatterAdd]: gatherDefinitions.scatterAdd,
  [Op.Interpolate]: interpolateDefinition,
  [Op.OneHot]: gatherDefinitions.oneHot,
  [Op.Unique]: uniqueDefinition,
  [Op.Uniform]: randomDefinitions.uniform,
  [Op.Normal]: randomDefinitions.normal,
  [Op.Bernoulli]: randomDefinitions.bernoulli,
  [Op.RandomInteger]: randomDefinitions.integer,
  [Op.RandomPermutation]: randomDefinitions.permutation,
  [Op.Advance]: advanceDefinition,
  [Op.Sgd]: updateDefinitions.sgd,
  [Op.Adam]: updateDefinitions.adam,
  [Op.RmsProp]: updateDefinitions.rmsProp,
  [Op.Adagrad]: updateDefinitions.adagrad,
  [Op.Lion]: updateDefinitions.lion,
  [Op.Conv]: convDefinition,
  [Op.ConvInput]: convInputDefinition,
  [Op.ConvWeight]: convWeightDefinition,
  [Op.MaxPool]: maxPoolDefinition,
  [Op.Dilation]: dilationDefinition,
  [Op.AvgPool]: avgPoolDefinition,
  [Op.AvgPoolGrad]: avgPoolGradDefinition,
  [Op.Normalize]: normalizeDefinition,
  [Op.NormalizeGrad]: normalizeGradDefinition,
  [Op.Standardize]: standardizeDefinition,
  [Op.Rnn]: recurrences.rnn.forward,
  [Op.Lstm]: recurrences.lstm.forward,
  [Op.Gru]: recurrences.gru.forward,
  [Op.RnnGrad]: recurrences.rnn.grad,
  [Op.LstmGrad]: recurrences.lstm.grad,
  [Op.GruGrad]: recurrences.gru.grad,
  [Op.RecurrentWeights]: weightGradients,
  [Op.Attention]: attentionDefinitions.attention,
  [Op.AttentionGrad]: attentionDefinitions.attentionGrad,
  [Op.CachedAttention]: attentionDefinitions.cachedAttention,
  [Op.Cholesky]: linalgDefinitions.cholesky,
  [Op.Eigh]: linalgDefinitions.eigh,
  [Op.ArgSort]: linalgDefinitions.argSort,
  [Op.TriangularSolve]: linalgDefinitions.triangularSolve,
  [Op.QuantizeRows]: quantizeRowsDefinition,
  [Op.QuantizedMatmul]: quantizedMatmulDefinition,
  [Op.Widen]: widenDefinition,
  [Op.WidenedMatmul]: widenedMatmulDefinition,
  [Op.Chain]: chainDefinition,
  [Op.Check]: checkDefinition,
};
