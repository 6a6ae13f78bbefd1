/**
 * Lande's equation: how selection moves the mean traits of a population. Selection is natural-gradient ascent on the
 * logarithm of mean fitness.
 */

import { grad } from "../../autograd/transforms.ts";
import { rand, tensor } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { check } from "../../runtime/arguments.ts";
import { manualSeed } from "../../runtime/engine.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { randomVector, symmetricEigen } from "../math/eigen.ts";
import { concatenate, dot, mean, meanOf, minus, plus, scale, type Vector, vector } from "../math/vector.ts";
import type { Point } from "../objective.ts";

/** A matrix as a list of rows. */
export type Matrix = readonly Point[];

const times = (m: Matrix, v: Point): Vector => Float64Array.from(m, (row) => dot(row, v));
const sum = (a: Matrix, b: Matrix): Vector[] => a.map((row, i) => plus(vector(row), vector(b[i]!)));

/** Applies f to the eigenvalues of a symmetric matrix and keeps its eigenvectors. */
function ofEigenvalues(m: Matrix, f: (value: number, largest: number) => number): Vector[] {
  const { values, vectors } = symmetricEigen(concatenate(m), m.length);
  const factors = values.map((value) => f(value, values.at(-1)!));
  return m.map((_, i) => vectors.reduce((row, v, k) => plus(row, v, factors[k]! * v[i]!), new Float64Array(m.length)));
}
/** Draws n vectors from N(0, factor·factorᵀ). */
function normals(factor: Matrix, n: number): Vector[] {
  const d = factor.length;
  const standard = randomVector(n * d);
  return Array.from({ length: n }, (_, i) => times(factor, standard.subarray(i * d, (i + 1) * d)));
}
/** The symmetric square root of a covariance matrix. @throws RangeError if an eigenvalue is below 0 */
const root = (name: string, m: Matrix): Vector[] =>
  ofEigenvalues(m, (value, largest) => {
    if (!(value >= -1e-12 * Math.abs(largest)))
      throw new RangeError(`${name} must be a covariance matrix (no negative eigenvalues), got eigenvalue ${value}.`);
    return Math.sqrt(Math.max(0, value));
  });
/** P⁻¹. @throws RangeError if P is singular */
const inverse = (name: string, m: Matrix): Vector[] =>
  ofEigenvalues(m, (value, largest) => {
    if (!(value > 1e-12 * largest))
      throw new RangeError(
        `${name}: the covariance P of the traits is singular: a trait is constant or a linear combination of others. Remove that trait, or pass more individuals.`,
      );
    return 1 / value;
  });

function requireSquare(name: string, m: Matrix, d: number): void {
  if (m.length !== d || m.some((row) => row.length !== d))
    throw new ShapeError(`${name} must be ${d} × ${d} for ${d} traits, got ${m.length} × ${m[0]?.length ?? 0}.`);
}

/**
 * The change that selection makes to the mean traits from one generation to the next: Δz̄ = G·β (Lande 1979).
 * @param G the additive genetic covariance of the traits: [d][d]
 * @param beta the selection gradient: [d]
 *
 * ```ts
 * landeResponse([[0.5, 0.2], [0.2, 0.5]], [1, 0]);   // [0.5, 0.2]: the second trait changes although it is not selected
 * ```
 * @throws ShapeError
 */
export function landeResponse(G: Matrix, beta: Point): Vector {
  check("landeResponse", arguments, "G:array beta:numbers");
  requireSquare("landeResponse: G", G, beta.length);
  return times(G, beta);
}

/** A sample of individuals: centred traits, relative fitness, and the selection differential. */
interface Sample {
  /** zᵢ − z̄. */
  readonly deviations: readonly Vector[];
  /** wᵢ/w̄. */
  readonly relative: Vector;
  readonly differential: Vector;
}

function sampleOf(name: string, traits: Matrix, fitness: Point): Sample {
  const [n, d] = [traits.length, traits[0]?.length ?? 0];
  if (fitness.length !== n || n < 2 || traits.some((z) => z.length !== d))
    throw new ShapeError(
      `${name}: traits must be [n][d] and fitness [n], with n at least 2, got ${n} individuals with traits and ${fitness.length} with fitness.`,
    );
  const w = vector(fitness);
  const meanFitness = mean(w);
  if (!(meanFitness > 0 && Number.isFinite(meanFitness) && w.every((v) => v >= 0)))
    throw new RangeError(
      `${name}: fitness must be finite and 0 or more, with a mean above 0, got mean ${meanFitness} and minimum ${w.reduce((a, b) => Math.min(a, b))}.`,
    );
  const centre = meanOf(traits);
  const deviations = traits.map((z) => minus(vector(z), centre));
  const relative = scale(w, 1 / meanFitness);
  return { deviations, relative, differential: meanOf(deviations.map((z, i) => scale(z, relative[i]!))) };
}

/** (1/n)·Σ zᵢzᵢᵀ. */
function secondMoment(rows: readonly Vector[]): Vector[] {
  return Array.from({ length: rows[0]!.length }, (_, j) => meanOf(rows.map((z) => scale(z, z[j]!))));
}

/**
 * The selection differential S = Cov(w/w̄, z): the fitness-weighted mean of the traits minus their plain mean
 * (Robertson 1966; Price 1970).
 * @param traits [n][d]
 * @param fitness [n], 0 or more
 *
 * ```ts
 * selectionDifferential([[0], [1]], [1, 3]);   // [0.25]: the mean moves from 0.5 to 0.75
 * ```
 * @throws ShapeError, RangeError
 */
export function selectionDifferential(traits: Matrix, fitness: Point): Vector {
  check("selectionDifferential", arguments, "traits:array fitness:numbers");
  return sampleOf("selectionDifferential", traits, fitness).differential;
}

/**
 * The selection gradient β = P⁻¹·Cov(w/w̄, z), where P is the covariance of the traits. The components of β are the
 * coefficients in the regression of relative fitness on the traits; they separate selection on a trait from selection
 * on correlated traits (Lande and Arnold 1983).
 * @param traits [n][d]
 * @param fitness [n], 0 or more
 *
 * ```ts
 * selectionGradient(traits, traits.map(([z]) => Math.exp(0.3 * z)));   // [0.3, 0.0]
 * ```
 * @throws ShapeError if the sizes do not match; RangeError if P is singular or a fitness is negative or not finite
 */
export function selectionGradient(traits: Matrix, fitness: Point): Vector {
  check("selectionGradient", arguments, "traits:array fitness:numbers");
  const { deviations, differential } = sampleOf("selectionGradient", traits, fitness);
  return times(inverse("selectionGradient", secondMoment(deviations)), differential);
}

/**
 * The standard error of each component of `selectionGradient`, without assumptions about the variances of the residuals
 * eᵢ: the square root of Σ ψᵢ²/n² with ψᵢ = P⁻¹·((zᵢ − z̄)·eᵢ − S·(wᵢ/w̄ − 1)) (White 1980, plus the contribution of
 * the mean fitness).
 * @throws ShapeError, RangeError
 */
export function selectionGradientError(traits: Matrix, fitness: Point): Vector {
  check("selectionGradientError", arguments, "traits:array fitness:numbers");
  const { deviations, relative, differential } = sampleOf("selectionGradientError", traits, fitness);
  const inverseP = inverse("selectionGradientError", secondMoment(deviations));
  const beta = times(inverseP, differential);
  const squares = deviations.map((z, i) => {
    const residual = relative[i]! - 1 - dot(z, beta);
    const influence = times(inverseP, plus(scale(z, residual), differential, 1 - relative[i]!));
    return influence.map((v) => v * v);
  });
  return meanOf(squares).map((v) => Math.sqrt(v / traits.length));
}

/** A population with normally distributed traits: breeding values N(mean, G) plus environmental deviations N(0, E). P = G + E. */
export interface Population {
  /** The mean traits: [d]. */
  readonly mean: Point;
  /** The covariance of the breeding values, which are inherited: [d][d]. */
  readonly G: Matrix;
  /** The covariance of the environmental deviations, which are not inherited: [d][d]. */
  readonly E: Matrix;
}

function requirePopulation(name: string, { mean: { length: d }, G, E }: Population): void {
  if (!d) throw new ShapeError(`${name}: mean must have at least one trait, got none.`);
  requireSquare(`${name}: G`, G, d);
  requireSquare(`${name}: E`, E, d);
}

/** Options for drawing individuals from a population. */
export interface DrawOptions {
  /** The number of individuals to draw. Default 10,000. */
  readonly size?: number;
  /** The seed for the random numbers. Default: use the generator that `manualSeed` seeds. */
  readonly seed?: number;
}

/** The parents of a generation, and the mean of their offspring. */
export interface Generation {
  /** The parents' phenotypes: [n][d]. */
  readonly traits: readonly Vector[];
  /** The parents' fitness: [n]. */
  readonly fitness: Vector;
  /** The offspring's mean phenotype: [d]. */
  readonly offspring: Vector;
  /** The offspring's mean phenotype minus the population's mean: [d]. */
  readonly response: Vector;
  /** The standard error of each component of the response, from sampling the parents and the offspring: [d]. */
  readonly standardError: Vector;
}

/**
 * Simulates one generation of selection, individual by individual. Draws parents from the population, and creates the
 * same number of offspring. Each offspring has two parents, drawn independently in proportion to fitness. An
 * offspring's breeding value is the mean of its parents' breeding values plus the effect of segregation, N(0, G/2)
 * (Fisher's infinitesimal model; Barton, Etheridge and Véber 2017). Its phenotype is its breeding value plus a new
 * environmental deviation, N(0, E). The expected response is G·P⁻¹·S = G·β (Lande 1979).
 *
 * ```ts
 * const { response, traits, fitness } = breed({ mean: [0], G: [[0.4]], E: [[0.6]] }, ([z]) => Math.exp(0.3 * z!));   // [0.12]
 * landeResponse([[0.4]], selectionGradient(traits, fitness));                                                        // [0.12]
 * ```
 * @param fitness the fitness of a phenotype [d], 0 or more
 * @throws ShapeError, RangeError
 */
export function breed(population: Population, fitness: (z: Vector) => number, options: DrawOptions = {}): Generation {
  check("breed", arguments, "population:object fitness:function {size:number seed:number}");
  const { size = 10_000, seed } = options;
  requirePopulation("breed", population);
  if (seed !== undefined) manualSeed(seed);
  const centre = vector(population.mean);
  const [genetic, environment] = [root("breed: G", population.G), root("breed: E", population.E)];
  const genes = normals(genetic, size).map((g) => plus(centre, g));
  const traits = normals(environment, size).map((e, i) => plus(genes[i]!, e));
  const w = Float64Array.from(traits, fitness);
  const { relative } = sampleOf("breed", traits, w);

  const parent = byWeight(w, size);
  const segregation = normals(genetic, size);
  const offspring = normals(environment, size).map((e, i) => {
    const inherited = scale(plus(genes[parent()]!, genes[parent()]!), 0.5);
    return plus(plus(inherited, segregation[i]!, Math.SQRT1_2), e);
  });
  const result = meanOf(offspring);
  // Var(Δz̄) = Var(weighted mean of the parents' breeding values) + Var(an offspring)/n.
  const expected = meanOf(genes.map((g, i) => scale(g, relative[i]!)));
  const squares = (rows: readonly Vector[], factor: (i: number) => number, about: Vector): Vector =>
    meanOf(rows.map((row, i) => minus(row, about).map((v) => (factor(i) * v) ** 2)));
  const ofParents = squares(genes, (i) => relative[i]!, expected);
  const ofOffspring = squares(offspring, () => 1, result);
  return {
    traits,
    fitness: w,
    offspring: result,
    response: minus(result, centre),
    standardError: plus(ofParents, ofOffspring).map((v) => Math.sqrt(v / size)),
  };
}

/**
 * Returns a function that draws an index with a probability proportional to the index's weight. The function can be
 * called at most 2·size times, because the random numbers are drawn in advance.
 */
function byWeight(weights: Vector, size: number): () => number {
  let total = 0;
  const cumulative = weights.map((w) => (total += w));
  const uniform = tidy(() => rand([2 * size]).data);
  let next = 0;
  return () => {
    const wanted = uniform[next++]! * total;
    let [low, high] = [0, cumulative.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Selection as gradient ascent on the logarithm of mean fitness, ln W̄(z̄). */
export interface SelectionAscent {
  /** ∇ ln W̄ with respect to the population's mean, which equals β: [d]. */
  readonly gradient: Vector;
  /** The natural gradient P·∇ ln W̄: steepest ascent in the metric P⁻¹, the Fisher information of N(z̄, P) about z̄. It equals S. */
  readonly natural: Vector;
  /** S from the same individuals: their fitness-weighted mean minus the population's mean. */
  readonly differential: Vector;
  /** The standard error of each component of natural − differential. */
  readonly standardError: Vector;
  /** G·∇ ln W̄, the inherited part of the ascent: steepest ascent in the metric G⁻¹. */
  readonly response: Vector;
}

/**
 * Lande's equation as natural-gradient ascent. Let W̄(z̄) = E[w(z)], where z is normal with mean z̄ and covariance P =
 * G + E. Then ∇ ln W̄ = P⁻¹·S = β (Lande 1979), so selection within a generation, S = P·∇ ln W̄, is the natural
 * gradient (Amari 1998), and Δz̄ = G·∇ ln W̄. Computes the gradient E[w·∇ ln w]/W̄ with autograd, and S from the
 * individuals' fitness. P times this gradient converges to S as the sample grows.
 * @param logFitness ln w of phenotypes [n, d]: [n], computed with nabla's ops
 *
 * ```ts
 * selectionAscent({ mean: [0], G: [[0.4]], E: [[0.6]] }, (z) => z.sub(1).square().sum(1).mul(-0.5));   // natural: [0.5]
 * ```
 * @throws ShapeError, RangeError
 */
export function selectionAscent(
  population: Population,
  logFitness: (z: Tensor) => Tensor,
  options: DrawOptions = {},
): SelectionAscent {
  check("selectionAscent", arguments, "population:object logFitness:function {size:number seed:number}");
  const { size = 10_000, seed } = options;
  requirePopulation("selectionAscent", population);
  if (seed !== undefined) manualSeed(seed);
  const { G, E } = population;
  const centre = vector(population.mean);
  const d = centre.length;
  const P = sum(G, E);
  const factor = root("selectionAscent: P", P);
  const deviations = normals(factor, size);
  const { logs, slopes } = tidy(() => {
    const z = tensor(concatenate(deviations.map((v) => plus(centre, v))), [size, d]);
    const logs = logFitness(z);
    if (logs.shape.length !== 1 || logs.size !== size)
      throw new ShapeError(
        `selectionAscent: logFitness must return [${size}], one number for each row, got [${logs.shape.join(", ")}].`,
      );
    return { logs: vector(logs.data), slopes: vector(grad((x: Tensor) => logFitness(x).sum())(z).data) };
  });
  const highest = logs.reduce((a, b) => Math.max(a, b));
  const w = logs.map((v) => Math.exp(v - highest));
  const relative = scale(w, 1 / mean(w));
  if (!relative.every(Number.isFinite))
    throw new RangeError(
      "selectionAscent: logFitness must return a finite number for each phenotype, got NaN or Infinity.",
    );
  const gradient = meanOf(deviations.map((_, i) => scale(slopes.subarray(i * d, (i + 1) * d), relative[i]!)));
  const differential = meanOf(deviations.map((v, i) => scale(v, relative[i]!)));
  // Each individual's contribution to natural − differential, which is 0 in expectation (Stein's lemma).
  const apart = deviations.map((v, i) => minus(times(P, slopes.subarray(i * d, (i + 1) * d)), v));
  const about = minus(times(P, gradient), differential);
  const squares = meanOf(apart.map((v, i) => minus(v, about).map((x) => (relative[i]! * x) ** 2)));
  return {
    gradient,
    natural: times(P, gradient),
    differential,
    standardError: squares.map((v) => Math.sqrt(v / size)),
    response: times(G, gradient),
  };
}
