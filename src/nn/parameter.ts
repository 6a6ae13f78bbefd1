/**
 * Parameters: tensors that training changes. This file warns about parameters that receive gradients but are in no list that an
 * optimizer could use.
 */

import { installLeafCheck } from "../autograd/backward.ts";
import type { Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { kindOf } from "../runtime/kinds.ts";

const parameters = new WeakSet<Tensor>();

/** Parameters that no `parameters()` call or state dict has returned yet, with the layers that created them. */
const unlisted = new WeakMap<Tensor, object | null>();
/**
 * Whether any parameters have been listed. If not, the program does not train with listed parameters, so a warning would be
 * wrong.
 */
let anyList = false;

/**
 * Marks a tensor of any shape as a parameter: it requires gradients, modules list it, and it outlives the scope in which it
 * is created.
 * @returns x
 */
export function parameter(x: Tensor): Tensor;
/** @param owner the layer that creates the parameter @internal */
export function parameter(x: Tensor, owner: object): Tensor;
export function parameter(x: Tensor, owner: object | null = null): Tensor {
  check("parameter", arguments, "x:tensor owner?:module");
  x.requiresGrad = true;
  parameters.add(x);
  unlisted.set(x, owner);
  installLeafCheck(warnOfUnlisted);
  return x.keep();
}

/**
 * Whether this tensor is a module's parameter: true for parameters, even frozen ones, and for leaves that require
 * gradients.
 */
export function isParameter(x: Tensor): boolean {
  if (parameters.has(x)) return true;
  if (x.edge !== x) return false;
  // Remember the tensor, so that it remains a parameter if it is frozen later.
  parameters.add(x);
  return true;
}

/** Marks tensors as listed: an optimizer or a file now has them. */
export function markListed(tensors: Iterable<Tensor>): void {
  anyList = true;
  for (const x of tensors) unlisted.delete(x);
}

/** Warns once about each parameter that received a gradient but was never listed. */
function warnOfUnlisted(leaves: Iterable<unknown>): void {
  if (!anyList) return;
  const found: Tensor[] = [];
  for (const leaf of leaves) if (unlisted.has(leaf as Tensor)) found.push(leaf as Tensor);
  const [first] = found;
  if (!first) return;
  const owner = unlisted.get(first);
  for (const x of found) unlisted.delete(x);
  const name = owner && Object.entries(owner).find(([, value]) => value === first)?.[0];
  const more = found.length > 1 ? ` (nor ${found.length - 1} more with gradients)` : "";
  console.warn(
    `nabla: ${name ?? "a parameter"} ${show(first.shape)}${owner ? ` of ${kindOf(owner)}` : ""} received a gradient, but no parameters() ` +
      `call has returned it${more}, so no optimizer trains it. Pass its model's parameters() to the ` +
      "optimizer. A module cannot see #private fields or instances of other classes: assign layers to public properties.",
  );
}
