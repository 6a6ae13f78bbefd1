/**
 * Evolution strategies: estimate a loss's gradient from its values at random points around θ, compare the estimate with
 * backpropagation, and train with it.
 */

import { tidy } from "../../core/scope.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { check } from "../../runtime/arguments.ts";
import { manualSeed } from "../../runtime/engine.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import { randomVector } from "../math/eigen.ts";
import { mean, meanOf, minus, norm, plus, scale, type Vector, variance, vector } from "../math/vector.ts";
import { Objective, type Point } from "../objective.ts";
import { logSlope } from "../sensitivities/differences.ts";

/**
 * The function that an evolution strategy minimizes: an objective, or any function of a vector. It does not have to be
 * differentiable.
 */
export type Evaluable = Objective | ((theta: Vector) => number);

const evaluate = (f: Evaluable, theta: Vector): number => (f instanceof Objective ? f.value(theta) : f(theta));

/** Options for esGradient. */
export interface EsOptions {
  /** The number of random points at which to evaluate f. It must be even if antithetic is true. Default 100. */
  readonly samples?: number;
  /**
   * The standard deviation σ of the points around θ. The expected estimate is the gradient of f smoothed by N(0, σ²I).
   * Default 0.1.
   */
  readonly sigma?: number;
  /** Whether to draw points in pairs θ ± σε, which cancels the even part of f around θ. Default true. */
  readonly antithetic?: boolean;
  /**
   * Whether to subtract f(θ) from each value if antithetic is false. This costs one evaluation, and reduces the
   * variance without changing the mean. Default true.
   */
  readonly baseline?: boolean;
  /**
   * Whether to replace values with their centred ranks, from −½ to ½ (Salimans et al. 2017, §2.1). This limits the
   * influence of outliers. The estimate then depends only on the order of the values, so its length says nothing about
   * the length of the gradient. Default false.
   */
  readonly ranks?: boolean;
  /** The seed for the random numbers. Default: use the generator that `manualSeed` seeds. */
  readonly seed?: number;
}

/** A gradient estimated from values of f alone. */
export interface EsEstimate {
  /** The estimate of ∇f_σ. */
  readonly gradient: Vector;
  /** The standard error of each component. */
  readonly standardError: Vector;
  /** The mean of f over the points, an estimate of f_σ. */
  readonly value: number;
  /** The number of evaluations of f. */
  readonly evaluations: number;
}

/**
 * Estimates the gradient of the smoothed f, f_σ(θ) = E[f(θ + σε)] with ε ~ N(0, I), from values of f alone: the mean of
 * c·ε, where c is (f(θ + σε) − f(θ − σε))/2σ for pairs, (f(θ + σε) − f(θ))/σ with a baseline, and f(θ + σε)/σ without
 * one (Nesterov and Spokoiny 2017, §2; Salimans et al. 2017, §2). The estimate of ∇f_σ is unbiased. ∇f_σ equals ∇f for
 * quadratic f, and differs from ∇f by O(σ²) for smooth f.
 * @param theta [d], default the objective's parameters, which do not change
 *
 * ```ts
 * esGradient(objective(model, loss), undefined, { samples: 1000, seed: 1 }).gradient;
 * esGradient(([x, y]) => x! ** 2 - y!, [1, 1]).gradient;   // about [2, −1]
 * ```
 * @throws RangeError, TypeError
 */
export function esGradient(f: Evaluable, theta?: Point, options: EsOptions = {}): EsEstimate {
  check(
    "esGradient",
    arguments,
    "f:objective|function theta?:numbers {samples:number sigma:number antithetic:boolean baseline:boolean ranks:boolean seed:number}",
  );
  const { samples = 100, sigma = 0.1, antithetic = true, baseline = true, ranks = false, seed } = options;
  if (!(Number.isInteger(samples) && samples >= 2 && (!antithetic || samples % 2 === 0)))
    throw new RangeError(
      `esGradient: samples must be ${antithetic ? "an even" : "a whole"} number, 2 or more, got ${samples}.`,
    );
  if (!(sigma > 0)) throw new RangeError(`esGradient: sigma must be above 0, got ${sigma}.`);
  const at = pointOf("esGradient", f, theta);
  if (seed !== undefined) manualSeed(seed);
  const directions = Array.from({ length: antithetic ? samples / 2 : samples }, () => randomVector(at.length));
  const signs = antithetic ? [1, -1] : [1];
  const values = Float64Array.from(
    directions.flatMap((e) => signs.map((sign) => evaluate(f, plus(at, e, sign * sigma)))),
  );
  const finite = values.every(Number.isFinite);
  if (!finite)
    throw new RangeError(`esGradient: f is not finite at a point around θ. Use a smaller sigma than ${sigma}.`);
  const subtracts = !antithetic && baseline && !ranks;
  const reference = subtracts ? evaluate(f, at) : 0;
  const scores = ranks ? centredRanks(values) : values;
  const factors = directions.map((_, i) =>
    antithetic ? (scores[2 * i]! - scores[2 * i + 1]!) / (2 * sigma) : (scores[i]! - reference) / sigma,
  );
  const terms = directions.map((e, i) => scale(e, factors[i]!));
  const gradient = meanOf(terms);
  const component = new Float64Array(terms.length);
  return {
    gradient,
    standardError: gradient.map((_, j) => {
      terms.forEach((term, i) => {
        component[i] = term[j]!;
      });
      return Math.sqrt(variance(component) / terms.length);
    }),
    value: mean(values),
    evaluations: samples + Number(subtracts),
  };
}

function pointOf(name: string, f: Evaluable, theta: Point | undefined): Vector {
  if (theta === undefined && !(f instanceof Objective))
    throw new TypeError(`${name}: a function has no parameters to start from. Pass θ as the second argument.`);
  return theta === undefined ? (f as Objective).theta : vector(theta);
}

/** The ranks of values, scaled to −½ for the smallest and ½ for the largest. Equal values all get the mean of their ranks. */
export function centredRanks(values: ArrayLike<number>): Vector {
  check("centredRanks", arguments, "values:numbers");
  const order = Array.from(values, (_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const ranks = new Float64Array(order.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let k = from; k < to; k++) ranks[order[k]!] = (from + to - 1) / 2 / (order.length - 1) - 0.5;
    from = to;
  }
  return ranks;
}

/** Options for esError. */
export interface EsErrorOptions extends Omit<EsOptions, "samples" | "ranks"> {
  /** The sample counts to try. */
  readonly samples: readonly number[];
  /** The number of estimates to average for each sample count. Default 20. */
  readonly repeats?: number;
  /** ∇f(θ). Default: the objective's own gradient. */
  readonly exact?: Point;
}

/** The error of an evolution strategy's gradients. */
export interface EsError {
  /** [samples, error] pairs, where the error is the root mean square of ‖estimate − ∇f‖ divided by ‖∇f‖. */
  readonly points: readonly (readonly [samples: number, error: number])[];
  /** The standard error of each relative error. */
  readonly standardErrors: readonly number[];
  /** The fitted slope of log error against log samples. Theory predicts −½. */
  readonly slope: number;
  /**
   * The relative errors that theory predicts for linear f and, if antithetic, for quadratic f: √((d + 1)/m) for m
   * directions (see esError).
   */
  readonly predicted: readonly (readonly [samples: number, error: number])[];
}

/**
 * Measures the relative error of an evolution strategy's gradients, for several sample counts. For linear f, each
 * direction contributes (∇f·ε)·ε, whose mean squared distance from ∇f is (d + 1)·‖∇f‖². A relative error of ½ therefore
 * takes about four times as many directions as there are parameters. With neither pairs nor a baseline, the mean
 * squared distance grows by d·f(θ)²/σ².
 *
 * ```ts
 * esError(objective(model, loss), undefined, { samples: [100, 400, 1600], seed: 1 }).slope;   // −0.5
 * ```
 * @throws RangeError, TypeError
 */
export function esError(f: Evaluable, theta: Point | undefined, options: EsErrorOptions): EsError {
  check(
    "esError",
    arguments,
    "f:objective|function theta:any {samples!:numbers repeats:number exact:numbers sigma:number antithetic:boolean baseline:boolean seed:number}",
  );
  const { samples, repeats = 20, exact, seed, ...rest } = options;
  const { antithetic = true, baseline = true, sigma = 0.1 } = rest;
  const at = pointOf("esError", f, theta);
  if (!exact && !(f instanceof Objective))
    throw new TypeError("esError: the exact gradient of a function is unknown. Pass { exact: [...] }.");
  const gradient = vector(exact ?? (f as Objective).gradient(at));
  const length = norm(gradient);
  if (!(length > 0))
    throw new RangeError(`esError: the length of the gradient must be above 0, got ${length}. Pass another θ.`);
  if (!(repeats >= 2)) throw new RangeError(`esError: repeats must be 2 or more, got ${repeats}.`);
  if (seed !== undefined) manualSeed(seed);
  const plainPart = antithetic || baseline ? 0 : at.length * (evaluate(f, at) / (sigma * length)) ** 2;
  const measured = samples.map((count) => {
    const squares = Array.from({ length: repeats }, () => {
      const estimate = esGradient(f, at, { ...rest, samples: count }).gradient;
      return (norm(minus(estimate, gradient)) / length) ** 2;
    });
    const error = Math.sqrt(mean(squares));
    return { count, error, standardError: Math.sqrt(variance(squares) / repeats) / (2 * error) };
  });
  const points = measured.map(({ count, error }) => [count, error] as const);
  return {
    points,
    standardErrors: measured.map(({ standardError }) => standardError),
    slope: logSlope(points),
    predicted: samples.map((count) => [
      count,
      Math.sqrt((at.length + 1 + plainPart) / (antithetic ? count / 2 : count)),
    ]),
  };
}

/**
 * Minimizes an objective with an evolution strategy: `esGradient` estimates the gradient, and any optimizer of the
 * objective's parameters applies the update (Salimans et al. 2017, algorithm 1). It never differentiates the loss, so the
 * loss may be discontinuous.
 *
 * ```ts
 * const strategy = new EvolutionStrategy(objective(model, loss), new optim.Adam(model.parameters(), { lr: 0.05 }), { samples: 50 });
 * for (let i = 0; i < 300; i++) strategy.step();
 * ```
 */
export class EvolutionStrategy {
  static readonly kind: string = "EvolutionStrategy";
  /** The number of evaluations of the loss so far. */
  evaluations = 0;
  private readonly options: EsOptions;

  constructor(
    /** The objective to minimize. */
    readonly objective: Objective,
    private readonly optimizer: Pick<Optimizer, "step" | "zeroGrad">,
    options: EsOptions = {},
  ) {
    check(
      "EvolutionStrategy",
      arguments,
      "objective:objective optimizer:any {samples:number sigma:number antithetic:boolean baseline:boolean ranks:boolean seed:number}",
    );
    const { seed, ...others } = options;
    if (seed !== undefined) manualSeed(seed);
    this.options = others;
  }

  /** Makes one update. @returns the mean loss over the points around θ, before the update */
  step(): number {
    const { gradient, value, evaluations } = esGradient(this.objective, undefined, this.options);
    this.evaluations += evaluations;
    tidy(() => {
      this.optimizer.zeroGrad();
      this.objective.parameters.forEach((p, i) => {
        p.grad = this.objective.tensorOf(gradient, i);
      });
      this.optimizer.step();
      this.optimizer.zeroGrad();
    });
    return value;
  }
}
