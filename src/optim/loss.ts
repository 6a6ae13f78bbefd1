/** Checks the losses that `minimize` receives. */

import { rejectOtherCopy } from "../core/copies.ts";
import { requireSynchronous } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { Error, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";

/**
 * Checks the result of a loss function.
 * @returns the result
 * @throws TypeError if the result is not a tensor; ShapeError if it does not have exactly one element; Error if it does not
 * require a gradient
 */
export function requireLoss(name: string, value: unknown): Tensor {
  requireSynchronous(name, value);
  if (value === undefined)
    throw new TypeError(`${name}: the function returned nothing. Return the loss from the function.`);
  rejectOtherCopy(name, "the loss", value);
  if (!(value instanceof Tensor))
    throw new TypeError(
      `${name}: the loss must be a tensor, got ${describe(value)}. ` +
        (typeof value === "number"
          ? "Return the loss tensor itself, without item() or toArray()."
          : "Return only the loss; keep() other results in outer variables."),
    );
  if (value.size !== 1)
    throw new ShapeError(
      `${name}: the loss is ${show(value.shape)}, not a single number. Reduce it with mean() or sum().`,
    );
  if (!value.requiresGrad)
    throw new Error(
      `${name}: the loss depends on nothing that requires a gradient. Compute it from the model's parameters, outside noGrad and without detach() or item().`,
    );
  return value;
}
