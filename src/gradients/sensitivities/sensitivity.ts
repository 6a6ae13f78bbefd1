/** How the loss depends on individual parameters and directions: ranked partial derivatives and directional derivatives. */

import { check } from "../../runtime/arguments.ts";
import { dot, norm, scale, unit, type Vector, vector } from "../math/vector.ts";
import type { Objective, Point } from "../objective.ts";

/** The sensitivity of the loss to one element of a parameter. */
export interface Sensitivity {
  /** The parameter's name. */
  readonly name: string;
  /** The element's index in each dimension. */
  readonly index: readonly number[];
  /** ∂L/∂θᵢ. */
  readonly derivative: number;
}

export interface SensitivityOptions {
  /** The number of derivatives to return. Default Infinity. */
  top?: number;
}

/**
 * The partial derivatives ∂L/∂θᵢ, sorted by decreasing magnitude.
 *
 * ```ts
 * sensitivities(objective(model, loss), { top: 10 });
 * ```
 */
export function sensitivities(objective: Objective, options: SensitivityOptions = {}): Sensitivity[] {
  check("sensitivities", arguments, "objective:objective {top:number}");
  const { top = Infinity } = options;
  const gradient = objective.gradient();
  const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]!) - Math.abs(gradient[a]!));
  return order.slice(0, top).map((i) => {
    const k = objective.offsets.findLastIndex((offset) => offset <= i);
    let rest = i - objective.offsets[k]!;
    const index = [...objective.parameters[k]!.shape]
      .reverse()
      .map((n) => {
        const digit = rest % n;
        rest = Math.floor(rest / n);
        return digit;
      })
      .reverse();
    return { name: objective.names[k]!, index, derivative: gradient[i]! };
  });
}

/**
 * The directional derivative D_u L = ∇L·u/‖u‖.
 * @param u the direction: [n], of any length above 0
 * @param theta the point: [n]; by default, the current parameters
 * @throws RangeError if u is 0; ShapeError if u or theta does not have n elements
 */
export function directionalDerivative(objective: Objective, u: Point, theta?: Point): number {
  check("directionalDerivative", arguments, "objective:objective u:numbers theta?:numbers");
  objective.requireSize(u);
  return dot(objective.gradient(theta), unit(vector(u)));
}

/**
 * The direction of steepest descent, −∇L/‖∇L‖: [n], and the slope ‖∇L‖.
 * @param theta the point: [n]; by default, the current parameters
 * @throws RangeError if the gradient is 0
 */
export function steepestDescent(
  objective: Objective,
  theta?: Point,
): {
  /** −∇L/‖∇L‖: [n]. */
  direction: Vector;
  /** ‖∇L‖, how fast L falls in that direction. */
  slope: number;
} {
  check("steepestDescent", arguments, "objective:objective theta?:numbers");
  const gradient = objective.gradient(theta);
  return { direction: scale(unit(gradient), -1), slope: norm(gradient) };
}
