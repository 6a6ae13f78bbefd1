/** Muon: momentum, orthogonalized. For the weight matrices inside of a network; its other parameters are for Adam. */

import { flushDenormals } from "../core/denormals.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { Error, requireRange, requireWhole } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import {
  type CommonOptions,
  type GroupOptions,
  given,
  Optimizer,
  type ParamGroup,
  type State,
  type StateRule,
} from "./optimizer.ts";

/** Options of Muon. */
export interface MuonOptions extends CommonOptions {
  /** How much of the last direction is kept. Default 0.95. */
  momentum: number;
  /** Look ahead by the momentum. Default true. */
  nesterov: boolean;
  /** Decoupled. Default 0.1. */
  weightDecay: number;
  /** Newton–Schulz iterations. Default 5. */
  nsSteps: number;
  /** "original": the rate times √max(1, rows/columns); "matchRmsAdamW": times 0.2·√max(rows, columns), for Adam's rates. */
  adjustLrFn: "original" | "matchRmsAdamW";
}

const OPTIONS =
  "params:any {lr:number momentum:number nesterov:boolean weightDecay:number nsSteps:number adjustLrFn:string}";

/** The quintic iteration's coefficients (Jordan et al. 2024). */
const [A, B, C] = [3.4445, -4.775, 2.0315];

/** About U·Vᵀ of g = U·S·Vᵀ: singular values come to 0.7 … 1.2 within five iterations of aX + b(XXᵀ)X + c(XXᵀ)²X. */
function orthogonalized(g: Tensor, steps: number): Tensor {
  const wide = g.shape[0]! <= g.shape[1]!;
  const start = wide ? g : g.t();
  let x = start.div(start.norm().clamp(1e-7));
  for (let i = 0; i < steps; i++) {
    const gram = x.matmul(x.t());
    const update = gram.mul(B).add(gram.matmul(gram).mul(C));
    x = x.mul(A).add(update.matmul(x));
  }
  return wide ? x : x.t();
}

/** Muon (Jordan et al. 2024), as in PyTorch 2.9, with its coefficients: matrices only. @throws Error where a parameter is none */
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
      ...given(options),
    });
  }
  protected override validateParameter(p: Tensor): void {
    if (p.shape.length !== 2)
      throw new Error(`Muon: a parameter is [${p.shape.join(", ")}], but must be a matrix. Give the others to Adam.`);
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
    const kept = flushDenormals(buffer.add(g.sub(buffer).mul(1 - momentum)));
    buffer.copyFrom(kept);
    const direction = orthogonalized(nesterov ? g.add(kept.sub(g).mul(momentum)) : kept, nsSteps);
    const factor =
      adjustLrFn === "original" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
    const decayed = p.sub(p.mul(rate.mul(weightDecay)));
    p.copyFrom(decayed.sub(direction.mul(rate.mul(factor))));
  }
}
