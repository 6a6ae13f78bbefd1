import { grad, hvp, type Tensor, tensor } from "nabla";
import { expect, test } from "vitest";

const loss = (theta: Tensor) =>
  theta
    .dot(tensor([3, 1]))
    .sub(8)
    .square()
    .mul(0.5);

test("the article's first example: the gradient is (−12, −4), the Hessian's first column (9, 3)", () => {
  expect(grad(loss)(tensor([1, 1])).toArray()).toEqual([-12, -4]);
  expect(hvp(loss, tensor([1, 1]), tensor([1, 0])).toArray()).toEqual([9, 3]);
});
