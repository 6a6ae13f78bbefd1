/** Directions: the samples of a batch as vectors of length 1. */
import { randn } from "../../core/creation.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Shape } from "../../ops/definition/value.ts";

/** Each sample uniform on the unit sphere of its elements, by manualSeed's generator. */
export const onSphere = (shape: Shape): Tensor => unitRows(randn(shape));

/** Each sample divided by its length; zero stays zero. The largest element comes first, so that no square is lost to underflow. */
export function unitRows(x: Tensor): Tensor {
  const flat = x.flatten(1);
  const largest = flat.abs().max(1, { keepdim: true });
  const scaled = flat.div(largest.where(largest.gt(0), 1));
  return scaled.div(scaled.square().sum(1, { keepdim: true }).sqrt().maximum(1)).reshape(x.shape);
}
