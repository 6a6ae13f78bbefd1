/** Unit vectors: draws random directions, and normalizes the samples of a batch. */
import { randn } from "../../core/creation.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Shape } from "../../ops/definition/value.ts";

/** Draws each sample uniformly from the unit sphere, using the generator that `manualSeed` seeds. */
export const onSphere = (shape: Shape): Tensor => unitRows(randn(shape));

/** Divides each sample by its length; a zero sample stays zero. Divides by the largest element first, so that no square underflows. */
export function unitRows(x: Tensor): Tensor {
  const flat = x.flatten(1);
  const largest = flat.abs().max(1, { keepdim: true });
  const scaled = flat.div(largest.where(largest.gt(0), 1));
  return scaled.div(scaled.square().sum(1, { keepdim: true }).sqrt().maximum(1)).reshape(x.shape);
}
