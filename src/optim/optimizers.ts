/** The optimizers that run as one kernel per parameter. Names, arguments and defaults are PyTorch's. */

import { UpdateFlag } from "../../assembly/opcodes.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireFraction, requireRange } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { Optimizer, type UpdateRule } from "./optimizer.ts";
import type { CommonOptions, GroupOptions } from "./paramGroup.ts";

type Params<O> = Iterable<Tensor | GroupOptions<O>>;
const notNegative = (name: string, options: Record<string, number>): void =>
  requireRange(name, options, (v) => v >= 0, "≥ 0");

/** Options for SGD. */
export interface SGDOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Required. */
  lr: number;
  /** μ, the factor that multiplies the previous direction, ≥ 0. Default 0. */
  momentum: number;
  /** The fraction by which each new gradient is reduced before it is added to the momentum. Default 0. */
  dampening: number;
  /** L2 penalty, ≥ 0: adds weightDecay·p to the gradient. Default 0. */
  weightDecay: number;
  /** Whether to use Nesterov momentum. Default false. */
  nesterov: boolean;
  /** Whether to maximize instead of minimize. Default false. */
  maximize: boolean;
}

/**
 * Stochastic gradient descent with momentum (Sutskever et al. 2013): b ← μ·b + (1 − dampening)·g, p ← p − lr·b. If a
 * gradient is sparse, SGD without momentum updates only the rows that the gradient contains. With momentum it updates
 * all rows, because rows from earlier batches keep moving.
 * @throws RangeError for an invalid option
 */
export class SGD extends Optimizer<SGDOptions> {
  static override readonly kind: string = "SGD";
  constructor(params: Params<SGDOptions>, options: Partial<SGDOptions> & CommonOptions) {
    check(
      "SGD",
      arguments,
      "params:any {lr!:number momentum:number dampening:number weightDecay:number nesterov:boolean maximize:boolean}",
    );
    super(params, {
      momentum: 0,
      dampening: 0,
      weightDecay: 0,
      nesterov: false,
      maximize: false,
      ...withoutUndefined(options),
    });
  }
  protected validate({ momentum, weightDecay, nesterov, dampening }: SGDOptions): void {
    notNegative("SGD", { momentum, weightDecay });
    if (nesterov && (momentum === 0 || dampening !== 0))
      throw new RangeError("SGD: nesterov needs momentum above 0 and dampening 0.");
  }
  protected rule({ momentum, dampening, weightDecay, nesterov, maximize }: SGDOptions): UpdateRule {
    return {
      kind: "sgd",
      flags: (nesterov ? UpdateFlag.Nesterov : 0) | (maximize ? UpdateFlag.Maximize : 0),
      constants: [momentum, dampening, weightDecay],
      slots: [momentum ? "momentumBuffer" : undefined],
      sparse: weightDecay ? "weightDecay" : momentum ? "dense" : "rows",
    };
  }
}

/** Options for Adam and AdamW. */
export interface AdamOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Default 1e-3; NAdam: 2e-3. */
  lr: number;
  /** The decay rates for the running means of g and g², each at least 0 and below 1. Default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** A number ≥ 0 to add to the denominator. Default 1e-8. */
  eps: number;
  /** Adam, NAdam: L2 penalty, default 0. AdamW: decoupled weight decay, default 0.01. */
  weightDecay: number;
  /** Whether to divide by the largest mean of g² so far (Reddi et al. 2018). Default false. */
  amsgrad: boolean;
  /** Whether to maximize instead of minimize. Default false. */
  maximize: boolean;
}

const ADAM_OPTIONS = "lr:number betas:pair eps:number weightDecay:number amsgrad:boolean maximize:boolean";
const ADAM: AdamOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  amsgrad: false,
  maximize: false,
};

/** @throws RangeError unless the decay rates are in 0 … 1, below 1, and the other options are ≥ 0 */
function validateAdam(name: string, [beta1, beta2]: AdamOptions["betas"], others: Record<string, number>): void {
  notNegative(name, others);
  requireRange(name, { beta1, beta2 }, (v) => v >= 0 && v < 1, "in 0 … 1, below 1");
}

/** Adam (Kingma and Ba 2015). @throws RangeError for an invalid option */
export class Adam extends Optimizer<AdamOptions> {
  static override readonly kind: string = "Adam";
  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    check("Adam", arguments, `params:any {${ADAM_OPTIONS}}`);
    super(params, { ...ADAM, ...withoutUndefined(options) });
  }
  protected validate({ betas, eps, weightDecay }: AdamOptions): void {
    validateAdam(kindOf(this), betas, { eps, weightDecay });
  }
  /** Whether weight decay is decoupled from the gradient. */
  protected get decoupled(): boolean {
    return false;
  }
  protected rule({ betas, eps, weightDecay, amsgrad, maximize }: AdamOptions): UpdateRule {
    return {
      kind: "adam",
      flags:
        (amsgrad ? UpdateFlag.Amsgrad : 0) |
        (maximize ? UpdateFlag.Maximize : 0) |
        (this.decoupled ? UpdateFlag.DecoupledDecay : 0),
      constants: [...betas, eps, weightDecay],
      slots: ["expAvg", "expAvgSq", amsgrad ? "maxExpAvgSq" : undefined],
    };
  }
}

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019). @throws RangeError for an invalid option */
export class AdamW extends Adam {
  static override readonly kind: string = "AdamW";
  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    check("AdamW", arguments, `params:any {${ADAM_OPTIONS}}`);
    super(params, { weightDecay: 0.01, ...withoutUndefined(options) });
  }
  protected override get decoupled(): boolean {
    return true;
  }
}

/** Options for SparseAdam. */
export type SparseAdamOptions = Omit<AdamOptions, "weightDecay" | "amsgrad">;

/**
 * Adam for models with sparse embeddings. If a gradient is sparse, SparseAdam updates only the rows that the gradient
 * contains, in the parameter and in the running means. Other rows do not change. The bias correction counts all steps.
 * As in PyTorch, the denominator for sparse gradients is (√v + ε)/√(1 − β₂ᵗ), but Adam's is √v/√(1 − β₂ᵗ) + ε. Unlike
 * PyTorch's SparseAdam, this class also accepts dense gradients, for which its update is Adam's, so one optimizer can
 * train the whole model.
 *
 * ```ts
 * const table = new nn.Embedding(50_000, 128, { sparse: true });
 * const model = new nn.Sequential(table, new nn.Linear(128, 2));
 * const optimizer = new optim.SparseAdam(model.parameters());
 * ```
 * @throws RangeError for an invalid option
 */
export class SparseAdam extends Optimizer<SparseAdamOptions> {
  static override readonly kind: string = "SparseAdam";
  constructor(params: Params<SparseAdamOptions>, options: Partial<SparseAdamOptions> = {}) {
    check("SparseAdam", arguments, "params:any {lr:number betas:pair eps:number maximize:boolean}");
    const { lr, betas, eps, maximize } = ADAM;
    super(params, { lr, betas, eps, maximize, ...withoutUndefined(options) });
  }
  protected validate({ betas, eps }: SparseAdamOptions): void {
    validateAdam("SparseAdam", betas, { eps });
  }
  protected rule({ betas, eps, maximize }: SparseAdamOptions): UpdateRule {
    const flags = maximize ? UpdateFlag.Maximize : 0;
    return { kind: "adam", flags, constants: [...betas, eps], slots: ["expAvg", "expAvgSq"], sparse: "rows" };
  }
}

/** Options for NAdam. */
export interface NAdamOptions extends Omit<AdamOptions, "amsgrad"> {
  /** The rate ≥ 0 at which the momentum coefficient approaches β₁. Default 4e-3. */
  momentumDecay: number;
  /** Whether weight decay is decoupled from the gradient, as in AdamW. Default false. */
  decoupledWeightDecay: boolean;
}

/** Adam with Nesterov momentum (Dozat 2016). @throws RangeError for an invalid option */
export class NAdam extends Optimizer<NAdamOptions> {
  static override readonly kind: string = "NAdam";
  constructor(params: Params<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    check(
      "NAdam",
      arguments,
      "params:any {lr:number betas:pair eps:number weightDecay:number momentumDecay:number decoupledWeightDecay:boolean maximize:boolean}",
    );
    const { amsgrad: _, ...adam } = ADAM;
    super(params, {
      ...adam,
      lr: 2e-3,
      momentumDecay: 4e-3,
      decoupledWeightDecay: false,
      ...withoutUndefined(options),
    });
  }
  protected validate({ betas, eps, weightDecay, momentumDecay }: NAdamOptions): void {
    validateAdam("NAdam", betas, { eps, weightDecay, momentumDecay });
  }
  protected rule({ betas, eps, weightDecay, momentumDecay, decoupledWeightDecay, maximize }: NAdamOptions): UpdateRule {
    return {
      kind: "adam",
      flags:
        UpdateFlag.Nadam |
        (maximize ? UpdateFlag.Maximize : 0) |
        (decoupledWeightDecay ? UpdateFlag.DecoupledDecay : 0),
      constants: [...betas, eps, weightDecay, 0.96 ** momentumDecay],
      slots: ["expAvg", "expAvgSq"],
    };
  }
}

/** Options for Lion. */
export interface LionOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Default 1e-4. */
  lr: number;
  /**
   * Two factors between 0 and 1: the weight of the momentum in the step, and the decay of the momentum.
   * Default [0.9, 0.99].
   */
  betas: readonly [number, number];
  /** Decoupled weight decay, ≥ 0. Default 0. */
  weightDecay: number;
  /** Whether to maximize instead of minimize. Default false. */
  maximize: boolean;
}

/**
 * Lion (Chen et al. 2023): steps of size lr along the sign of the momentum. Use a third to a tenth of Adam's lr.
 * @throws RangeError for an invalid option
 */
export class Lion extends Optimizer<LionOptions> {
  static override readonly kind: string = "Lion";
  constructor(params: Params<LionOptions>, options: Partial<LionOptions> = {}) {
    check("Lion", arguments, "params:any {lr:number betas:pair weightDecay:number maximize:boolean}");
    super(params, { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0, maximize: false, ...withoutUndefined(options) });
  }
  protected validate({ betas: [beta1, beta2], weightDecay }: LionOptions): void {
    notNegative("Lion", { weightDecay });
    requireFraction("Lion", { beta1, beta2 });
  }
  protected rule({ betas, weightDecay, maximize }: LionOptions): UpdateRule {
    const flags = maximize ? UpdateFlag.Maximize : 0;
    return { kind: "lion", flags, constants: [...betas, weightDecay], slots: ["expAvg"] };
  }
}

/** Options for RMSProp. */
export interface RMSPropOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Default 1e-2. */
  lr: number;
  /** The decay rate for the running mean of g², ≥ 0. Default 0.99. */
  alpha: number;
  /** A number ≥ 0 to add to the denominator. Default 1e-8. */
  eps: number;
  /** L2 penalty, ≥ 0: adds weightDecay·p to the gradient. Default 0. */
  weightDecay: number;
  /** The factor that multiplies the previous direction, ≥ 0. Default 0. */
  momentum: number;
  /** Whether to divide by the standard deviation instead of the root mean square. Default false. */
  centered: boolean;
  /** Whether to maximize instead of minimize. Default false. */
  maximize: boolean;
}

/** RMSProp (Tieleman and Hinton 2012). @throws RangeError for an invalid option */
export class RMSProp extends Optimizer<RMSPropOptions> {
  static override readonly kind: string = "RMSProp";
  constructor(params: Params<RMSPropOptions>, options: Partial<RMSPropOptions> = {}) {
    check(
      "RMSProp",
      arguments,
      "params:any {lr:number alpha:number eps:number weightDecay:number momentum:number centered:boolean maximize:boolean}",
    );
    super(params, {
      lr: 1e-2,
      alpha: 0.99,
      eps: 1e-8,
      weightDecay: 0,
      momentum: 0,
      centered: false,
      maximize: false,
      ...withoutUndefined(options),
    });
  }
  protected validate({ alpha, eps, weightDecay, momentum }: RMSPropOptions): void {
    notNegative("RMSProp", { alpha, eps, weightDecay, momentum });
  }
  protected rule({ alpha, eps, weightDecay, momentum, centered, maximize }: RMSPropOptions): UpdateRule {
    return {
      kind: "rmsProp",
      flags: (centered ? UpdateFlag.Centered : 0) | (maximize ? UpdateFlag.Maximize : 0),
      constants: [alpha, eps, weightDecay, momentum],
      slots: ["squareAvg", momentum ? "momentumBuffer" : undefined, centered ? "gradAvg" : undefined],
    };
  }
}

/** Options for Adagrad. */
export interface AdagradOptions extends CommonOptions {
  /** The learning rate, ≥ 0. Default 1e-2. */
  lr: number;
  /** The decay of the learning rate, ≥ 0: lr/(1 + t·lrDecay) at step t. Default 0. */
  lrDecay: number;
  /** L2 penalty, ≥ 0: adds weightDecay·p to the gradient. Default 0. */
  weightDecay: number;
  /** The initial sum of g², ≥ 0. Default 0. */
  initialAccumulatorValue: number;
  /** A number ≥ 0 to add to the denominator. Default 1e-10. */
  eps: number;
  /** Whether to maximize instead of minimize. Default false. */
  maximize: boolean;
}

/**
 * Adagrad (Duchi et al. 2011). If a gradient is sparse, Adagrad updates only the rows that the gradient contains.
 * @throws RangeError for an invalid option
 */
export class Adagrad extends Optimizer<AdagradOptions> {
  static override readonly kind: string = "Adagrad";
  constructor(params: Params<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    check(
      "Adagrad",
      arguments,
      "params:any {lr:number lrDecay:number weightDecay:number initialAccumulatorValue:number eps:number maximize:boolean}",
    );
    super(params, {
      lr: 1e-2,
      lrDecay: 0,
      weightDecay: 0,
      initialAccumulatorValue: 0,
      eps: 1e-10,
      maximize: false,
      ...withoutUndefined(options),
    });
  }
  protected validate({ lrDecay, weightDecay, initialAccumulatorValue, eps }: AdagradOptions): void {
    notNegative("Adagrad", {
      lrDecay,
      weightDecay,
      initialAccumulatorValue,
      eps,
    });
  }
  protected rule({ lrDecay, weightDecay, initialAccumulatorValue, eps, maximize }: AdagradOptions): UpdateRule {
    return {
      kind: "adagrad",
      flags: maximize ? UpdateFlag.Maximize : 0,
      constants: [eps, weightDecay, lrDecay],
      slots: ["sum"],
      initial: initialAccumulatorValue,
      sparse: weightDecay ? "weightDecay" : "rows",
    };
  }
}
