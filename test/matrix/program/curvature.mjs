/** Computes the largest curvature of a landscape, which is 100. This works only if nabla and nabla/gradients share one engine. */
import { dispose, tensor } from "nabla";
import { hessianExtremes, objective } from "nabla/gradients";

export async function curvature() {
  const landscape = objective((theta) => theta.square().dot(tensor([50, 0.5])), [1, 1]);
  const [{ value }] = hessianExtremes(landscape).largest;
  await dispose();
  return Math.round(value);
}
