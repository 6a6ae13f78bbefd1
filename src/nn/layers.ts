/** Linear, identity, flatten, dropout and activation layers. Names, arguments and defaults are PyTorch's. */

import { zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireFraction, requireWhole } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import * as init from "./init.ts";
import { inputOf, Module, parameter } from "./module.ts";

/** Options for Linear. */
export interface LinearOptions {
  /** Whether to add a learnable bias. Default true. */
  bias?: boolean;
}

/**
 * Fully connected layer: y = x·Wᵀ + b. weight: [outFeatures, inFeatures], bias: [outFeatures] or null, both initially uniform in
 * ±1/√inFeatures.
 *
 * ```ts
 * new nn.Linear(4, 2).forward(randn([8, 4])).shape; // [8, 2]
 * ```
 * @throws RangeError if a size is not a whole number above 0
 */
export class Linear extends Module {
  static override readonly kind: string = "Linear";
  /** The weight, [outFeatures, inFeatures]. */
  readonly weight: Tensor;
  /** The bias, [outFeatures]; null without bias. */
  readonly bias: Tensor | null;

  constructor(
    /** The size of the input's last dim. */
    readonly inFeatures: number,
    /** The size of the result's last dim. */
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super();
    check("Linear", arguments, "inFeatures:number outFeatures:number {bias:boolean}");
    const { bias = true } = options;
    requireWhole("Linear", { inFeatures, outFeatures });
    this.weight = parameter(init.kaimingUniform(zeros([outFeatures, inFeatures]), { a: Math.sqrt(5) }), this);
    const bound = 1 / Math.sqrt(inFeatures);
    this.bias = bias ? parameter(init.uniform(zeros([outFeatures]), -bound, bound), this) : null;
  }
  /** x: [..., inFeatures] → [..., outFeatures]. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.linear(inputOf(this, x, arguments), this.weight, this.bias ?? undefined);
  }
  protected override describe(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

/** Returns its input unchanged. */
export class Identity extends Module {
  static override readonly kind: string = "Identity";
  /** Returns x, which may have any shape. */
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments);
  }
}

/**
 * Merges dimensions startDim … endDim into one. The default merges all dimensions except the first: [batch, …] → [batch, size].
 */
export class Flatten extends Module {
  static override readonly kind: string = "Flatten";
  /** @param startDim the first dimension to merge, default 1 @param endDim the last dimension to merge, default -1 */
  constructor(
    /** The first dim to merge. */
    readonly startDim = 1,
    /** The last dim to merge. */
    readonly endDim = -1,
  ) {
    super();
    check("Flatten", arguments, "startDim?:number endDim?:number");
  }
  /**
   * Merges the dims. x: [batch, ...] → [batch, product of the rest] with the defaults.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).flatten(this.startDim, this.endDim);
  }
}

/**
 * In training, zeroes each element with probability p and scales the others by 1/(1 − p) (Srivastava et al. 2014). In evaluation,
 * returns its input. Any shape.
 * @throws RangeError if p is not between 0 and 1
 */
export class Dropout extends Module {
  static override readonly kind: string = "Dropout";
  /** @param p probability of dropping an element, between 0 and 1, default 0.5 */
  constructor(readonly p = 0.5) {
    super();
    check("Dropout", arguments, "p?:number");
    requireFraction("Dropout", { p });
  }
  /**
   * In training, sets elements to 0 with probability p and scales the rest by 1/(1 − p); otherwise returns x. x: any
   * shape → the same shape.
   */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    if (!this.training || this.p === 0) return x;
    return x.mul(ops.bernoulli(x.shape, 1 - this.p, this.p === 1 ? 0 : 1 / (1 - this.p)));
  }
}

/** max(0, x), for x of any shape. */
export class ReLU extends Module {
  static override readonly kind: string = "ReLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).relu();
  }
}
/** min(max(0, x), 6), for x of any shape. */
export class ReLU6 extends Module {
  static override readonly kind: string = "ReLU6";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardTanh(0, 6);
  }
}
/** Scaled ELU: λx where x > 0, else λα(eˣ − 1), for x of any shape (Klambauer et al. 2017). */
export class SELU extends Module {
  static override readonly kind: string = "SELU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).selu();
  }
}
/** x·σ(x), also called swish, for x of any shape. */
export class SiLU extends Module {
  static override readonly kind: string = "SiLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).silu();
  }
}
/** x·tanh(log(1 + eˣ)), for x of any shape (Misra 2019). */
export class Mish extends Module {
  static override readonly kind: string = "Mish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).mish();
  }
}
/** tanh x, for x of any shape. */
export class Tanh extends Module {
  static override readonly kind: string = "Tanh";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).tanh();
  }
}
/** σ(x) = 1/(1 + e⁻ˣ), for x of any shape. */
export class Sigmoid extends Module {
  static override readonly kind: string = "Sigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).sigmoid();
  }
}
/** log σ(x), for x of any shape. */
export class LogSigmoid extends Module {
  static override readonly kind: string = "LogSigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSigmoid();
  }
}
/** min(max(0, x/6 + ½), 1), for x of any shape. */
export class Hardsigmoid extends Module {
  static override readonly kind: string = "Hardsigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSigmoid();
  }
}
/** x·hardsigmoid(x), for x of any shape (Howard et al. 2019). */
export class Hardswish extends Module {
  static override readonly kind: string = "Hardswish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSwish();
  }
}

/** x where x > 0, else negativeSlope·x, for x of any shape. */
export class LeakyReLU extends Module {
  static override readonly kind: string = "LeakyReLU";
  /** @param negativeSlope the slope where x is negative, default 0.01 */
  constructor(readonly negativeSlope = 0.01) {
    super();
    check("LeakyReLU", arguments, "negativeSlope?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).leakyRelu(this.negativeSlope);
  }
}
/** x where x > 0, else alpha·(eˣ − 1), for x of any shape (Clevert et al. 2016). */
export class ELU extends Module {
  static override readonly kind: string = "ELU";
  /** @param alpha the negative of the limit at −∞, default 1 */
  constructor(readonly alpha = 1) {
    super();
    check("ELU", arguments, "alpha?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).elu(this.alpha);
  }
}
/** Options for GELU. */
export interface GELUOptions {
  /**
   * "none" computes Φ exactly, with erf; "tanh" uses the approximation ½x(1 + tanh(√(2/π)(x + 0.044715x³))). Default
   * "none".
   */
  approximate?: "none" | "tanh";
}

/** x·Φ(x), where Φ is the standard normal distribution function, for x of any shape (Hendrycks and Gimpel 2016). */
export class GELU extends Module {
  static override readonly kind: string = "GELU";
  constructor(
    /** The layer's options. */
    readonly options: GELUOptions = {},
  ) {
    super();
    check("GELU", arguments, "{approximate:string}");
    requireChoice("GELU", "approximate", options.approximate ?? "none", ["none", "tanh"]);
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).gelu(this.options);
  }
}
/** log(1 + e^(beta·x))/beta, for x of any shape. */
export class Softplus extends Module {
  static override readonly kind: string = "Softplus";
  /** @param beta sharpness, default 1 */
  constructor(readonly beta = 1) {
    super();
    check("Softplus", arguments, "beta?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softplus(this.beta);
  }
}
/** min(max(minVal, x), maxVal), for x of any shape. */
export class Hardtanh extends Module {
  static override readonly kind: string = "Hardtanh";
  /** @param minVal lower bound, default -1 @param maxVal upper bound, default 1 */
  constructor(
    /** The lower bound. */
    readonly minVal = -1,
    /** The upper bound. */
    readonly maxVal = 1,
  ) {
    super();
    check("Hardtanh", arguments, "minVal?:number maxVal?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardTanh(this.minVal, this.maxVal);
  }
}
/** eˣ/Σeˣ along `dim`, for x of any shape. */
export class Softmax extends Module {
  static override readonly kind: string = "Softmax";
  /** @param dim the dimension along which the results sum to 1, default -1 */
  constructor(readonly dim = -1) {
    super();
    check("Softmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softmax(this.dim);
  }
}
/** x − log Σeˣ along `dim`, for x of any shape. */
export class LogSoftmax extends Module {
  static override readonly kind: string = "LogSoftmax";
  /** @param dim the dimension of the classes, default -1 */
  constructor(readonly dim = -1) {
    super();
    check("LogSoftmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSoftmax(this.dim);
  }
}
