/** Explains and attacks a network's answer for one drawing. */
import { losses, type nn, type Tensor, tensor, tidy } from "nabla";
import { fgsm, gradientTimesInput, integratedGradients, pgd, smoothGrad } from "nabla/gradients";
import { PIXELS } from "../../../cli/mnist/packed.ts";
import type { AttackName, Method, Question } from "./settings.ts";

/** A network's answer for a drawing of 784 pixels. */
export interface Answer {
  /** The probability of each digit. */
  readonly probabilities: readonly number[];
  /** The most likely digit; −1 if the probabilities are not finite. */
  readonly digit: number;
}

export interface Explanation {
  readonly answer: Answer;
  /** The digit whose score (logit) is explained: the question's target, or the answer if there is no target. */
  readonly explained: number;
  /** The signed contribution of each pixel to this score. */
  readonly attribution: Float32Array;
  /** The attacked drawing. Each pixel is changed by at most ε, and stays between 0 and 1. */
  readonly attacked: Float32Array;
  readonly after: Answer;
}

const methods: Readonly<Record<Method, (model: nn.Module, x: Tensor, target: number) => Tensor>> = {
  "gradient × input": (model, x, target) => gradientTimesInput(model, x, { target }),
  "integrated gradients": (model, x, target) => integratedGradients(model, x, { target, steps: 32 }).attributions,
  SmoothGrad: (model, x, target) => smoothGrad(model, x, { target, noise: 0.2, samples: 32 }),
};

type LossOf = (x: Tensor) => Tensor;
const attacks: Readonly<Record<AttackName, (lossOf: LossOf, x: Tensor, epsilon: number) => Tensor>> = {
  FGSM: (lossOf, x, epsilon) => fgsm(lossOf, x, { epsilon, min: 0, max: 1 }),
  PGD: (lossOf, x, epsilon) => pgd(lossOf, x, { epsilon, min: 0, max: 1, randomStart: false }),
};

/** Computes the answer for a drawing of 784 pixels, each pixel's contribution to it, and the answer after an attack. */
export function explain(model: nn.Module, drawing: Float32Array, question: Question): Explanation {
  const { method, attack, epsilon } = question;
  return tidy(() => {
    const x = tensor(drawing, [1, PIXELS]);
    const answer = read(model, x);
    const explained = question.target ?? answer.digit;
    if (answer.digit < 0)
      return { answer, explained, attribution: new Float32Array(PIXELS), attacked: drawing.slice(), after: answer };
    const label = tensor(Int32Array.of(answer.digit));
    const attacked = attacks[attack]((z) => losses.crossEntropy(model.forward(z), label), x, epsilon);
    return {
      answer,
      explained,
      attribution: Float32Array.from(methods[method](model, x, explained).data),
      attacked: Float32Array.from(attacked.data),
      after: read(model, attacked),
    };
  });
}

function read(model: nn.Module, x: Tensor): Answer {
  const probabilities = Array.from((model.forward(x) as Tensor).softmax(-1).data);
  return { probabilities, digit: probabilities.indexOf(Math.max(...probabilities)) };
}
