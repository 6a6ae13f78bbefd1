/** Muon, an optimizer with orthogonalized momentum for a network's hidden weight matrices. Use Adam for the other parameters. */

import { flushDenormals } from "../core/denormals.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { Error, requireRange, requireWhole } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { Optimizer, type StateRule } from "./optimizer.ts";
import type { State } from "./optimizerState.ts";
import type { CommonOptions, GroupOptions, ParamGroup } from "./paramGroup.ts";

/** Options for Muon. */
export interface MuonOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Default 1e-3. */
  lr: number;
  /** The decay of the gradient's moving average, ≥ 0. Default 0.95. */
  momentum: number;
  /** Whether to use Nesterov momentum. Default true. */
  nesterov: boolean;
  /** Decoupled weight decay, ≥ 0. Default 0.1. */
  weightDecay: number;
  /** The number of Newton–Schulz iterations. Default 5. */
  nsSteps: number;
  /**
   * "original" scales lr by √max(1, rows/columns), "matchRmsAdamW" by 0.2·√max(rows, columns) to suit learning rates for
   * Adam. Default "original".
   */
  adjustLrFn: "original" | "matchRmsAdamW";
}

const OPTIONS =
  "params:any {lr:number momentum:number nesterov:boolean weightDecay:number nsSteps:number adjustLrFn:string}";

/** The quintic iteration's coefficients (Jordan et al. 2024). */
const [A, B, C] = [3.4445, -4.775, 2.0315];

/** Approximates U·Vᵀ for g = U·S·Vᵀ: five iterations of aX + b(XXᵀ)X + c(XXᵀ)²X bring singular values to 0.7 … 1.2. */
function orthogonalize(g: Tensor, steps: number): Tensor {
  const isWide = g.shape[0]! <= g.shape[1]!;
  const start = isWide ? g : g.t();
  let x = start.div(start.norm().clamp(1e-7));
  for (let i = 0; i < steps; i++) {
    const gram = x.matmul(x.t());
    const update = gram.mul(B).add(gram.matmul(gram).mul(C));
    x = x.mul(A).add(update.matmul(x));
  }
  return isWide ? x : x.t();
}

/**
 * Muon (Jordan et al. 2024), as in PyTorch 2.9: orthogonalizes the momentum of each weight matrix [rows, columns].
 * @throws Error if a parameter is not a matrix; RangeError for an invalid option
 */
export class Muon extends Optimizer<MuonOptions, StateRule> {
  static override readonly kind: string = "Muon";
  constructor(params: Iterable<Tensor | GroupOptions<MuonOptions>>, options: Partial<MuonOptions> = {}) {
    check("Muon", arguments, OPTIONS);
    super(params, {
      lr: 1e-3,
      momentum: 0.95,
      nesterov: true,
      weightDecay: 0.1,
      nsSteps: 5,
      adjustLrFn: "original",
      ...withoutUndefined(options),
    });
  }
  protected override validateParameter(p: Tensor): void {
    if (p.shape.length !== 2)
      throw new Error(
        `Muon: a parameter must be a matrix, got [${p.shape.join(", ")}]. Use Adam for other parameters.`,
      );
  }
  protected validate({ momentum, weightDecay, nsSteps, adjustLrFn }: MuonOptions): void {
    requireRange("Muon", { momentum, weightDecay }, (v) => v >= 0, "≥ 0");
    requireWhole("Muon", { nsSteps });
    requireChoice("Muon", "adjustLrFn", adjustLrFn, ["original", "matchRmsAdamW"]);
  }
  protected rule(): StateRule {
    return { slots: ["momentumBuffer"] };
  }
  protected override update(p: Tensor, g: Tensor, state: State, { rate, options }: ParamGroup<MuonOptions>): void {
    const { momentum, nesterov, weightDecay, nsSteps, adjustLrFn } = options;
    const [rows, columns] = p.shape as [number, number];
    const buffer = state.momentumBuffer!;
    // b ← b + (1 − μ)(g − b);  d = g + μ(b − g)
    const average = flushDenormals(buffer.add(g.sub(buffer).mul(1 - momentum)));
    buffer.copyFrom(average);
    const direction = orthogonalize(nesterov ? g.add(average.sub(g).mul(momentum)) : average, nsSteps);
    const factor =
      adjustLrFn === "original" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
    const decayed = p.sub(p.mul(rate.mul(weightDecay)));
    p.copyFrom(decayed.sub(direction.mul(rate.mul(factor))));
  }
}
