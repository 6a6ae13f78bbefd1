/** A trace's memory: tensors for the arguments, results and gradients of a recording, and their handles. */
import { withRecorder } from "../core/context.ts";
import { type GradientRule, Node } from "../core/graph.ts";
import { Storage } from "../core/memory.ts";
import { Tensor } from "../core/tensor.ts";
import type { DType, Shape } from "../ops/definition/value.ts";
import { moves } from "../ops/shape/move.ts";
import { TraceError } from "../runtime/errors.ts";
import type { Recording } from "./recording.ts";
import type { Operand, Step } from "./step.ts";

type Spec = { readonly shape: Shape; readonly dtype: DType };

const ignoreAll = { record() {}, guard() {}, gradient() {}, siteOf: () => "" };
/** A tensor without memory that stands for an argument. */
export const symbolFor = (x: Spec): Tensor =>
  withRecorder(ignoreAll, () => Tensor.allocate(x, "compile's argument").keep());

/** Another tensor with the same memory, for the caller of the compiled function. It is never disposed automatically. */
export const handleOf = (x: Tensor, shape = x.shape): Tensor =>
  Tensor.wrap(x.storage("compile").retain(), { shape, dtype: x.dtype }, null, "compile").keep();

/** Gradients do not flow through the results of a compiled function. */
const barrier: GradientRule = {
  name: "compile",
  vjp() {
    throw new TraceError(
      "backward: gradients do not flow through the results of a compiled function. Differentiate inside it and return the gradients.",
    );
  },
};

/** Like handleOf, but `backward` through the tensor throws. */
export function barrierHandleOf(x: Tensor, shape: Shape): Tensor {
  const handle = handleOf(x, shape);
  // A node needs an input that requires a gradient. Setting requiresGrad on x is safe, because users cannot reach x.
  x.requiresGrad = true;
  return handle.attach(new Node<Tensor>(barrier, null, [x], [x], [handle]));
}

export class TraceMemory {
  /** Steps that copy returned arguments and constants to the memory of the results. */
  readonly copies: Step[] = [];
  private readonly tensors: Tensor[] = [];
  private readonly places = new Map<Storage, Tensor>();
  private readonly argumentStorages = new Set<Storage>();

  constructor(private readonly recording: Recording<unknown>) {}

  /** Allocates a tensor for each symbolic argument. */
  addInputs(symbols: readonly Tensor[]): Tensor[] {
    return symbols.map((x) => {
      const storage = x.storage("compile");
      const input = this.allocate(x);
      this.argumentStorages.add(storage);
      this.places.set(storage, input);
      return input;
    });
  }

  private allocate(x: Spec): Tensor {
    const tensor = withRecorder(null, () => Tensor.allocate(x, "compile").keep());
    this.tensors.push(tensor);
    return tensor;
  }

  /** Whether the function made this result; otherwise the result is a tensor from outside. */
  isMade(x: Tensor): boolean {
    const storage = this.recording.storageOf.get(x)!;
    return storage.symbolic || this.isConstant(storage, x);
  }
  private isConstant(storage: Storage, x: Tensor): boolean {
    return !storage.symbolic && this.recording.isOwn(storage) && !x.isKept;
  }

  /** The memory of a result or gradient. Arguments and constants are copied, because later calls or the caller may overwrite them. */
  placeFor(x: Tensor): Tensor {
    const storage = this.recording.storageOf.get(x)!;
    if (this.argumentStorages.has(storage) || this.isConstant(storage, x)) return this.addCopy(x, storage);
    const known = this.places.get(storage);
    if (known) return known;
    const place = this.allocate(x);
    this.places.set(storage, place);
    return place;
  }

  private addCopy(x: Tensor, from: Storage): Tensor {
    const copy = this.allocate(x);
    const storage = new Storage(from.bytes, true);
    this.places.set(storage, copy);
    const to: Operand = { storage, shape: x.shape, dtype: x.dtype, size: x.size };
    const inputs = [to, { ...to, storage: from }];
    this.copies.push({ op: moves.assign, inputs, outputs: [], attributes: null, site: "" });
    return copy;
  }

  /** Maps each symbolic storage to its real storage. */
  get real(): Map<Storage, Storage> {
    return new Map(Array.from(this.places, ([storage, x]) => [storage, x.storage("compile")]));
  }

  dispose(): void {
    for (const x of this.tensors) x.dispose();
  }
}
