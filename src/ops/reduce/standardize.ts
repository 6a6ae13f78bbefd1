/** Batch normalization with known statistics, as in evaluation mode. */
import { type Activation, Op } from "../../../assembly/opcodes.ts";
import { encodeStandardize } from "../../runtime/instructions.ts";
import type { OpDefinition } from "../definition/op.ts";
import { requireType } from "../definition/value.ts";
import { mul, neg, sub } from "../pointwise/arithmetic.ts";

export interface StandardizeAttributes {
  /** At most Relu6. Only compile's passes set it, after all gradients have been recorded. */
  readonly activation: Activation;
}

/**
 * act((x − mean)·scale + shift) for x: [..., channels], and mean, scale and shift: [channels]. dx: dy·scale, dmean: −Σ dy·scale,
 * dscale: Σ dy·(x − mean), dshift: Σ dy.
 */
export const standardizeDefinition: OpDefinition<StandardizeAttributes> = {
  code: Op.Standardize,
  cost: 0.1,
  name: "standardize",
  saves: "input",
  inPlace: [0],
  infer(inputs) {
    for (const v of inputs) requireType("batchNorm", v, "float32");
    return [{ shape: inputs[0]!.shape, dtype: "float32" }];
  },
  flops: ([x]) => 3 * x!.size,
  encode(encoder, { inputs: [x, mean, scale, shift], outputs: [out], attributes, address }) {
    encodeStandardize(encoder, {
      out: address(out!),
      x: address(x!),
      mean: address(mean!),
      scale: address(scale!),
      shift: shift ? address(shift) : 0,
      activation: attributes.activation,
      pixels: mean!.size ? x!.size / mean!.size : 0,
      channels: mean!.size,
    });
  },
  vjp(dy, { inputs: [x, mean, scale, shift], needs }) {
    const dx = needs[0] || needs[1] ? mul(dy, scale!) : null;
    const byScale = needs[2] ? mul(dy, sub(x!, mean!)) : null;
    return [dx, needs[1] ? neg(dx!) : null, byScale, ...(shift ? [dy] : [])];
  },
};
