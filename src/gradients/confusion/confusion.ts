/**
 * Measures how much the gradients of mini-batches disagree (sign flips, cosines, noise scale), and orders mini-batches
 * at random, by difficulty, or so that successive gradients disagree less.
 */

import type { Tensor } from "../../core/tensor.ts";
import type { Module } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { randomVector } from "../math/eigen.ts";
import { dot, mean, norm, plus, scale, type Vector } from "../math/vector.ts";
import { objective } from "../objective.ts";

/** The gradient of each mini-batch's loss at the current parameters: [n] per batch. */
export function batchGradients<B>(
  model: Module | readonly Tensor[],
  loss: (batch: B) => Tensor,
  batches: readonly B[],
): Vector[] {
  check("batchGradients", arguments, "model:module|array loss:function batches:array");
  return batches.map((batch) => objective(model as Module, () => loss(batch)).gradient());
}

/**
 * The fraction of components with opposite signs, 0 … 1. A component that is 0 in a or b does not count as a flip.
 * @param a [n]
 * @param b [n]
 */
export function signFlips(a: Vector, b: Vector): number {
  check("signFlips", arguments, "a:numbers b:numbers");
  let flips = 0;
  for (let i = 0; i < a.length; i++) if (a[i]! * b[i]! < 0) flips++;
  return flips / a.length;
}

/** How much the gradients of mini-batches disagree, by several measures. */
export interface Confusion {
  /** The mean fraction of signs that flip from one mini-batch to the next, 0 … 1. */
  readonly signFlips: number;
  /** The cosine of each pair of gradients: a symmetric matrix. */
  readonly cosines: readonly (readonly number[])[];
  /** The mean cosine over all pairs of different gradients. */
  readonly meanCosine: number;
  /** The smallest cosine. */
  readonly leastCosine: number;
  /** The gradient confusion bound η = max(0, −min gᵢ·gⱼ) (Sankararaman et al. 2020, definition 2.1). */
  readonly bound: number;
}

/**
 * Measures how much gradients disagree.
 * @param gradients at least two gradients of successive mini-batches, each [n]
 * @throws RangeError for fewer than two gradients
 */
export function gradientConfusion(gradients: readonly Vector[]): Confusion {
  check("gradientConfusion", arguments, "gradients:vectors");
  if (gradients.length < 2)
    throw new RangeError(`gradientConfusion: needs at least two gradients, got ${gradients.length}.`);
  const lengths = gradients.map(norm);
  const cosines = gradients.map(() => new Array<number>(gradients.length).fill(1));
  let [total, least, bound] = [0, 1, 0];
  for (let i = 0; i < gradients.length; i++)
    for (let j = 0; j < i; j++) {
      const product = dot(gradients[i]!, gradients[j]!);
      const cosine = lengths[i]! * lengths[j]! > 0 ? product / (lengths[i]! * lengths[j]!) : 0;
      cosines[i]![j] = cosines[j]![i] = cosine;
      total += cosine;
      least = Math.min(least, cosine);
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

/** The noise scale, and the estimates from which it is computed. */
export interface NoiseScale {
  /** An unbiased estimate of ‖G‖² for the true gradient G; can be negative if noise dominates. */
  readonly signal: number;
  /** An estimate of tr Σ, the variance of one sample's gradient, summed over parameters. */
  readonly noise: number;
  /** tr Σ/‖G‖²: the batch size above which a larger batch helps little. Infinity if noise dominates. */
  readonly scale: number;
}

/**
 * Estimates the simple noise scale (McCandlish et al. 2018, appendix A.1) from the gradients of equally large
 * mini-batches.
 * @param gradients at least two gradients, each [n]
 * @param batchSize the number of samples in each mini-batch
 * @throws RangeError for fewer than two gradients, or a batchSize that is not above 0
 */
export function gradientNoiseScale(gradients: readonly Vector[], batchSize: number): NoiseScale {
  check("gradientNoiseScale", arguments, "gradients:vectors batchSize:number");
  const k = gradients.length;
  if (k < 2 || !(batchSize > 0))
    throw new RangeError(
      `gradientNoiseScale: needs at least two gradients and a batchSize above 0, got ${k} and ${batchSize}.`,
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

/** How to order mini-batches. */
export type Curriculum =
  /**
   * Starts with the gradient nearest to the mean. The next gradient is always the one that differs from the previous one in the fewest
   * signs.
   */
  | {
      /** The rule that orders the mini-batches. */
      readonly by: "signs";
      /** The gradient of each mini-batch. Only the signs of its components are compared. */
      readonly gradients: readonly Vector[];
    }
  /** Orders mini-batches by increasing difficulty, for example by their loss. */
  | {
      /** The rule that orders the mini-batches. */
      readonly by: "difficulty";
      /** The difficulty of each mini-batch; easy ones come first. */
      readonly difficulty: ArrayLike<number>;
    }
  | {
      /** The rule that orders the mini-batches. */
      readonly by: "random";
      /** The number of mini-batches to shuffle. */
      readonly count: number;
    };

/**
 * Orders mini-batches. "signs" follows a greedy nearest-neighbour path, because finding the shortest path is a
 * travelling salesman problem.
 * @returns the indices of the mini-batches in order
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
