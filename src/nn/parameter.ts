/** Parameters: the tensors that modules learn; and a warning for those that no optimizer can know of. */
import { installLeafCheck } from "../autograd/backward.ts";
import type { Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { kindOf } from "../runtime/kinds.ts";

const parameters = new WeakSet<Tensor>();

/** The parameters that no list has held so far, and the layers that made them. */
const unlisted = new WeakMap<Tensor, object | null>();
/** Whether there was any list. Without one nothing was meant to be trained through a list. */
let anyList = false;

/** Marks a tensor as one to be learnt: it requires gradients, and outlives the scope it is made in. */
export function parameter(x: Tensor): Tensor;
/** @param owner the layer that makes it @internal */
export function parameter(x: Tensor, owner: object): Tensor;
export function parameter(x: Tensor, owner: object | null = null): Tensor {
  check("parameter", arguments, "x:tensor owner?:module");
  x.requiresGrad = true;
  parameters.add(x);
  unlisted.set(x, owner);
  installLeafCheck(warnOfUnlisted);
  return x.keep();
}

/** Whether a tensor of a module is learnt: parameters, frozen ones too, and leaves that require gradients. */
export function isParameter(x: Tensor): boolean {
  if (parameters.has(x)) return true;
  if (x.edge !== x) return false;
  // It stays one if it is frozen later.
  parameters.add(x);
  return true;
}

/** Notes that tensors were listed for an optimizer or a file. */
export function markListed(tensors: Iterable<Tensor>): void {
  anyList = true;
  for (const x of tensors) unlisted.delete(x);
}

/** Warns of parameters that received a gradient though no list holds them: each once. */
function warnOfUnlisted(leaves: Iterable<unknown>): void {
  if (!anyList) return;
  const found: Tensor[] = [];
  for (const leaf of leaves) if (unlisted.has(leaf as Tensor)) found.push(leaf as Tensor);
  const [first] = found;
  if (!first) return;
  const owner = unlisted.get(first);
  for (const x of found) unlisted.delete(x);
  const name = owner && Object.entries(owner).find(([, value]) => value === first)?.[0];
  const more = found.length > 1 ? ` (nor ${found.length - 1} more that received gradients)` : "";
  console.warn(
    `nabla: a ${owner ? kindOf(owner) : "parameter"} ${show(first.shape)} received a gradient, but no parameters() call has returned its ` +
      `${name ?? "tensor"}${more}, so no optimizer trains it. A module cannot see #private fields or instances of other classes: ` +
      "assign the layer to a public property.",
  );
}
