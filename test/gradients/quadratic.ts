import type { Potential } from "../../src/gradients/dynamics/flow.ts";

/** L = ½·Σ hᵢθᵢ². */
export const quadratic = (h: readonly number[]): Potential => ({ gradient: (theta) => theta.map((x, i) => h[i]! * x) });
