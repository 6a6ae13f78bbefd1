/** Keeps state that decays out of denormal numbers, which make processors several times slower. */
import type { Tensor } from "./tensor.ts";

/** Far below what the state of a model in use holds. */
const LEAST = 2 ** -100;

/** x moved towards 0 by at most 2⁻¹⁰⁰, which changes nothing above 2⁻⁷⁵: what is less becomes 0. */
export const flushDenormals = (x: Tensor): Tensor => x.sub(x.clamp(-LEAST, LEAST));
