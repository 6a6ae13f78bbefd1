/** What a network's outputs say of its target: the three likelihoods whose Fisher information is known in closed form. */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { eye, rand, randn } from "../../core/creation.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as losses from "../../losses/index.ts";
import { show } from "../../ops/definition/value.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";

/**
 * "softmax": outputs [batch, classes] are logits of one of several classes, the target int32 labels [batch]; "bernoulli": each output is
 * the logit of a yes or no; "gaussian": each is a mean, with variance 1.
 */
export type Likelihood = "softmax" | "bernoulli" | "gaussian";

/** A likelihood p(t | y) of outputs y: [batch, outputs]. */
interface Rules {
  /** The mean over the batch of −log p, without constants. */
  loss(y: Tensor, target: Tensor): Tensor;
  /** H·v, row by row, for the outputs' Fisher information H = E (∂log p/∂y)(∂log p/∂y)ᵀ, here the same as −∂²log p/∂y². */
  information(y: Tensor, v: Tensor): Tensor;
  /** Column k of S, row by row, where S·Sᵀ = H. There are as many as outputs. */
  factor(y: Tensor, k: number): Tensor;
  /** A target drawn from p. */
  sample(y: Tensor): Tensor;
}

/** 1 at place k of n: [1, n]. */
const unitRow = (n: number, k: number): Tensor => eye(n).narrow(0, k, 1);
const columns = (y: Tensor): number => y.shape[1]!;

const rules: Record<Likelihood, Rules> = {
  softmax: {
    // Cross-entropy.
    loss: (y, labels) => losses.crossEntropy(y, labels),
    // H = diag(p) − p·pᵀ.
    information(y, v) {
      const p = y.softmax();
      return p.mul(v.sub(p.mul(v).sum(-1, { keepdim: true })));
    },
    // √pₖ·(eₖ − p).
    factor(y, k) {
      const p = y.softmax();
      return p
        .narrow(1, k, 1)
        .sqrt()
        .mul(unitRow(columns(y), k).sub(p));
    },
    // The largest of logits with Gumbel noise added.
    sample: (y) =>
      y
        .sub(
          rand(y.shape)
            .clamp(1e-30, 1 - 2 ** -24)
            .log()
            .neg()
            .log(),
        )
        .argMax(-1),
  },
  bernoulli: {
    loss: (y, target) => losses.bceWithLogits(y, target, { reduction: "sum" }).div(y.shape[0]!),
    // H = diag(σ(1 − σ)).
    information: (y, v) => v.mul(variances(y)),
    factor: (y, k) =>
      variances(y)
        .sqrt()
        .mul(unitRow(columns(y), k)),
    sample: (y) => rand(y.shape).lt(y.sigmoid()).to("float32"),
  },
  gaussian: {
    loss: (y, target) => losses.mse(y, target, { reduction: "sum" }).mul(0.5 / y.shape[0]!),
    // H = 1.
    information: (_, v) => v,
    factor: (y, k) => y.mul(0).add(unitRow(columns(y), k)),
    sample: (y) => y.add(randn(y.shape)),
  },
};
function variances(y: Tensor): Tensor {
  const p = y.sigmoid();
  return p.mul(p.neg().add(1));
}

/** @throws RangeError where there is no such likelihood */
export function likelihoodOf(likelihood: Likelihood): Rules {
  if (Object.hasOwn(rules, likelihood)) return rules[likelihood];
  throw new RangeError(`likelihood is "${likelihood}", but must be one of ${Object.keys(rules).join(", ")}.`);
}

/** @throws ShapeError unless y is [batch, outputs] */
export function requireOutputs(y: Tensor): Tensor {
  if (y.shape.length === 2) return y;
  throw new ShapeError(`The outputs are ${show(y.shape)}, but must be [batch, outputs]. Use reshape([-1, outputs]).`);
}

/** ∂(−log p)/∂y of each sample, for targets drawn from p: [batch, outputs]. */
export function score(y: Tensor, likelihood: Likelihood): Tensor {
  const { loss, sample } = likelihoodOf(likelihood);
  const at = y.detach();
  const target = withGrad(false, () => sample(at));
  // The loss is the samples' mean.
  return grad((z: Tensor) => loss(z, target).mul(z.shape[0]!))(at);
}
