/** A page that only multiplies matrices and computes gradients. */
import { tensor } from "nabla";

// biome-ignore format: matrices
function run() {
  const a = tensor([[1, 2], [3, 4]], { requiresGrad: true });
  const product = a.matmul(tensor([[1], [1]]));
  product.sum().backward();
  return { product: product.toArray(), gradient: a.grad.toArray() };
}

Object.assign(globalThis, { run });
