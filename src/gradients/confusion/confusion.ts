/** How much mini-batches contradict each other: sign flips, cosines and the noise scale of their gradients, and orders that soften it. */

import type { Tensor } from "../../core/tensor.ts";
import type { Module } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { randomVector } from "../math/eigen.ts";
import { dot, mean, norm, plus, scale, type Vector } from "../math/vector.ts";
import { objective } from "../objective.ts";

/** The gradient of each mini-batch's loss, where the parameters are: one vector for each. */
export function batchGradients<B>(
  model: Module | readonly Tensor[],
  loss: (batch: B) => Tensor,
  batches: readonly B[],
): Vector[] {
  check("batchGradients", arguments, "model:module|array loss:function batches:array");
  return batches.map((batch) => objective(model as Module, () => loss(batch)).gradient());
}

/** The share of components whose signs are opposite: 0 … 1. Components that are 0 in either count as agreeing. */
export function signFlips(a: Vector, b: Vector): number {
  check("signFlips", arguments, "a:numbers b:numbers");
  let flips = 0;
  for (let i = 0; i < a.length; i++) if (a[i]! * b[i]! < 0) flips++;
  return flips / a.length;
}

/** How far mini-batches disagree. */
export interface Confusion {
  /** The mean share of signs that flip from one mini-batch to the next, in their order. */
  readonly signFlips: number;
  /** The cosine between each two gradients. */
  readonly cosines: readonly (readonly number[])[];
  /** Their mean and least, without the diagonal. */
  readonly meanCosine: number;
  /** The smallest cosine between two of the gradients; negative where they conflict. */
  readonly leastCosine: number;
  /** The least product gᵢ·gⱼ, negated, not below 0: the η of gradient confusion (Sankararaman et al. 2020, definition 2.1). */
  readonly bound: number;
}

/**
 * How much gradients conflict: the smallest cosine and inner product of any two (Sankararaman et al. 2020).
 * @param gradients of successive mini-batches, two or more, all of one length
 * @throws RangeError if there are fewer than two
 */
export function gradientConfusion(gradients: readonly Vector[]): Confusion {
  check("gradientConfusion", arguments, "gradients:vectors");
  if (gradients.length < 2)
    throw new RangeError(`gradientConfusion: ${gradients.length} gradients: confusion is between two or more.`);
  const lengths = gradients.map(norm);
  const cosines = gradients.map(() => new Array<number>(gradients.length).fill(1));
  let [total, least, bound] = [0, 1, 0];
  for (let i = 0; i < gradients.length; i++)
    for (let j = 0; j < i; j++) {
      const product = dot(gradients[i]!, gradients[j]!);
      const between = lengths[i]! * lengths[j]! > 0 ? product / (lengths[i]! * lengths[j]!) : 0;
      cosines[i]![j] = cosines[j]![i] = between;
      total += between;
      least = Math.min(least, between);
      bound = Math.max(bound, -product);
    }
  return {
    signFlips: mean(gradients.slice(1).map((g, i) => signFlips(gradients[i]!, g))),
    cosines,
    meanCosine: total / ((gradients.length * (gradients.length - 1)) / 2),
    leastCosine: least,
    bound,
  };
}

/** The gradient's noise, and the batch at which it is as large as the signal. */
export interface NoiseScale {
  /** ‖G‖² of the true gradient, without bias; may come out below 0 where noise hides it. */
  readonly signal: number;
  /** tr Σ, the variance of one sample's gradient, summed over parameters. */
  readonly noise: number;
  /** tr Σ/‖G‖²: the batch size beyond which larger batches help little. Infinity where no signal is seen. */
  readonly scale: number;
}

/**
 * The simple noise scale (McCandlish et al. 2018, appendix A.1), from gradients of mini-batches of one size and from their mean.
 * @param batchSize samples in each mini-batch
 */
export function gradientNoiseScale(gradients: readonly Vector[], batchSize: number): NoiseScale {
  check("gradientNoiseScale", arguments, "gradients:vectors batchSize:number");
  const k = gradients.length;
  if (k < 2 || !(batchSize > 0))
    throw new RangeError(
      `gradientNoiseScale: ${k} gradients of batches of ${batchSize}: two or more are needed, of 1 or more.`,
    );
  const small = mean(gradients.map((g) => dot(g, g)));
  const average = scale(
    gradients.reduce((sum, g) => plus(sum, g)),
    1 / k,
  );
  const big = dot(average, average);
  const [b, all] = [batchSize, batchSize * k];
  const signal = (all * big - b * small) / (all - b);
  const noise = (small - big) / (1 / b - 1 / all);
  return { signal, noise, scale: signal > 0 ? noise / signal : Infinity };
}

/** How samples are ordered: by their gradients' signs, by difficulty, or at random. */
export type Curriculum =
  /** Each next one of those whose gradient's signs differ least from the last one's, beginning with the one nearest to the mean. */
  | {
      /** The rule of the order. */
      readonly by: "signs";
      /** The gradient of each sample, whose signs are compared. */
      readonly gradients: readonly Vector[];
    }
  /** The easiest first: by loss, or whatever tells difficulty. */
  | {
      /** The rule of the order. */
      readonly by: "difficulty";
      /** The difficulty of each sample; easy ones come first. */
      readonly difficulty: ArrayLike<number>;
    }
  | {
      /** The rule of the order. */
      readonly by: "random";
      /** The number of samples to shuffle. */
      readonly count: number;
    };

/**
 * An order for mini-batches: their places, the first to come first. A curriculum by signs is a path along near neighbours, chosen greedily:
 * the shortest of all would be a travelling salesman's.
 */
export function curriculum(choice: Curriculum): number[] {
  check("curriculum", arguments, "{by!:string gradients:vectors difficulty:numbers count:number}");
  if (choice.by === "signs") return bySigns(choice.gradients);
  const keys = choice.by === "random" ? randomVector(choice.count) : Float64Array.from(choice.difficulty);
  return Array.from(keys.keys()).sort((a, b) => keys[a]! - keys[b]!);
}

function bySigns(gradients: readonly Vector[]): number[] {
  if (!gradients.length) return [];
  const average = gradients.reduce((sum, g) => plus(sum, g));
  const rest = new Set(gradients.keys());
  const nearest = (to: Vector): number => {
    let [best, least] = [-1, Infinity];
    for (const i of rest) {
      const distance = signFlips(to, gradients[i]!);
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  };
  const order: number[] = [];
  for (let at = nearest(average); rest.size; at = nearest(gradients[at]!)) {
    order.push(at);
    rest.delete(at);
  }
  return order;
}
