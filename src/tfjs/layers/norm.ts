/** Normalization as in TensorFlow.js, which updates the running variance with the biased variance of the batch. */
import { noGrad } from "../../autograd/backward.ts";
import { flushDenormals } from "../../core/denormals.ts";
import * as ops from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { withUndo } from "../../core/undo.ts";
import { type Own, type Rule, weightsOf } from "./plan.ts";

/** Exchanges dim `axis` of x with the last one, runs f, and exchanges them back. */
function withLast(x: Tensor, axis: number, f: (x: Tensor) => Tensor): Tensor {
  const rank = x.shape.length;
  const dim = axis < 0 ? axis + rank : axis;
  return dim === rank - 1 ? f(x) : f(x.transpose(dim, rank - 1)).transpose(dim, rank - 1);
}

/** Normalizes with the batch's statistics, and moves the running statistics towards them. */
function trainBatchNorm(x: Tensor, { weights }: Own, momentum: number, eps: number): Tensor {
  const { weight = null, bias = null, runningMean, runningVar } = weights;
  return withUndo(() => {
    const [y, stats] = ops.batchNormTrain(x, weight, bias, { eps }) as [Tensor, Tensor];
    // r ← r − (1 − momentum)·(r − batch). An empty batch has no statistics.
    if (x.size)
      noGrad(() =>
        tidy(() => {
          for (const [i, running] of [runningMean!, runningVar!].entries()) {
            const difference = running.sub(stats.slice(i));
            running.copyFrom(flushDenormals(running.sub(difference.mul(1 - momentum))));
          }
        }),
      );
    stats.dispose();
    return y;
  });
}

export const norm: Readonly<Record<string, Rule>> = {
  BatchNormalization: ({ config: { axis, momentum, epsilon: eps }, variables }) => ({
    weights: weightsOf(variables, {
      weight: { of: "gamma" },
      bias: { of: "beta" },
      runningMean: { of: "moving_mean", isBuffer: true },
      runningVar: { of: "moving_variance", isBuffer: true },
    }),
    run(own, input) {
      const { weight = null, bias = null, runningMean, runningVar } = own.weights;
      return withLast(input, axis, (x) =>
        own.training
          ? trainBatchNorm(x, own, momentum, eps)
          : ops.batchNorm(x, runningMean!, runningVar!, weight, bias, { eps }),
      );
    },
  }),
  LayerNormalization: ({ config: { axis, epsilon: eps }, variables }) => ({
    weights: weightsOf(variables, { weight: { of: "gamma" }, bias: { of: "beta" } }),
    run({ weights: { weight, bias } }, x) {
      const { shape } = x;
      const dims = axis as readonly number[];
      const first = shape.length - dims.length;
      if (dims.every((dim, i) => dim === first + i))
        return ops.layerNorm(x, shape.slice(first), weight ?? null, bias ?? null, { eps });
      const placed = (w: Tensor): Tensor => w.reshape(shape.map((n, i) => (dims.includes(i) ? n : 1)));
      const centered = x.sub(x.mean(dims, { keepdim: true }));
      const y = centered.div(centered.square().mean(dims, { keepdim: true }).add(eps).sqrt());
      const scaled = weight ? y.mul(placed(weight)) : y;
      return bias ? scaled.add(placed(bias)) : scaled;
    },
  }),
};
