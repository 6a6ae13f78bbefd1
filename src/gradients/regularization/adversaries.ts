/**
 * Adversarial inputs: small changes along the gradient of the loss with respect to the inputs (FGSM, PGD), and the loss for adversarial
 * training. All functions work in eager mode, inside `optimizer.minimize(() => …)` and inside `compile`, and change no parameter's gradient.
 */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { uniform } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import { Tensor } from "../../core/tensor.ts";
import { type Shape, sameShape, show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError, ShapeError, TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { requireCount, requireInputs, requireNumber } from "../interpretation/scores.ts";
import { onSphere, unitRows } from "../math/sphere.ts";

/**
 * A loss as a function of the inputs only, so the function must capture the labels. The function returns a single
 * number or one number per sample. In the second case, the attack raises their sum.
 */
export type InputLoss = (x: Tensor) => Tensor;

/** The range that adversarial inputs must stay in. */
export interface BoxOptions {
  /** The lower bound for inputs. Default: none. */
  readonly min?: number;
  /** The upper bound for inputs. Default: none. */
  readonly max?: number;
}

/** Options for fgsm. */
export interface FgsmOptions extends BoxOptions {
  /** The maximum change to each input. */
  readonly epsilon: number;
}

/**
 * x + ε·sign(∂loss/∂x), the fast gradient sign method (Goodfellow et al. 2015, §4). To first order, this change raises
 * the loss by ε·‖∂loss/∂x‖₁, and no other change of up to ε per input raises the loss more. x: [batch, …] → the same
 * shape, within [min, max]. Later gradients treat the result as a constant.
 *
 * ```ts
 * const attacked = fgsm((z) => losses.crossEntropy(model.forward(z), labels), images, { epsilon: 0.1, min: 0, max: 1 });
 * ```
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs or options
 */
export function fgsm(lossOf: InputLoss, x: Tensor, options: FgsmOptions): Tensor {
  check("fgsm", arguments, "lossOf:function x:tensor {epsilon!:number min:number max:number}");
  const { epsilon, min, max } = options;
  requireInputs("fgsm", x);
  requireNumber("fgsm", "epsilon", epsilon, 0);
  requireBox("fgsm", min, max);
  return constant(() => clampToBox(x.add(inputGradient("fgsm", lossOf, x).sign().mul(epsilon)), min, max));
}

/** Options for pgd. */
export interface PgdOptions extends BoxOptions {
  /** The largest change allowed: the change to each input (linf), or the length of the change to each sample (l2). */
  readonly epsilon: number;
  /** The number of steps. Default 10. */
  readonly steps?: number;
  /** The length of a step. Default 2.5·ε/steps (Madry et al. 2018, §5), enough to reach the boundary from any start. */
  readonly stepSize?: number;
  /**
   * Whether to start at a random point within ε of x, drawn with the generator that `manualSeed` seeds, instead of at
   * x. Default true.
   */
  readonly randomStart?: boolean;
  /** The norm that bounds the change to the input. Default "linf". */
  readonly norm?: "linf" | "l2";
}

/**
 * Projected gradient ascent on the loss within ε of x (Madry et al. 2018, eq. after 2.1): each step follows the
 * gradient's sign (linf) or the gradient itself (l2), and its result is projected to within ε of x and to [min, max].
 * x: [batch, …] within [min, max] → the same shape. Later gradients treat the result as a constant. Each step costs one
 * forward and one backward pass.
 *
 * ```ts
 * const lossOf = (z: Tensor) => losses.crossEntropy(model.forward(z), labels);
 * pgd(lossOf, images, { epsilon: 0.1, steps: 20, min: 0, max: 1 });
 * pgd(lossOf, images, { epsilon: 2, norm: "l2", randomStart: false });
 * ```
 * Inside compile, all steps are recorded, one after the other.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs or options
 */
export function pgd(lossOf: InputLoss, x: Tensor, options: PgdOptions): Tensor {
  check(
    "pgd",
    arguments,
    "lossOf:function x:tensor {epsilon!:number steps:number stepSize:number randomStart:boolean norm:string min:number max:number}",
  );
  const {
    epsilon,
    steps = 10,
    stepSize = (2.5 * epsilon) / steps,
    randomStart = true,
    norm = "linf",
    min,
    max,
  } = options;
  requireInputs("pgd", x);
  requireNumber("pgd", "epsilon", epsilon, 0);
  requireCount("pgd", "steps", steps);
  requireNumber("pgd", "stepSize", stepSize, 0);
  requireBox("pgd", min, max);
  if (!Object.hasOwn(balls, norm)) throw new RangeError(`pgd: norm must be "linf" or "l2", got ${describe(norm)}.`);
  const { project, steepest, sample } = balls[norm];
  const allowed = (delta: Tensor): Tensor => clampToBox(x.add(project(delta, epsilon)), min, max);
  return constant(() => {
    let z = randomStart ? allowed(sample(x.shape, epsilon)) : x;
    for (let step = 0; step < steps; step++) {
      const before = z;
      z = tidy(() => allowed(before.sub(x).add(steepest(inputGradient("pgd", lossOf, before)).mul(stepSize))));
      if (before !== x) before.dispose();
    }
    return z;
  });
}

/**
 * The ball of radius ε in a norm: the projection onto it, the direction of steepest ascent (of length 1), and a random
 * point in it.
 */
interface Ball {
  project(delta: Tensor, epsilon: number): Tensor;
  steepest(g: Tensor): Tensor;
  sample(shape: Shape, epsilon: number): Tensor;
}
const balls: Readonly<Record<"linf" | "l2", Ball>> = {
  linf: {
    project: (delta, epsilon) => delta.clamp(-epsilon, epsilon),
    steepest: (g) => g.sign(),
    sample: (shape, epsilon) => uniform(shape, -epsilon, epsilon),
  },
  l2: {
    project(delta, epsilon) {
      const lengths = delta.flatten(1).norm(2, 1, { keepdim: true });
      const factors = lengths.reciprocal().mul(epsilon).minimum(1).where(lengths.gt(epsilon), 1);
      return delta.flatten(1).mul(factors).reshape(delta.shape);
    },
    steepest: unitRows,
    sample(shape, epsilon) {
      // Draw the radius as u^(1/n) with uniform u, because the volume within radius r grows like rⁿ.
      const [batch, ...rest] = shape as [number, ...number[]];
      const radius = uniform([batch, ...rest.map(() => 1)], 0, 1).pow(1 / rest.reduce((a, b) => a * b, 1));
      return onSphere(shape).mul(radius).mul(epsilon);
    },
  },
};

/** ∂loss/∂x. If there is one loss per sample, differentiates the sum of the losses. */
function inputGradient(name: string, lossOf: InputLoss, x: Tensor): Tensor {
  return grad((z: Tensor) => {
    const loss: unknown = lossOf(z);
    if (!(loss instanceof Tensor))
      throw new TypeError(
        `${name}: the loss must be a tensor, got ${describe(loss)}. Return a tensor from the function.`,
      );
    return loss.sum();
  })(x);
}

const constant = (f: () => Tensor): Tensor => tidy(() => withGrad(false, f).detach());

function clampToBox(x: Tensor, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): Tensor {
  return min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY ? x : x.clamp(min, max);
}

/** @throws RangeError */
function requireBox(name: string, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): void {
  if (!(min < max)) throw new RangeError(`${name}: min must be below max, got ${min} and ${max}.`);
}

/** Options for adversarialLoss. */
export interface AdversarialLossOptions {
  /** The weight of the loss at x itself, 0 … 1. With 0, training uses only adversarial inputs (Madry et al. 2018). Default 0.5. */
  readonly clean?: number;
}

/**
 * α·loss(x) + (1 − α)·loss(adversary), where α is `clean`: the loss of adversarial training (Goodfellow et al. 2015, §6). On every call,
 * the attack computes the adversary, in the shape of x, from the current parameters. Gradients do not flow through the attack.
 *
 * ```ts
 * const step = compile((x: Tensor, labels: Tensor) =>
 *   optimizer.minimize(() =>
 *     adversarialLoss(
 *       (z) => losses.crossEntropy(model.forward(z), labels),
 *       x,
 *       (lossOf, z) => fgsm(lossOf, z, { epsilon: 0.1, min: 0, max: 1 }),
 *     ),
 *   ),
 * );
 * ```
 * @throws ShapeError if the attack returns a different shape; RangeError if `clean` is not between 0 and 1
 */
export function adversarialLoss(
  lossOf: InputLoss,
  x: Tensor,
  attack: (lossOf: InputLoss, x: Tensor) => Tensor,
  options: AdversarialLossOptions = {},
): Tensor {
  check("adversarialLoss", arguments, "lossOf:function x:tensor attack:function {clean:number}");
  const { clean = 0.5 } = options;
  if (!(clean >= 0 && clean <= 1)) throw new RangeError(`adversarialLoss: clean must be in 0 … 1, got ${clean}.`);
  return tidy(() => {
    const adversary = withGrad(false, () => attack(lossOf, x)).detach();
    if (!sameShape(adversary.shape, x.shape))
      throw new ShapeError(
        `adversarialLoss: the attack must return the shape of x, ${show(x.shape)}, got ${show(adversary.shape)}.`,
      );
    const hard = lossOf(adversary).mul(1 - clean);
    return clean === 0 ? hard : lossOf(x).mul(clean).add(hard);
  });
}
