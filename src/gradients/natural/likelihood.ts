/** The distribution of the target given a network's outputs: three likelihoods whose Fisher information has a closed form. */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { eye, rand, randn } from "../../core/creation.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as losses from "../../losses/index.ts";
import { show } from "../../ops/definition/value.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";

/**
 * "softmax": outputs [batch, classes] are logits, and the target is int32 labels [batch]; "bernoulli": each output is the logit of a binary
 * target; "gaussian": each output is a mean, with variance 1.
 */
export type Likelihood = "softmax" | "bernoulli" | "gaussian";

/** A likelihood p(t | y) of outputs y: [batch, outputs]. */
interface Rules {
  /** The mean of −log p over the batch, without constant terms. */
  loss(y: Tensor, target: Tensor): Tensor;
  /**
   * H·v for each sample, with the outputs' Fisher information H = E (∂log p/∂y)(∂log p/∂y)ᵀ, which equals −∂²log p/∂y²
   * here.
   */
  information(y: Tensor, v: Tensor): Tensor;
  /** Column k of S for each sample, where S·Sᵀ = H. S has as many columns as there are outputs. */
  factor(y: Tensor, k: number): Tensor;
  /** A target drawn from p. */
  sample(y: Tensor): Tensor;
}

/** Basis vector k as a row: [1, n]. */
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
    // Draw a label: the argmax of the logits plus Gumbel noise.
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
    // H = I.
    information: (_, v) => v,
    factor: (y, k) => y.mul(0).add(unitRow(columns(y), k)),
    sample: (y) => y.add(randn(y.shape)),
  },
};
function variances(y: Tensor): Tensor {
  const p = y.sigmoid();
  return p.mul(p.neg().add(1));
}

/** @throws RangeError if the likelihood is unknown */
export function likelihoodOf(likelihood: Likelihood): Rules {
  if (Object.hasOwn(rules, likelihood)) return rules[likelihood];
  throw new RangeError(
    `fisher: likelihood must be one of ${Object.keys(rules).join(", ")}, got ${describe(likelihood)}.`,
  );
}

/** @throws ShapeError unless y is [batch, outputs] */
export function requireOutputs(y: Tensor): Tensor {
  if (y.shape.length === 2) return y;
  throw new ShapeError(
    `fisher: the outputs must be [batch, outputs], got ${show(y.shape)}. Use reshape([-1, outputs]).`,
  );
}

/** ∂(−log p)/∂y of each sample, for targets drawn from p: [batch, outputs]. */
export function score(y: Tensor, likelihood: Likelihood): Tensor {
  const { loss, sample } = likelihoodOf(likelihood);
  const at = y.detach();
  const target = withGrad(false, () => sample(at));
  // Multiply by the number of samples, because the loss is their mean.
  return grad((z: Tensor) => loss(z, target).mul(z.shape[0]!))(at);
}
