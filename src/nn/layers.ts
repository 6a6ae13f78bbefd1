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
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: { bias?: boolean } = {},
  ) {
    super();
    check("Linear", arguments, "inFeatures:number outFeatures:number {bias:boolean}");
    const { bias = true } = options;
    requireWhole("Linear", { inFeatures, outFeatures });
    this.weight = parameter(init.kaimingUniform(zeros([outFeatures, inFeatures]), { a: Math.sqrt(5) }), this);
    const bound = 1 / Math.sqrt(inFeatures);
    this.bias = bias ? parameter(init.uniform(zeros([outFeatures]), -bound, bound), this) : null;
  }
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
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments);
  }
}

/** Dimensions startDim … endDim as one; by default all but the batch. */
export class Flatten extends Module {
  static override readonly kind: string = "Flatten";
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super();
    check("Flatten", arguments, "startDim?:number endDim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).flatten(this.startDim, this.endDim);
  }
}

/** In training, each element is 0 with probability p and scaled by 1/(1 − p) otherwise (Srivastava et al. 2014). */
export class Dropout extends Module {
  static override readonly kind: string = "Dropout";
  constructor(readonly p = 0.5) {
    super();
    check("Dropout", arguments, "p?:number");
    requireFraction("Dropout", { p });
  }
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    if (!this.training || this.p === 0) return x;
    return x.mul(ops.bernoulli(x.shape, 1 - this.p, this.p === 1 ? 0 : 1 / (1 - this.p)));
  }
}

export class ReLU extends Module {
  static override readonly kind: string = "ReLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).relu();
  }
}
export class ReLU6 extends Module {
  static override readonly kind: string = "ReLU6";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardTanh(0, 6);
  }
}
export class SELU extends Module {
  static override readonly kind: string = "SELU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).selu();
  }
}
export class SiLU extends Module {
  static override readonly kind: string = "SiLU";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).silu();
  }
}
export class Mish extends Module {
  static override readonly kind: string = "Mish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).mish();
  }
}
export class Tanh extends Module {
  static override readonly kind: string = "Tanh";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).tanh();
  }
}
export class Sigmoid extends Module {
  static override readonly kind: string = "Sigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).sigmoid();
  }
}
export class LogSigmoid extends Module {
  static override readonly kind: string = "LogSigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSigmoid();
  }
}
export class Hardsigmoid extends Module {
  static override readonly kind: string = "Hardsigmoid";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSigmoid();
  }
}
export class Hardswish extends Module {
  static override readonly kind: string = "Hardswish";
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardSwish();
  }
}

export class LeakyReLU extends Module {
  static override readonly kind: string = "LeakyReLU";
  constructor(readonly negativeSlope = 0.01) {
    super();
    check("LeakyReLU", arguments, "negativeSlope?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).leakyRelu(this.negativeSlope);
  }
}
export class ELU extends Module {
  static override readonly kind: string = "ELU";
  constructor(readonly alpha = 1) {
    super();
    check("ELU", arguments, "alpha?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).elu(this.alpha);
  }
}
export class GELU extends Module {
  static override readonly kind: string = "GELU";
  constructor(readonly options: { approximate?: "none" | "tanh" } = {}) {
    super();
    check("GELU", arguments, "{approximate:string}");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).gelu(this.options);
  }
}
export class Softplus extends Module {
  static override readonly kind: string = "Softplus";
  constructor(readonly beta = 1) {
    super();
    check("Softplus", arguments, "beta?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softplus(this.beta);
  }
}
export class Hardtanh extends Module {
  static override readonly kind: string = "Hardtanh";
  constructor(
    readonly minVal = -1,
    readonly maxVal = 1,
  ) {
    super();
    check("Hardtanh", arguments, "minVal?:number maxVal?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).hardTanh(this.minVal, this.maxVal);
  }
}
export class Softmax extends Module {
  static override readonly kind: string = "Softmax";
  constructor(readonly dim = -1) {
    super();
    check("Softmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).softmax(this.dim);
  }
}
export class LogSoftmax extends Module {
  static override readonly kind: string = "LogSoftmax";
  constructor(readonly dim = -1) {
    super();
    check("LogSoftmax", arguments, "dim?:number");
  }
  forward(x: Tensor): Tensor {
    return inputOf(this, x, arguments).logSoftmax(this.dim);
  }
}
