/** The spectral norm of a weight. */

import type { Tensor } from "../../core/tensor.ts";
import { show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { lanczos } from "../math/eigen.ts";
import { type Vector, vector } from "../math/vector.ts";

/**
 * The spectral norm ‖W‖₂ of a weight [out, …], viewed as a matrix [out, rest]: the square root of the largest
 * eigenvalue of WᵀW, by Lanczos.
 * @throws ShapeError if a value is not finite
 */
export function spectralNorm(weight: Tensor): number {
  check("spectralNorm", arguments, "weight:tensor");
  const rows = weight.shape[0] ?? 1;
  const w = vector(weight.data);
  if (!w.every(Number.isFinite))
    throw new ShapeError(
      `spectralNorm: the weight must be finite, but ${show(weight.shape)} contains NaN or infinities.`,
    );
  const columns = w.length / rows;
  const product = (v: Vector): Vector => {
    const y = new Float64Array(rows);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) y[i]! += w[i * columns + j]! * v[j]!;
    const back = new Float64Array(columns);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) back[j]! += w[i * columns + j]! * y[i]!;
    return back;
  };
  if (w.every((v) => v === 0)) return 0;
  return Math.sqrt(lanczos(product, columns, { tolerance: 1e-9 }).values.at(-1)!);
}
