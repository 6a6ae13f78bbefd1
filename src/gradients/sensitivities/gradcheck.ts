/** Gradients held against differences: the user's tool for ops, layers and losses of their own. */

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

/** Options of gradcheck. */
export interface GradcheckOptions {
  /** h, in proportion to the point's size where that is above 1. Default 10⁻². */
  readonly step?: number;
  /** Allowed absolute error. Default 10⁻³ of the largest derivative that is compared. */
  readonly atol?: number;
  /** Allowed error in proportion to the gradient. Default 10⁻². */
  readonly rtol?: number;
  /** Throw where a gradient is wrong. Default true. */
  readonly raise?: boolean;
  /** Of an objective: random directions, and single parameters, that are tried. Default 10 and 20. */
  readonly directions?: number;
  /** How many single components to check. Default 20. */
  readonly components?: number;
}

/** The comparison that came out worst. */
export interface WorstCase {
  /** Where: "output 3 by input 0, element 5", "by direction 2", "by 0.weight[7]". */
  readonly where: string;
  /** What backward says. */
  readonly analytic: number;
  /** What differences say. */
  readonly numeric: number;
  /** The relative difference. */
  readonly error: number;
  /** What was allowed there. */
  readonly allowed: number;
}
/** What gradcheck found. */
export interface GradcheckResult {
  /** Whether every difference is within the tolerance. */
  readonly ok: boolean;
  /** How many derivatives were compared. */
  readonly compared: number;
  /** The largest difference. */
  readonly worst: WorstCase;
}

/** A gradient that differences do not confirm. */
export class GradcheckError extends Error {
  override name = "GradcheckError";
}

/** Collects comparisons; the worst by error/allowed. */
class Comparison {
  private readonly all: { where: string; analytic: number; numeric: number; noise: number }[] = [];
  constructor(private readonly options: GradcheckOptions) {}

  /** `noise`: how far off rounding may put the numeric value. */
  add(where: string, analytic: number, numeric: number, noise: number): void {
    this.all.push({ where, analytic, numeric, noise });
  }

  private judged(): WorstCase[] {
    const finite = this.all.map(({ analytic }) => Math.abs(analytic)).filter(Number.isFinite);
    const largest = finite.reduce((a, b) => Math.max(a, b), 0);
    const { atol = 1e-3 * largest + 1e-12, rtol = 1e-2 } = this.options;
    return this.all.map(({ where, analytic, numeric, noise }) => {
      const error = Math.abs(analytic - numeric);
      const allowed = atol + rtol * Math.abs(numeric) + noise;
      // What is not finite is never right.
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
    const judged = this.judged();
    const compared = judged.length;
    const worst = judged.reduce<WorstCase | undefined>(
      (top, c) => (!top || c.error / c.allowed > top.error / top.allowed ? c : top),
      undefined,
    );
    if (!worst) throw new Error(`${name}: there was nothing to compare: no inputs, or no outputs.`);
    const ok = worst.error <= worst.allowed;
    if (!ok && this.options.raise !== false) {
      throw new GradcheckError(
        `${name}: ${worst.where}: backward says ${formatNumber(worst.analytic)}, differences say ${formatNumber(worst.numeric)} (allowed: ±${worst.allowed.toPrecision(2)}). ` +
          "Is the rule wrong, the function not the same at each call, or the point a kink?",
      );
    }
    const resolved = this.all.some(({ analytic, noise }) => noise < 0.1 * Math.abs(analytic));
    if (ok && !resolved && this.all.some(({ analytic }) => analytic !== 0)) {
      throw new GradcheckError(
        `${name}: float32 is too coarse to tell: rounding of the function's values is as large as its derivatives. Scale it, leave out large constants, or give a larger step.`,
      );
    }
    return { ok, compared, worst };
  }
}

/** D(h) = (f(x + h) − f(x − h))/2h and D(h/2), joined so that the error is of order h⁴ (Richardson); and what rounding adds, by output. */
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
 * Checks the gradients of f, element by element, against central differences: of every output by every element of every input. f takes
 * float32 tensors, so differences are only good to about 10⁻⁴: `step`, `atol` and `rtol` say what is allowed. Or checks an
 * objective's ∇L along random directions and by single parameters.
 *
 * ```ts
 * gradcheck((x) => x.mul(x.sigmoid()), [randn([3, 4])]);
 * gradcheck(objective(model, () => losses.mse(model.forward(x), y)));
 * ```
 * @throws GradcheckError that names the worst element, unless { raise: false }
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

/** Checks second derivatives: gradcheck of f's pullback, as a function of the inputs and of the gradient that arrives. */
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
  // rows[output][input]: the derivative of one output by all elements of one input.
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
          const stand = fromElements(moved, x.shape, "float32", name);
          return vector(f(...inputs.map((input, k) => (k === i ? stand : input.detach()))).live());
        });
      }, h);
      derivative.forEach((numeric, k) => {
        comparison.add(`output ${k} by input ${i}, element ${element}`, rows[k]![i]![element]!, numeric, noise[k]!);
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
  // Along a unit vector of n parameters each moves by h/√n: a longer step is as gentle.
  const reach = step * Math.sqrt(Math.min(f.size, 100));
  for (let k = 0; k < directions; k++) {
    compare(`by direction ${k}`, unit(vector(tidy(() => randn([f.size]).data))), reach);
  }
  // The components with the largest gradients, where a wrong rule shows most.
  const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]!) - Math.abs(gradient[a]!));
  for (const i of order.slice(0, components)) {
    const place = f.offsets.findLastIndex((offset) => offset <= i);
    compare(
      `by ${f.names[place]}[${i - f.offsets[place]!}]`,
      basis(f.size, i),
      step * Math.max(1, Math.abs(theta[i]!)),
    );
  }
  return comparison.finish("gradcheck");
}
