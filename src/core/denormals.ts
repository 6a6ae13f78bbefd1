/** Keeps decaying state out of the denormal numbers, which slow processors down several times. */
import type { Tensor } from "./tensor.ts";

/** A number far below the values in the state of a working model. */
const LEAST = 2 ** -100;

/** Moves x towards 0 by at most 2⁻¹⁰⁰: values below become 0, and values above 2⁻⁷⁵ do not change. */
export const flushDenormals = (x: Tensor): Tensor => x.sub(x.clamp(-LEAST, LEAST));
