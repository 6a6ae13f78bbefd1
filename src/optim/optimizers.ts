/** The optimizers: each says which kernel runs with which constants. Names, arguments and defaults are PyTorch's. */

import { UpdateFlag } from "../../assembly/opcodes.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireFraction, requireRange } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { type CommonOptions, type GroupOptions, given, Optimizer, type UpdateRule } from "./optimizer.ts";

type Params<O> = Iterable<Tensor | GroupOptions<O>>;
const notNegative = (name: string, options: Record<string, number>): void =>
  requireRange(name, options, (v) => v >= 0, "≥ 0");

/** Options of SGD. */
export interface SGDOptions extends CommonOptions {
  /** μ: how much of the last direction is kept. Default 0. */
  momentum: number;
  /** How much of the new gradient is left out of the momentum. Default 0. */
  dampening: number;
  /** L2 penalty: adds weightDecay·p to the gradient. Default 0. */
  weightDecay: number;
  /** Look ahead by the momentum. Default false. */
  nesterov: boolean;
  /** Climb instead. Default false. */
  maximize: boolean;
}

/** Stochastic gradient descent, with momentum (Sutskever et al. 2013). */
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
      ...given(options),
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
    };
  }
}

/** Options of Adam and AdamW. */
export interface AdamOptions extends CommonOptions {
  /** How much of the running means of g and g² is kept. Default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the denominator. Default 1e-8. */
  eps: number;
  /** Adam: L2 penalty, default 0. AdamW: decoupled decay, default 0.01. */
  weightDecay: number;
  /** Divide by the largest mean of g² so far (Reddi et al. 2018). Default false. */
  amsgrad: boolean;
  /** Ascend instead of descend. Default false. */
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

/** Adam (Kingma and Ba 2015). */
export class Adam extends Optimizer<AdamOptions> {
  static override readonly kind: string = "Adam";
  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    check("Adam", arguments, `params:any {${ADAM_OPTIONS}}`);
    super(params, { ...ADAM, ...given(options) });
  }
  protected validate({ betas: [beta1, beta2], eps, weightDecay }: AdamOptions): void {
    notNegative(kindOf(this), { eps, weightDecay });
    requireRange(kindOf(this), { beta1, beta2 }, (v) => v >= 0 && v < 1, "in 0 … 1, below 1");
  }
  /** Whether weights decay apart from the gradient. */
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

/** Adam with decoupled weight decay (Loshchilov and Hutter 2019). */
export class AdamW extends Adam {
  static override readonly kind: string = "AdamW";
  constructor(params: Params<AdamOptions>, options: Partial<AdamOptions> = {}) {
    check("AdamW", arguments, `params:any {${ADAM_OPTIONS}}`);
    super(params, { weightDecay: 0.01, ...given(options) });
  }
  protected override get decoupled(): boolean {
    return true;
  }
}

/** Options of NAdam. */
export interface NAdamOptions extends Omit<AdamOptions, "amsgrad"> {
  /** How fast the momentum grows to β₁. Default 4e-3. */
  momentumDecay: number;
  /** Whether weights decay apart from the gradient, as in AdamW. Default false. */
  decoupledWeightDecay: boolean;
}

/** Adam with Nesterov's momentum (Dozat 2016). */
export class NAdam extends Optimizer<NAdamOptions> {
  static override readonly kind: string = "NAdam";
  constructor(params: Params<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    check(
      "NAdam",
      arguments,
      "params:any {lr:number betas:pair eps:number weightDecay:number momentumDecay:number decoupledWeightDecay:boolean maximize:boolean}",
    );
    const { amsgrad: _, ...adam } = ADAM;
    super(params, { ...adam, lr: 2e-3, momentumDecay: 4e-3, decoupledWeightDecay: false, ...given(options) });
  }
  protected validate({ betas: [beta1, beta2], eps, weightDecay, momentumDecay }: NAdamOptions): void {
    notNegative("NAdam", { eps, weightDecay, momentumDecay });
    requireRange("NAdam", { beta1, beta2 }, (v) => v >= 0 && v < 1, "in 0 … 1, below 1");
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

/** Options of Lion. */
export interface LionOptions extends CommonOptions {
  /** How much of the momentum goes into the step, and how much of it is kept. Default [0.9, 0.99]. */
  betas: readonly [number, number];
  /** Decoupled. Default 0. */
  weightDecay: number;
  /** Step against descent, to maximize. Default false. */
  maximize: boolean;
}

/** Lion: steps of one size along signs (Chen et al. 2023). Its rate is a third to a tenth of Adam's. */
export class Lion extends Optimizer<LionOptions> {
  static override readonly kind: string = "Lion";
  constructor(params: Params<LionOptions>, options: Partial<LionOptions> = {}) {
    check("Lion", arguments, "params:any {lr:number betas:pair weightDecay:number maximize:boolean}");
    super(params, { lr: 1e-4, betas: [0.9, 0.99], weightDecay: 0, maximize: false, ...given(options) });
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

/** Options of RMSProp. */
export interface RMSPropOptions extends CommonOptions {
  /** How much of the running mean of g² is kept. Default 0.99. */
  alpha: number;
  /** ε, added to √v in the denominator. Default 1e-8. */
  eps: number;
  /** λ: λ·p is added to the gradient. Default 0. */
  weightDecay: number;
  /** μ of the momentum on the scaled gradient. Default 0. */
  momentum: number;
  /** Divide by the deviation instead of the root mean square. Default false. */
  centered: boolean;
  /** Follow the gradient upwards. Default false. */
  maximize: boolean;
}

/** RMSProp (Tieleman and Hinton 2012). */
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
      ...given(options),
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

/** Options of Adagrad. */
export interface AdagradOptions extends CommonOptions {
  /** The rate shrinks as lr/(1 + t·lrDecay). Default 0. */
  lrDecay: number;
  /** λ: λ·p is added to the gradient before it is squared. Default 0. */
  weightDecay: number;
  /** What the sums of g² start from. Default 0. */
  initialAccumulatorValue: number;
  /** ε, added to √s in the denominator. Default 1e-10. */
  eps: number;
  /** Climb instead of descend. Default false. */
  maximize: boolean;
}

/** Adagrad (Duchi et al. 2011). */
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
      ...given(options),
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
    };
  }
}
