/** Gradient clipping, in place on `grad`. */

import { full } from "../creation.ts";
import { div, norm, stack } from "../functions.ts";
import { check } from "../runtime/arguments.ts";
import { tidy } from "../scope.ts";
import { type Tensor, withGrad } from "../tensor.ts";

/** Replaces each gradient by f of it: all of them, or none if f throws. */
function replaceGradients(params: Iterable<Tensor>, f: (g: Tensor) => Tensor): void {
  const replaced = Array.from(new Set(params)).flatMap((p) => (p.grad ? [{ p, before: p.grad, now: f(p.grad) }] : []));
  for (const { p, before, now } of replaced) {
    p.grad = now.keep();
    before.dispose();
  }
}

/**
 * Scales all gradients by maxNorm/norm where their common norm (over all parameters together) is larger (Pascanu et al.
 * 2013). Returns that norm, before clipping. `normType` may be Infinity.
 */
export function clipGradNorm(params: Iterable<Tensor>, maxNorm: number, options: { normType?: number } = {}): Tensor {
  check("clipGradNorm", arguments, "params:list maxNorm:number {normType:number}");
  const { normType = 2 } = options;
  const list = [...params];
  return withGrad(false, () =>
    tidy(() => {
      const norms = list.flatMap((p) => (p.grad ? [norm(p.grad, normType)] : []));
      if (!norms.length) return full([], 0);
      const total = norm(stack(norms), normType);
      // PyTorch's ε keeps the quotient finite.
      const scale = div(maxNorm, total.add(1e-6)).clamp(null, 1);
      replaceGradients(list, (g) => g.mul(scale));
      return total;
    }),
  );
}

/** Clamps every element of every gradient to ±clipValue. */
export function clipGradValue(params: Iterable<Tensor>, clipValue: number): void {
  check("clipGradValue", arguments, "params:list clipValue:number");
  withGrad(false, () => tidy(() => replaceGradients(params, (g) => g.clamp(-clipValue, clipValue))));
}
