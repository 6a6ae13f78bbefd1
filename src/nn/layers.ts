/** Layers without structure of their own: linear, dropout, flatten, activations. Names, arguments and defaults are PyTorch's. */

import { zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireFraction, requireWhole } from "../runtime/errors.ts";
import * as init from "./init.ts";
import { inputOf, Module, parameter } from "./module.ts";

/**
 * y = x·Wᵀ + b. x: [..., inFeatures] → [..., outFeatures]; weight: [outFeatures, inFeatures], bias: [outFeatures].
 * Both start uniform in ±1/√inFeatures.
 */
export class Linear extends Module {
  static override readonly kind: string = "Linear";
  /** The weight, [outFeatures, inFeatures]. */
  readonly weight: Tensor;
  /** The bias, [outFeatures]; null without bias. */
  readonly bias: Tensor | null;

  constructor(
    /** The last size of the input. */
    readonly inFeatures: number,
    /** The last size of the result. */
    readonly outFeatures: number,
    options: {
      /** Add a trainable bias. Default true. */
      bias?: boolean;
    } = {},
  ) {
    super();
    check("Linear", arguments, "inFeatures:number outFeatures:number {bias:boolean}");
    const { bias = true } = options;
    requireWhole("Linear", { inFeatures, outFeatures });
    this.weight = parameter(init.kaimingUniform(zeros([outFeatures, inFeatures]), { a: Math.sqrt(5) }), this);
    const bound = 1 / Math.sqrt(inFeatures);
    this.bias = bias ? parameter(init.uniform(zeros([outFeatures]), -bound, bound), this) : null;
  }
  /**
   * x·wᵀ + bias. x: [..., inFeatures] → [..., outFeatures].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.linear(inputOf(this, x, arguments), this.weight, this.bias ?? undefined);
  }
  protected override describe(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

/** Returns what it gets. */
export class Identity extends Module {
  static override readonly kind: string = "Identity";
  /** Returns x, of any shape. */
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments);
  }
}

/** Dimensions startDim … endDim as one; by default all but the batch. */
export class Flatten extends Module {
  static override readonly kind: string = "Flatten";
  constructor(
    /** The first dim that is joined. */
    readonly startDim = 1,
    /** The last dim that is joined. */
    readonly endDim = -1,
  ) {
    super();
    check("Flatten", arguments, "startDim?:number endDim?:number");
  }
  /**
   * Joins the dims. x: [batch, ...] → [batch, product of the rest] with the defaults.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).flatten(this.startDim, this.endDim);
  }
}

/** In training, each element is 0 with probability p and scaled by 1/(1 − p) otherwise (Srivastava et al. 2014). */
export class Dropout extends Module {
  static override readonly kind: string = "Dropout";
  constructor(/** The probability that an element becomes 0. */ readonly p = 0.5) {
    super();
    check("Dropout", arguments, "p?:number");
    requireFraction("Dropout", { p });
  }
  /**
   * In training, sets elements to 0 with probability p and scales the rest by 1/(1 − p); else returns x. x: any
   * shape → the same shape.
   */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    if (!this.training || this.p === 0) return x;
    return x.mul(ops.bernoulli(x.shape, 1 - this.p, this.p === 1 ? 0 : 1 / (1 - this.p)));
  }
}

/** max(x, 0), element by element. */
export class ReLU extends Module {
  static override readonly kind: string = "ReLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).relu();
  }
}
/** min(max(x, 0), 6), element by element. */
export class ReLU6 extends Module {
  static override readonly kind: string = "ReLU6";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardTanh(0, 6);
  }
}
/** Self-normalizing units: λx above 0, else λα(eˣ − 1) (Klambauer et al. 2017). */
export class SELU extends Module {
  static override readonly kind: string = "SELU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).selu();
  }
}
/** x·σ(x), also called swish. */
export class SiLU extends Module {
  static override readonly kind: string = "SiLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).silu();
  }
}
/** x·tanh(softplus(x)) (Misra 2019). */
export class Mish extends Module {
  static override readonly kind: string = "Mish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).mish();
  }
}
/** tanh x, element by element. */
export class Tanh extends Module {
  static override readonly kind: string = "Tanh";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).tanh();
  }
}
/** σ(x) = 1/(1 + e⁻ˣ), element by element. */
export class Sigmoid extends Module {
  static override readonly kind: string = "Sigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).sigmoid();
  }
}
/** log σ(x), without overflow. */
export class LogSigmoid extends Module {
  static override readonly kind: string = "LogSigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSigmoid();
  }
}
/** min(max(x + 3, 0), 6)/6: a sigmoid of straight lines. */
export class Hardsigmoid extends Module {
  static override readonly kind: string = "Hardsigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSigmoid();
  }
}
/** x·min(max(x + 3, 0), 6)/6 (Howard et al. 2019). */
export class Hardswish extends Module {
  static override readonly kind: string = "Hardswish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSwish();
  }
}

/** x above 0, else negativeSlope·x. */
export class LeakyReLU extends Module {
  static override readonly kind: string = "LeakyReLU";
  constructor(/** The factor of negative elements. */ readonly negativeSlope = 0.01) {
    super();
    check("LeakyReLU", arguments, "negativeSlope?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).leakyRelu(this.negativeSlope);
  }
}
/** x above 0, else α(eˣ − 1). */
export class ELU extends Module {
  static override readonly kind: string = "ELU";
  constructor(/** α: large negative elements approach −α. */ readonly alpha = 1) {
    super();
    check("ELU", arguments, "alpha?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).elu(this.alpha);
  }
}
/** x·Φ(x), or its approximation by tanh (Hendrycks and Gimpel 2016). */
export class GELU extends Module {
  static override readonly kind: string = "GELU";
  constructor(
    /** The options given. */
    readonly options: {
      /** "none" for x·Φ(x), or "tanh" for the approximation. Default "none". */
      approximate?: "none" | "tanh";
    } = {},
  ) {
    super();
    check("GELU", arguments, "{approximate:string}");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).gelu(this.options);
  }
}
/** log(1 + e^(βx))/β, a smooth ReLU. */
export class Softplus extends Module {
  static override readonly kind: string = "Softplus";
  constructor(/** β, which sharpens the bend. */ readonly beta = 1) {
    super();
    check("Softplus", arguments, "beta?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softplus(this.beta);
  }
}
/** min(max(x, minVal), maxVal). */
export class Hardtanh extends Module {
  static override readonly kind: string = "Hardtanh";
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
/** eˣ / Σ eˣ along a dim: positive, and adds up to 1. */
export class Softmax extends Module {
  static override readonly kind: string = "Softmax";
  constructor(/** The dim whose elements add up to 1. */ readonly dim = -1) {
    super();
    check("Softmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softmax(this.dim);
  }
}
/** The logarithm of the softmax along a dim. */
export class LogSoftmax extends Module {
  static override readonly kind: string = "LogSoftmax";
  constructor(/** The dim whose probabilities add up to 1. */ readonly dim = -1) {
    super();
    check("LogSoftmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSoftmax(this.dim);
  }
}
