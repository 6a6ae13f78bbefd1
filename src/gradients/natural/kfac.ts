/**
 * K-FAC: approximates each layer's block of the Fisher matrix with a Kronecker product A ⊗ G, where A holds the second
 * moments of the layer's inputs, and G holds the second moments of the gradients at its outputs. To invert the product,
 * it is enough to invert the two small matrices (Martens and Grosse 2015; convolutions: Grosse and Martens 2016).
 */

import { withGrad } from "../../core/context.ts";
import { eye, full, ones } from "../../core/creation.ts";
import * as ops from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Conv2d } from "../../nn/conv.ts";
import { isPlain } from "../../nn/intercept.ts";
import { Linear } from "../../nn/layers.ts";
import type { Module } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import {
  asPositions,
  hasOneGroup,
  outputGradients,
  type Pass,
  patches,
  recordPasses,
} from "../backpropagation/layers.ts";
import { type Likelihood, requireOutputs, score } from "./likelihood.ts";

export type KroneckerLayer = Linear | Conv2d;
export const isKronecker = (module: Module): module is KroneckerLayer =>
  isPlain(module, Linear) || (isPlain(module, Conv2d) && hasOneGroup(module as Conv2d));

/** The two factors of a layer's block of F. */
export interface KroneckerFactors {
  /**
   * E[ā·āᵀ] for the layer's inputs ā, with a 1 for the bias, summed over positions in convolutions: [in (+ 1), in (+
   * 1)].
   */
  readonly a: Tensor;
  /**
   * E[g·gᵀ] for the gradients g of −log p at the layer's outputs, averaged over positions in convolutions: [out, out].
   */
  readonly g: Tensor;
}

/**
 * The factors of all Linear and Conv2d layers (with one group), keyed by path. They come from one batch, with targets
 * drawn from the model's own predictions.
 * @param outputs the model's outputs: [batch, outputs]
 */
export function kroneckerFactors(
  model: Module,
  outputs: () => Tensor,
  options: {
    /** The distribution whose Fisher matrix is factored. */
    likelihood: Likelihood;
  },
): Record<string, KroneckerFactors> {
  check("kroneckerFactors", arguments, "model:module outputs:function {likelihood!:string}");
  const { likelihood } = options;
  return tidy(() => {
    const { result, passes } = recordPasses(model, isKronecker, outputs);
    const y = requireOutputs(result);
    return withGrad(false, () => factorsOf(passes, outputGradients(y, score(y, likelihood), passes)));
  });
}

/**
 * Computes the factors from the layers' inputs and the gradients at their outputs. If the model uses a layer several
 * times, its uses are treated like a convolution's positions: A is summed over them, and G is averaged.
 */
export function factorsOf(passes: readonly Pass[], dys: readonly Tensor[]): Record<string, KroneckerFactors> {
  const found: Record<string, { a: Tensor; g: Tensor }> = {};
  const uses = new Map<string, number>();
  for (const { name } of passes) uses.set(name, (uses.get(name) ?? 0) + 1);
  passes.forEach(({ name, module, input }, i) => {
    const dy = dys[i]!;
    const layer = module as KroneckerLayer; // recordPasses has recorded only layers of this type
    const x = layer instanceof Conv2d ? patches(layer, input, [dy.shape[1]!, dy.shape[2]!]) : asPositions(input);
    const [batch, positions] = [x.shape[0]!, x.shape[1]!];
    const inputs = withOne(x.reshape([batch * positions, -1]), layer.bias !== null);
    const gradients = dy.reshape([batch * positions, -1]);
    const a = inputs.t().matmul(inputs).div(batch);
    const g = gradients
      .t()
      .matmul(gradients)
      .div(batch * positions * uses.get(name)!);
    const before = found[name];
    found[name] = before ? { a: before.a.add(a), g: before.g.add(g) } : { a, g };
  });
  return found;
}

/** Appends a 1 to each row if there is a bias. */
const withOne = (rows: Tensor, bias: boolean): Tensor =>
  bias ? ops.concat([rows, ones([rows.shape[0]!, 1])], 1) : rows;

/**
 * (A + π·√λ)⁻¹ and (G + √λ/π)⁻¹, where π² is the ratio of their mean eigenvalues (Martens and Grosse 2015, §6.3).
 * @throws Error if a factor is not finite
 */
export function invertFactors({ a, g }: KroneckerFactors, damping: number): KroneckerFactors {
  const meanEigenvalue = (m: Tensor): number => m.mul(eye(m.shape[0]!)).sum().item() / m.shape[0]!;
  const ratio = meanEigenvalue(a) / meanEigenvalue(g);
  const pi = Number.isFinite(ratio) && ratio > 0 ? Math.sqrt(ratio) : 1;
  const root = Math.sqrt(damping);
  return { a: inverse(a, pi * root), g: inverse(g, root / pi) };
}

/** (M + λ)⁻¹ for a symmetric positive semidefinite matrix M, by Cholesky factorization. */
function inverse(m: Tensor, damping: number): Tensor {
  const n = m.shape[0]!;
  const half = ops.triangularSolve(ops.cholesky(m.add(eye(n).mul(full([], damping)))), eye(n));
  return half.t().matmul(half);
}

/** G⁻¹·[∂W, ∂b]·A⁻¹, as the gradients of a layer's weight and bias. */
export function precondition(
  layer: KroneckerLayer,
  inverses: KroneckerFactors,
  weight: Tensor,
  bias: Tensor | null,
): { weight: Tensor; bias: Tensor | null } {
  const out = weight.shape[0]!;
  const rows = weight.reshape([out, -1]);
  const joined = bias ? ops.concat([rows, bias.reshape([out, 1])], 1) : rows;
  const u = inverses.g.matmul(joined).matmul(inverses.a);
  const width = rows.shape[1]!;
  return {
    weight: u.narrow(1, 0, width).reshape(layer.weight.shape),
    bias: bias && u.narrow(1, width, 1).reshape([out]),
  };
}
