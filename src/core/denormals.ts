/** Keeps decaying state from becoming denormal, because arithmetic on denormal numbers is several times slower. */
import type { Tensor } from "./tensor.ts";

/** A number far below any value that matters in a model's state. */
const LEAST = 2 ** -100;

/** Moves x towards 0 by at most 2⁻¹⁰⁰: smaller magnitudes become 0, and magnitudes above 2⁻⁷⁵ do not change. */
export const flushDenormals = (x: Tensor): Tensor => x.sub(x.clamp(-LEAST, LEAST));
