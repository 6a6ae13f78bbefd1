/** The logistic loss of a logit and a probability, and its derivative. Losses use them; neither is public. */
import { Op } from "../../../assembly/opcodes.ts";
import { sigmoid } from "./activation.ts";
import { mul, neg } from "./arithmetic.ts";
import { binary } from "./pointwise.ts";

/** −t·log σ(x) − (1 − t)·log σ(−x), where 0·∞ = 0. Derivatives σ(x) − t, −x. */
export const logisticLoss = binary({
  code: Op.LogisticLoss,
  cost: 1,
  name: "logisticLoss",
  saves: "input",
  vjp: (dy, { a: x, b: t, needs }) => [
    needs[0] ? mul(dy, logisticSlope(x, t)) : null,
    needs[1] ? neg(mul(dy, x)) : null,
  ],
});

/**
 * σ(x) − t, computed as 1 − t − σ(−x) where x > 0, so that no digits cancel where t is 0 or 1. Derivatives σ(x)·σ(−x),
 * −1.
 */
export const logisticSlope = binary({
  code: Op.LogisticSlope,
  cost: 1,
  name: "logisticSlope",
  saves: "input",
  vjp: (dy, { a: x, needs }) => [
    needs[0] ? mul(dy, mul(sigmoid(x), sigmoid(neg(x)))) : null,
    needs[1] ? neg(dy) : null,
  ],
});
