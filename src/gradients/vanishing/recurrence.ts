/** The gradient through time: how much of it reaches each step of a recurrence, against the powers of its weight's norm. */
import { backpropagate } from "../../autograd/backward.ts";
import { withGrad } from "../../core/context.ts";
import { tidy } from "../../core/scope.ts";
import type { Edge, Tensor } from "../../core/tensor.ts";
import { full } from "../../ops/shape/shape.ts";
import { check } from "../../runtime/arguments.ts";
import { norm, slope, vector } from "../math/vector.ts";

/** A recurrence's state: one tensor, or several as of an LSTM. */
export type RecurrentState = Tensor | readonly Tensor[];

/**
 * ‖∂L/∂hₜ‖ for t = 0 … T: how much the loss of the last state depends on each state before. States of several tensors count together.
 *
 * ```ts
 * const cell = new nn.RNNCell(3, 16);
 * gradientThroughTime((h, x) => cell.forward(x, h), zeros([1, 16]), inputs, (h) => h.square().sum());
 * ```
 * @param step the next state
 * @param inputs x₁ … x_T
 * @param loss a number, of the last state
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
    // Zeros that are added to a state: the gradient by them is the gradient by the state.
    const probed = (state: S): S => {
      const parts = [state].flat() as Tensor[];
      const own = parts.map(({ shape }) => {
        const probe = full(shape, 0) as Tensor;
        probe.requiresGrad = true;
        return probe;
      });
      probes.push(own);
      const sums = parts.map((part, i) => part.add(own[i]!));
      return (Array.isArray(state) ? sums : sums[0]!) as unknown as S; // the shape that S has
    };
    const y = withGrad(true, () => loss(inputs.reduce((state, x) => probed(step(state, x)), probed(initial))));
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
 * The slope of log ‖∂L/∂hₜ‖ by steps back from the end: above 0 the gradient grows on its way back, below it vanishes. Norms of 0 or that
 * are not finite are left out; NaN for fewer than two.
 */
export function growthPerStep(norms: readonly number[]): number {
  check("growthPerStep", arguments, "norms:numbers");
  const last = norms.length - 1;
  return slope(
    norms.flatMap((n, t): [number, number][] => (n > 0 && Number.isFinite(n) ? [[last - t, Math.log(n)]] : [])),
  );
}
