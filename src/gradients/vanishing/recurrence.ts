/**
 * Gradient norms across time steps: how much of the gradient reaches each step of a recurrence, and how fast it grows or
 * vanishes.
 */

import { backpropagate } from "../../autograd/backward.ts";
import { withGrad } from "../../core/context.ts";
import { tidy } from "../../core/scope.ts";
import type { Edge, Tensor } from "../../core/tensor.ts";
import { full } from "../../ops/shape/shape.ts";
import { check } from "../../runtime/arguments.ts";
import { norm, slope, vector } from "../math/vector.ts";

/** The state of a recurrence: one tensor, or several, as in an LSTM. */
export type RecurrentState = Tensor | readonly Tensor[];

/**
 * ‖∂L/∂hₜ‖ for t = 0 … T: how much a loss computed from the last state depends on each earlier state. If a state
 * consists of several tensors, the norm is taken over all of them.
 *
 * ```ts
 * const cell = new nn.RNNCell(3, 16);
 * gradientThroughTime((h, x) => cell.forward(x, h), zeros([1, 16]), inputs, (h) => h.square().sum());
 * ```
 * @param step computes the next state
 * @param initial h₀
 * @param inputs x₁ … x_T
 * @param loss computes a single number from the last state
 */
export function gradientThroughTime<S extends RecurrentState>(
  step: (state: S, x: Tensor) => S,
  initial: S,
  inputs: readonly Tensor[],
  loss: (state: S) => Tensor,
): number[] {
  check("gradientThroughTime", arguments, "step:function initial:any inputs:tensors loss:function");
  return tidy(() => {
    const probes: Tensor[][] = [];
    // Adds zeros to a state. The gradient of these zeros equals the gradient of the state.
    const addProbe = (state: S): S => {
      const parts = [state].flat() as Tensor[];
      const added = parts.map(({ shape }) => {
        const probe = full(shape, 0) as Tensor;
        probe.requiresGrad = true;
        return probe;
      });
      probes.push(added);
      const sums = parts.map((part, i) => part.add(added[i]!));
      return (Array.isArray(state) ? sums : sums[0]!) as unknown as S; // `sums` has the same structure as `state`
    };
    const y = withGrad(true, () => loss(inputs.reduce((state, x) => addProbe(step(state, x)), addProbe(initial))));
    const targets = new Set<Edge>(probes.flat());
    const { gradients } = backpropagate([[y, full(y.shape, 1) as Tensor]], { targets, retain: false, create: false });
    return probes.map((parts) =>
      Math.sqrt(
        parts.reduce((total, probe) => {
          const g = gradients.get(probe);
          return total + (g ? norm(vector(g.live())) ** 2 : 0);
        }, 0),
      ),
    );
  });
}

/**
 * The growth rate of ‖∂L/∂hₜ‖ per step back in time: the slope of its logarithm. If it is above 0, the gradient explodes; if it is below 0,
 * the gradient vanishes. Ignores norms that are 0 or not finite. NaN if fewer than two norms remain.
 */
export function growthPerStep(norms: readonly number[]): number {
  check("growthPerStep", arguments, "norms:numbers");
  const last = norms.length - 1;
  return slope(
    norms.flatMap((n, t): [number, number][] => (n > 0 && Number.isFinite(n) ? [[last - t, Math.log(n)]] : [])),
  );
}
