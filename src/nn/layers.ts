/** Layers without structure of their own: linear, dropout, flatten, activations. Names, arguments and defaults are PyTorch's. */

import { zeros } from "../creation.ts";
import * as ops from "../functions.ts";
import { requireFraction, requireWhole } from "../runtime/errors.ts";
import type { Tensor } from "../tensor.ts";
import * as init from "./init.ts";
import { Module, parameter } from "./module.ts";

/**
 * y = x·Wᵀ + b. x: [..., inFeatures] → [..., outFeatures]; weight: [outFeatures, inFeatures], bias: [outFeatures].
 * Both start uniform in ±1/√inFeatures.
 */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    { bias = true }: { bias?: boolean } = {},
  ) {
    super();
    requireWhole("Linear", { inFeatures, outFeatures });
    this.weight = parameter(
      init.kaimingUniform(zeros([outFeatures, inFeatures]), {
        a: Math.sqrt(5),
      }),
    );
    const bound = 1 / Math.sqrt(inFeatures);
    this.bias = bias ? parameter(init.uniform(zeros([outFeatures]), -bound, bound)) : null;
  }
  forward(x: Tensor): Tensor {
    return ops.linear(x, this.weight, this.bias ?? undefined);
  }
  protected override describe(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

/** Returns what it gets. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}

/** Dimensions startDim … endDim as one; by default all but the batch. */
export class Flatten extends Module {
  constructor(
    readonly startDim = 1,
    readonly endDim = -1,
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.flatten(this.startDim, this.endDim);
  }
}

/** In training, each element is 0 with probability p and scaled by 1/(1 − p) otherwise (Srivastava et al. 2014). */
export class Dropout extends Module {
  constructor(readonly p = 0.5) {
    super();
    requireFraction("Dropout", { p });
  }
  forward(x: Tensor): Tensor {
    if (!this.training || this.p === 0) return x;
    return x.mul(ops.bernoulli(x.shape, 1 - this.p, this.p === 1 ? 0 : 1 / (1 - this.p)));
  }
}

export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}
export class ReLU6 extends Module {
  forward(x: Tensor): Tensor {
    return x.hardTanh(0, 6);
  }
}
export class SELU extends Module {
  forward(x: Tensor): Tensor {
    return x.selu();
  }
}
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return x.silu();
  }
}
export class Mish extends Module {
  forward(x: Tensor): Tensor {
    return x.mish();
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}
export class LogSigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.logSigmoid();
  }
}
export class Hardsigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.hardSigmoid();
  }
}
export class Hardswish extends Module {
  forward(x: Tensor): Tensor {
    return x.hardSwish();
  }
}

export class LeakyReLU extends Module {
  constructor(readonly negativeSlope = 0.01) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.leakyRelu(this.negativeSlope);
  }
}
export class ELU extends Module {
  constructor(readonly alpha = 1) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.elu(this.alpha);
  }
}
export class GELU extends Module {
  constructor(readonly options: { approximate?: "none" | "tanh" } = {}) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.gelu(this.options);
  }
}
export class Softplus extends Module {
  constructor(readonly beta = 1) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.softplus(this.beta);
  }
}
export class Hardtanh extends Module {
  constructor(
    readonly minVal = -1,
    readonly maxVal = 1,
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.hardTanh(this.minVal, this.maxVal);
  }
}
export class Softmax extends Module {
  constructor(readonly dim = -1) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.softmax(this.dim);
  }
}
export class LogSoftmax extends Module {
  constructor(readonly dim = -1) {
    super();
  }
  forward(x: Tensor): Tensor {
    return x.logSoftmax(this.dim);
  }
}
