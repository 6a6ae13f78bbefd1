/** Checks gradients against finite differences. Use it to test your own ops, layers and losses. */

import { vjp } from "../../autograd/transforms.ts";
import { randn } from "../../core/creation.ts";
import { concat } from "../../core/functions.ts";
import { formatNumber } from "../../core/printing.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { fromElements } from "../../core/tensor.ts";
import { check } from "../../runtime/arguments.ts";
import { Error } from "../../runtime/errors.ts";
import { basis, dot, plus, unit, type Vector, vector } from "../math/vector.ts";
import { Objective } from "../objective.ts";
import { EPSILON32 } from "./differences.ts";

const OPTIONS = "{step:number atol:number rtol:number raise:boolean directions:number components:number}";

/** Options for gradcheck. */
export interface GradcheckOptions {
  /** The step h, multiplied by max(1, |x|). Default 1e-2. */
  readonly step?: number;
  /** The allowed absolute error. Default: 1e-3 times the largest derivative compared. */
  readonly atol?: number;
  /** The allowed relative error. Default 1e-2. */
  readonly rtol?: number;
  /** Whether to throw if a gradient is wrong. If false, gradcheck only returns the result. Default true. */
  readonly raise?: boolean;
  /** For objectives: the number of random directions to compare. Default 10. */
  readonly directions?: number;
  /**
   * For objectives: the number of individual parameters to compare, starting with those that have the largest
   * gradients. Default 20.
   */
  readonly components?: number;
}

/** The comparison with the largest error relative to its tolerance. */
export interface WorstCase {
  /**
   * The derivative that was compared, such as "output 3 with respect to element 5 of input 0" or "the loss along
   * direction 2".
   */
  readonly where: string;
  /** The derivative that `backward` computes. */
  readonly analytic: number;
  /** The derivative that finite differences give. */
  readonly numeric: number;
  /** The distance between the two derivatives. */
  readonly error: number;
  /** The largest distance allowed. */
  readonly allowed: number;
}

/** The result of a gradient check. */
export interface GradcheckResult {
  /** Whether all errors are within their tolerances. */
  readonly ok: boolean;
  /** The number of derivatives that were compared. */
  readonly compared: number;
  /** The worst comparison. */
  readonly worst: WorstCase;
}

/** Thrown if finite differences contradict a gradient, or if float32 rounding errors hide the derivatives. */
export class GradcheckError extends Error {
  override name = "GradcheckError";
}

/** Collects comparisons and finds the one with the largest error/allowed. */
class Comparison {
  private readonly all: { where: string; analytic: number; numeric: number; noise: number }[] = [];
  constructor(private readonly options: GradcheckOptions) {}

  /** @param noise the rounding error of the numeric value */
  add(where: string, analytic: number, numeric: number, noise: number): void {
    this.all.push({ where, analytic, numeric, noise });
  }

  private evaluate(): WorstCase[] {
    const finite = this.all.map(({ analytic }) => Math.abs(analytic)).filter(Number.isFinite);
    const largest = finite.reduce((a, b) => Math.max(a, b), 0);
    const { atol = 1e-3 * largest + 1e-12, rtol = 1e-2 } = this.options;
    return this.all.map(({ where, analytic, numeric, noise }) => {
      const error = Math.abs(analytic - numeric);
      const allowed = atol + rtol * Math.abs(numeric) + noise;
      // A value that is not finite is always wrong.
      return {
        where,
        analytic,
        numeric,
        error: Number.isFinite(error) ? error : Infinity,
        allowed: Number.isFinite(allowed) ? allowed : 0,
      };
    });
  }

  finish(name: string): GradcheckResult {
    const cases = this.evaluate();
    const compared = cases.length;
    const worst = cases.reduce<WorstCase | undefined>(
      (top, c) => (!top || c.error / c.allowed > top.error / top.allowed ? c : top),
      undefined,
    );
    if (!worst)
      throw new Error(`${name}: nothing to compare: inputs or outputs are empty. Pass tensors with elements.`);
    const ok = worst.error <= worst.allowed;
    if (!ok && this.options.raise !== false) {
      throw new GradcheckError(
        `${name}: derivative of ${worst.where}: backward gives ${formatNumber(worst.analytic)}, differences give ${formatNumber(worst.numeric)} (tolerance ±${worst.allowed.toPrecision(2)}). ` +
          "Is the gradient rule wrong, the function random, or the point at a kink?",
      );
    }
    const resolved = this.all.some(({ analytic, noise }) => noise < 0.1 * Math.abs(analytic));
    if (ok && !resolved && this.all.some(({ analytic }) => analytic !== 0)) {
      throw new GradcheckError(
        `${name}: float32 rounding errors hide the derivatives. Scale the function, remove large constants, or pass a larger step.`,
      );
    }
    return { ok, compared, worst };
  }
}

/** Richardson extrapolation of D(h) = (f(x + h) − f(x − h))/2h: (4·D(h/2) − D(h))/3, error O(h⁴). @returns the derivative and the rounding noise of each output */
function richardson(at: (t: number) => Vector, h: number): { derivative: Vector; noise: Vector } {
  const values = [h, -h, h / 2, -h / 2].map(at) as [Vector, Vector, Vector, Vector];
  const [above, below, nearAbove, nearBelow] = values;
  return {
    derivative: above.map((_, i) => {
      const wide = (above[i]! - below[i]!) / (2 * h);
      return (4 * ((nearAbove[i]! - nearBelow[i]!) / h) - wide) / 3;
    }),
    noise: above.map((_, i) => (4 * EPSILON32 * Math.max(...values.map((v) => Math.abs(v[i]!)))) / h),
  };
}

/**
 * For every output of f and every element of every input, compares the derivative with central differences. For an
 * objective, compares ∇L along random directions and for individual parameters. Float32 limits the differences'
 * accuracy to about 10⁻⁴; set the tolerance with `atol` and `rtol`.
 *
 * ```ts
 * gradcheck((x) => x.mul(x.sigmoid()), [randn([3, 4])]);
 * gradcheck(objective(model, () => losses.mse(model.forward(x), y)));
 * ```
 * @throws GradcheckError with the worst element, unless { raise: false }; Error if there is nothing to compare
 */
export function gradcheck(f: Objective, options?: GradcheckOptions): GradcheckResult;
export function gradcheck(
  f: (...xs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options?: GradcheckOptions,
): GradcheckResult;
export function gradcheck(
  f: Objective | ((...xs: Tensor[]) => Tensor),
  second: readonly Tensor[] | GradcheckOptions = {},
  third: GradcheckOptions = {},
): GradcheckResult {
  if (f instanceof Objective) check("gradcheck", arguments, `objective:any ${OPTIONS}`);
  else check("gradcheck", arguments, `f:function inputs:tensors ${OPTIONS}`);
  return f instanceof Objective
    ? checkObjective(f, second as GradcheckOptions)
    : checkFunction("gradcheck", f, second as readonly Tensor[], third);
}

/**
 * Checks second derivatives: runs gradcheck on f's pullback as a function of the inputs and of the output's gradient.
 * @throws the same errors as gradcheck
 */
export function gradgradcheck(
  f: (...xs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckResult {
  check("gradgradcheck", arguments, `f:function inputs:tensors ${OPTIONS}`);
  return tidy(() => {
    const dy = randn(tidy(() => f(...inputs)).shape);
    const pulledBack = (...all: Tensor[]): Tensor => {
      const xs = all.slice(0, -1);
      const gradients = vjp(f, ...xs)[1](all.at(-1)!);
      return concat(gradients.map((g) => g.reshape([g.size])));
    };
    return checkFunction("gradgradcheck", pulledBack, [...inputs, dy], options);
  });
}

function checkFunction(
  name: string,
  f: (...xs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions,
): GradcheckResult {
  const comparison = new Comparison(options);
  // rows[output][input]: the derivatives of one output with respect to all elements of one input.
  const rows = tidy(() => {
    const [y, pullback] = vjp(f, ...inputs);
    return Array.from({ length: y.size }, (_, k) =>
      tidy(() => pullback(fromElements(basis(y.size, k), y.shape, "float32", name)).map((g) => g.data)),
    );
  });
  inputs.forEach((x, i) => {
    const values = vector(x.data);
    for (let element = 0; element < x.size; element++) {
      const h = (options.step ?? 1e-2) * Math.max(1, Math.abs(values[element]!));
      const { derivative, noise } = richardson((t) => {
        const moved = values.slice();
        moved[element]! += t;
        return tidy(() => {
          const replaced = fromElements(moved, x.shape, "float32", name);
          return vector(f(...inputs.map((input, k) => (k === i ? replaced : input.detach()))).live());
        });
      }, h);
      derivative.forEach((numeric, k) => {
        comparison.add(
          `output ${k} with respect to element ${element} of input ${i}`,
          rows[k]![i]![element]!,
          numeric,
          noise[k]!,
        );
      });
    }
  });
  return comparison.finish(name);
}

function checkObjective(f: Objective, options: GradcheckOptions): GradcheckResult {
  const { step = 1e-2, directions = 10, components = 20 } = options;
  const comparison = new Comparison(options);
  const theta = f.theta;
  const gradient = f.gradient();
  const compare = (where: string, u: Vector, h: number): void => {
    const { derivative, noise } = richardson((t) => vector([f.value(plus(theta, u, t))]), h);
    comparison.add(where, dot(gradient, u), derivative[0]!, noise[0]!);
  };
  // Along a unit vector, each of the n parameters moves by only about h/√n, so a longer step is still accurate.
  const reach = step * Math.sqrt(Math.min(f.size, 100));
  for (let k = 0; k < directions; k++) {
    compare(`the loss along direction ${k}`, unit(vector(tidy(() => randn([f.size]).data))), reach);
  }
  // Compare the components with the largest gradients, where errors are easiest to see.
  const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]!) - Math.abs(gradient[a]!));
  for (const i of order.slice(0, components)) {
    const k = f.offsets.findLastIndex((offset) => offset <= i);
    compare(
      `the loss with respect to ${f.names[k]}[${i - f.offsets[k]!}]`,
      basis(f.size, i),
      step * Math.max(1, Math.abs(theta[i]!)),
    );
  }
  return comparison.finish("gradcheck");
}
