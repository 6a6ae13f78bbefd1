// Computes the gradient of a loss, and a product of its Hessian with a vector.
import { grad, hvp, type Tensor, tensor } from "nabla";

const loss = (theta: Tensor) =>
  theta
    .dot(tensor([3, 1]))
    .sub(8)
    .square()
    .mul(0.5);
grad(loss)(tensor([1, 1])).toArray(); // [-12, -4]
hvp(loss, tensor([1, 1]), tensor([1, 0])).toArray(); // [9, 3]
