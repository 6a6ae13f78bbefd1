/**
 * Inputs made to mislead: small changes along the loss's gradient by the inputs (FGSM, PGD), and the loss to train on them with. All of it
 * works in eager mode, inside `optimizer.minimize(() => …)` and inside `compile`; no parameter's gradient is touched.
 */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { uniform } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import { Tensor } from "../../core/tensor.ts";
import { type Shape, sameShape, show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError, ShapeError, TypeError } from "../../runtime/errors.ts";
import { requireCount, requireInputs, requireNumber } from "../interpretation/scores.ts";
import { onSphere, unitRows } from "../math/sphere.ts";

/** A loss of the inputs: one number, or one for each sample (then their sum is attacked). The function closes over the labels it needs. */
export type InputLoss = (x: Tensor) => Tensor;

/** The range that adversarial inputs must stay in. */
export interface BoxOptions {
  /** The least value that inputs may have. Default: none. */
  readonly min?: number;
  /** The greatest. Default: none. */
  readonly max?: number;
}

/** Options of fgsm. */
export interface FgsmOptions extends BoxOptions {
  /** How far each input may move. */
  readonly epsilon: number;
}

/**
 * x + ε·sign(∂loss/∂x), the fast gradient sign method (Goodfellow et al. 2015, §4): the step in a box of half-width ε that raises the
 * loss most to first order, by ε·‖∂loss/∂x‖₁. x: [batch, …] → the same shape, within [min, max], and a constant to later gradients.
 *
 * ```ts
 * const attacked = fgsm((z) => losses.crossEntropy(model.forward(z), labels), images, { epsilon: 0.1, min: 0, max: 1 });
 * ```
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs or options do not fit
 */
export function fgsm(lossOf: InputLoss, x: Tensor, options: FgsmOptions): Tensor {
  check("fgsm", arguments, "lossOf:function x:tensor {epsilon!:number min:number max:number}");
  const { epsilon, min, max } = options;
  requireInputs("fgsm", x);
  requireNumber("fgsm", "epsilon", epsilon, 0);
  requireBox("fgsm", min, max);
  return constant(() => intoBox(x.add(ascent("fgsm", lossOf, x).sign().mul(epsilon)), min, max));
}

/** Options of pgd. */
export interface PgdOptions extends BoxOptions {
  /** How far x may move: each input (linf), or each sample by its length (l2). */
  readonly epsilon: number;
  /** How many steps. Default 10. */
  readonly steps?: number;
  /** How far a step goes. Default 2.5·ε/steps (Madry et al. 2018, §5), enough to reach the border from anywhere within. */
  readonly stepSize?: number;
  /** Whether to begin anywhere within ε of x, by manualSeed's generator, instead of at x. Default true. */
  readonly randomStart?: boolean;
  /** The norm that bounds the change of the input. Default "linf". */
  readonly norm?: "linf" | "l2";
}

/**
 * Projected gradient ascent of the loss within ε of x (Madry et al. 2018, eq. after 2.1): steps along the gradient's sign (linf), or along the
 * gradient itself (l2), each pulled back to within ε and [min, max]. x: [batch, …], itself within [min, max] → the same shape, a
 * constant to later gradients. A step costs a forward and a backward pass.
 *
 * ```ts
 * const lossOf = (z: Tensor) => losses.crossEntropy(model.forward(z), labels);
 * pgd(lossOf, images, { epsilon: 0.1, steps: 20, min: 0, max: 1 });
 * pgd(lossOf, images, { epsilon: 2, norm: "l2", randomStart: false });
 * ```
 * Inside compile all steps are recorded, one behind the other.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs or options do not fit
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
  if (!Object.hasOwn(balls, norm)) throw new RangeError(`pgd: "${String(norm)}" is not a norm. Use "linf" or "l2".`);
  const { within, direction, anywhere } = balls[norm];
  const allowed = (delta: Tensor): Tensor => intoBox(x.add(within(delta, epsilon)), min, max);
  return constant(() => {
    let z = randomStart ? allowed(anywhere(x.shape, epsilon)) : x;
    for (let step = 0; step < steps; step++) {
      const before = z;
      z = tidy(() => allowed(before.sub(x).add(direction(ascent("pgd", lossOf, before)).mul(stepSize))));
      if (before !== x) before.dispose();
    }
    return z;
  });
}

/** What moves within ε of 0 by a norm: what is outside pulled back, the steepest direction of length 1, and a random place. */
interface Ball {
  within(delta: Tensor, epsilon: number): Tensor;
  direction(g: Tensor): Tensor;
  anywhere(shape: Shape, epsilon: number): Tensor;
}
const balls: Readonly<Record<"linf" | "l2", Ball>> = {
  linf: {
    within: (delta, epsilon) => delta.clamp(-epsilon, epsilon),
    direction: (g) => g.sign(),
    anywhere: (shape, epsilon) => uniform(shape, -epsilon, epsilon),
  },
  l2: {
    within(delta, epsilon) {
      const lengths = delta.flatten(1).norm(2, 1, { keepdim: true });
      const factors = lengths.reciprocal().mul(epsilon).minimum(1).where(lengths.gt(epsilon), 1);
      return delta.flatten(1).mul(factors).reshape(delta.shape);
    },
    direction: unitRows,
    anywhere(shape, epsilon) {
      // The part of a ball's volume within radius r grows like rⁿ.
      const [batch, ...rest] = shape as [number, ...number[]];
      const radius = uniform([batch, ...rest.map(() => 1)], 0, 1).pow(1 / rest.reduce((a, b) => a * b, 1));
      return onSphere(shape).mul(radius).mul(epsilon);
    },
  },
};

/** ∂loss/∂x, of the sum where there is one loss for each sample. */
function ascent(name: string, lossOf: InputLoss, x: Tensor): Tensor {
  return grad((z: Tensor) => {
    const loss: unknown = lossOf(z);
    if (!(loss instanceof Tensor)) throw new TypeError(`${name}: the function must return the loss as a tensor.`);
    return loss.sum();
  })(x);
}

const constant = (f: () => Tensor): Tensor => tidy(() => withGrad(false, f).detach());

function intoBox(x: Tensor, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): Tensor {
  return min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY ? x : x.clamp(min, max);
}

/** @throws RangeError */
function requireBox(name: string, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY): void {
  if (!(min < max)) throw new RangeError(`${name}: min is ${min} and max ${max}, but min must be below max.`);
}

/** Options of adversarialLoss. */
export interface AdversarialLossOptions {
  /** How much the loss at x itself counts, 0 … 1. Default 0.5; 0: adversaries only (Madry et al. 2018). */
  readonly clean?: number;
}

/**
 * α·loss(x) + (1 − α)·loss(adversary), α being `clean`: what adversarial training minimizes (Goodfellow et al. 2015, §6). The attack
 * computes the adversary, of x's shape, on every call from the current parameters. Gradients do not flow through it.
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
 * @throws ShapeError where the attack returns another shape; RangeError where clean is not in 0 … 1
 */
export function adversarialLoss(
  lossOf: InputLoss,
  x: Tensor,
  attack: (lossOf: InputLoss, x: Tensor) => Tensor,
  options: AdversarialLossOptions = {},
): Tensor {
  check("adversarialLoss", arguments, "lossOf:function x:tensor attack:function {clean:number}");
  const { clean = 0.5 } = options;
  if (!(clean >= 0 && clean <= 1)) throw new RangeError(`adversarialLoss: clean is ${clean}, but must be in 0 … 1.`);
  return tidy(() => {
    const adversary = withGrad(false, () => attack(lossOf, x)).detach();
    if (!sameShape(adversary.shape, x.shape))
      throw new ShapeError(
        `adversarialLoss: the attack returned ${show(adversary.shape)} for inputs ${show(x.shape)}.`,
      );
    const hard = lossOf(adversary).mul(1 - clean);
    return clean === 0 ? hard : lossOf(x).mul(clean).add(hard);
  });
}
