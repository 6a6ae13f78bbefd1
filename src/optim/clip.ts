/** Gradient clipping, in place on the parameters' `grad`. */

import { withGrad } from "../core/context.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { full } from "../core/creation.ts";
import { div, norm, stack, where } from "../core/functions.ts";
import { SparseGradient } from "../core/gradient.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireRange } from "../runtime/errors.ts";

/** Replaces each gradient g with f(g), where f works element by element and f(0) = 0. If f throws, no gradient changes. */
function replaceGradients(params: Iterable<Tensor>, f: (g: Tensor) => Tensor): void {
  const replaced = Array.from(new Set(params)).flatMap((p) => {
    const { gradient } = p;
    if (!gradient) return [];
    const now =
      gradient instanceof SparseGradient
        ? new SparseGradient(gradient.index.detach(), f(gradient.rows), gradient.n)
        : f(gradient);
    return [{ p, before: gradient, now }];
  });
  for (const { p, before, now } of replaced) {
    p.gradient = now.keep();
    before.dispose();
  }
}

/** The norm of a gradient. A norm of negative order depends on the zeros too, which are not among the rows of a sparse gradient. */
function normOf(p: Tensor, order: number): Tensor {
  const { gradient } = p;
  if (!(gradient instanceof SparseGradient) || order < 0) return norm(p.grad!, order);
  return gradient.rows.size ? norm(gradient.rows, order) : full([], 0);
}

/**
 * A scale below this is applied as two factors, because as a single float32 it could underflow to 0 or lose precision.
 */
const SMALL = 2 ** -100;

export interface ClipGradNormOptions {
  /** The order p of the norm; Infinity for the largest magnitude. Default 2. */
  normType?: number;
}

/**
 * Scales all gradients by maxNorm/norm if their joint norm exceeds maxNorm (Pascanu et al. 2013).
 * @returns the norm before clipping, float32 []
 * @throws RangeError if maxNorm is negative or NaN, or normType is NaN
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number, options: ClipGradNormOptions = {}): Tensor {
  check("clipGradNorm", arguments, "params:list maxNorm:number {normType:number}");
  const { normType = 2 } = options;
  requireRange("clipGradNorm", { maxNorm }, (v) => v >= 0, "at least 0");
  requireRange("clipGradNorm", { normType }, (v) => !Number.isNaN(v), "a number other than NaN");
  const list = [...params];
  for (const p of list) rejectOtherCopy("clipGradNorm", "a parameter", p);
  return withGrad(false, () =>
    tidy(() => {
      const norms = list.flatMap((p) => (p.gradient && p.size ? [normOf(p, normType)] : []));
      if (!norms.length) return full([], 0);
      const total = norm(stack(norms), normType);
      // Add PyTorch's ε, which keeps the quotient finite.
      const size = total.add(1e-6);
      const scale = div(maxNorm, size).clamp(null, 1);
      const root = div(Math.sqrt(maxNorm), size.sqrt());
      const isSmall = scale.lt(SMALL);
      const [first, second] = [where(isSmall, root, scale), where(isSmall, root, 1)];
      replaceGradients(list, (g) => g.mul(first).mul(second));
      return total;
    }),
  );
}

/** Clamps every element of every gradient to ±clipValue. @throws RangeError if clipValue is negative or NaN */
export function clipGradValue(params: Iterable<Tensor>, clipValue: number): void {
  check("clipGradValue", arguments, "params:list clipValue:number");
  requireRange("clipGradValue", { clipValue }, (v) => v >= 0, "at least 0");
  const list = [...params];
  for (const p of list) rejectOtherCopy("clipGradValue", "a parameter", p);
  withGrad(false, () => tidy(() => replaceGradients(list, (g) => g.clamp(-clipValue, clipValue))));
}
