/** Tensor: an array in linear memory with a shape and a place in the autograd graph. */
/// <reference lib="esnext.disposable" preserve="true" />

import {
  allToDType,
  bytesPerElement,
  type DType,
  fingerprint,
  requireDType,
  requireShape,
  type Shape,
  type Spec,
  show,
  sizeOf,
  type Value,
} from "../ops/definition/value.ts";
import type { Methods } from "../ops/methods.ts";
import { assign } from "../ops/shape/shape.ts";
import { checkNone } from "../runtime/arguments.ts";
import { engine } from "../runtime/engine.ts";
import { DTypeError, Error, ShapeError, TraceError, TypeError } from "../runtime/errors.ts";
import { installTensorChecks, requireKind } from "../runtime/kinds.ts";
import { context, withGrad, withRecorder } from "./context.ts";
import { isFromOtherCopy, registerCopy, rejectOtherCopy } from "./copies.ts";
import {
  cannotBeCloned,
  changedShapeError,
  disposedError,
  elementsAt,
  noValueError,
  operatorError,
  requireNoIndices,
  type TypedArray,
} from "./elements.ts";
import { currentGradient, denseGradient, type Gradient, replaceGradient } from "./gradient.ts";
import { type Edge as GraphEdge, Node as GraphNode, reshapeRule } from "./graph.ts";
import { type Handle, newHandle } from "./handle.ts";
import { epoch, isJournaling, journalWrite, Storage, tick } from "./memory.ts";
import { attachMethods } from "./methods.ts";
import { adopt, adoptKept, freeHandle, runInternal } from "./owners.ts";
import { formatTensor, type NestedArray, nest } from "./printing.ts";

/** @internal */
export type Node = GraphNode<Tensor>;
/** @internal */
export type Edge = GraphEdge<Tensor>;

/** Options for Tensor.backward. */
export interface BackwardOptions {
  /** The gradient with respect to this tensor, of the same shape. Default 1, for tensors with one element. */
  readonly gradient?: Tensor;
  /** Keep the graph, so that backward can be called again. Default: the value of createGraph. */
  readonly retainGraph?: boolean;
  /** Record the gradients for autograd, so that they can be differentiated. Default false. */
  readonly createGraph?: boolean;
}

// These are the types of the methods that are attached to the prototype below.
export interface Tensor extends Methods<Tensor> {
  /**
   * For every leaf p that this tensor depends on, adds the gradient with respect to p to `p.grad`.
   *
   * ```ts
   * x.requiresGrad = true;
   * x.square().sum().backward();
   * x.grad;                    // 2x
   * ```
   * @throws ShapeError if no gradient is given and the tensor does not have exactly one element
   * @throws Error if no input requires a gradient
   */
  backward(options?: BackwardOptions): void;
}

/**
 * An array of numbers in linear memory: contiguous and row-major. Its elements change only through methods that are
 * documented to write in place, such as `copyFrom` and an optimizer's step.
 *
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.mul(2).sum().item();      // 20
 * ```
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: see above
export class Tensor implements Value {
  /** The size of each dimension. */
  readonly shape: Shape;
  /** The element type. */
  readonly dtype: DType;
  /** The number of elements. */
  readonly size: number;
  /** @internal */
  readonly handle: Handle<Node>;
  private leaf = false;
  private ownGradient: Gradient<Tensor> | null = null;
  /** A fingerprint of the shape, to detect whether a caller changed the shape. */
  private readonly shapeFingerprint: number;
  /** structuredClone and postMessage reject objects that hold a function, and show its source. @internal */
  readonly refusal = cannotBeCloned;

  private constructor(spec: Spec, storage: Storage, node: Node | null, op: string) {
    if (!op) throw new TypeError("Tensor: new Tensor(…) is internal. Use tensor(values).");
    this.shape = spec.shape;
    this.dtype = spec.dtype;
    this.size = sizeOf(spec.shape);
    this.shapeFingerprint = fingerprint(spec.shape);
    this.handle = newHandle(storage, node, op);
    adopt(this);
  }

  /** Makes a tensor with new, uninitialized memory. @internal */
  static allocate(spec: Spec, op: string): Tensor {
    requireDType(op, spec.dtype);
    requireShape(op, spec.shape);
    const storage = new Storage(sizeOf(spec.shape) * bytesPerElement[spec.dtype], context.recorder !== null);
    return new Tensor({ shape: [...spec.shape], dtype: spec.dtype }, storage, null, op);
  }

  /** Makes a tensor from a storage that is already retained for it, at an edge of the graph. @internal */
  static wrap(storage: Storage, spec: Spec, edge: Edge | null, op = "alias"): Tensor {
    // A leaf must stay the same object, so that its gradient is assigned to the object whose .grad users read.
    if (edge instanceof Tensor && edge.handle.storage === storage && edge.shape === spec.shape) {
      storage.release();
      return edge;
    }
    const tensor = new Tensor(spec, storage, edge instanceof GraphNode ? edge.retain() : null, op);
    if (edge instanceof Tensor) tensor.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [tensor], []));
    return tensor;
  }

  /** Returns the tensor's memory, for an op that is about to use it. @throws DisposedError @internal */
  storage(op: string): Storage {
    const { storage } = this.handle;
    if (storage?.use()) return storage;
    throw disposedError(op, this, this.handle);
  }

  /** Like `storage`, but also checks that the shape was not modified. @throws DisposedError, Error @internal */
  intact(op: string): Storage {
    this.requireIntact(op);
    return this.storage(op);
  }
  private requireIntact(op: string): void {
    if (fingerprint(this.shape) !== this.shapeFingerprint) throw changedShapeError(op, this);
  }

  /** Makes this tensor the output of a node, and takes ownership of the caller's reference to the node. @internal */
  attach(node: Node): this {
    this.handle.node = node;
    return this;
  }

  /** The destination of its gradient: its node, the tensor itself if it is a leaf, or null. @internal */
  get edge(): Edge | null {
    return this.handle.node ?? (this.leaf ? this : null);
  }

  /**
   * Whether autograd computes gradients for this tensor. Set it to true on parameters and other leaves; results of ops
   * inherit it.
   * @throws DTypeError if you set it on a tensor that is not float32, Error if you set it on the result of an op
   */
  get requiresGrad(): boolean {
    return this.edge !== null;
  }
  set requiresGrad(value: boolean) {
    if (this.handle.node)
      throw new Error("requiresGrad: this tensor is the result of an op. Set it on the op's inputs, or on x.detach().");
    if (value && this.dtype !== "float32")
      throw new DTypeError(`requiresGrad: ${this.dtype} tensors have no gradients. Use float32.`);
    requireKind("requiresGrad", "value", "boolean", value);
    this.leaf = value;
    epoch.value++;
  }

  /**
   * The gradient that `backward` computed; null before that. Reading a sparse gradient allocates a tensor of this shape.
   * Writing to that tensor, or calling live() on it, makes the gradient dense.
   * @throws TypeError, ShapeError if you set it to anything but null or a tensor of the same shape
   */
  get grad(): Tensor | null {
    return denseGradient(this.gradient);
  }
  set grad(value: Tensor | null) {
    this.ownGradient = replaceGradient(this.ownGradient, value, this);
  }

  /** The gradient, which may be sparse. @internal */
  get gradient(): Gradient<Tensor> | null {
    this.ownGradient = currentGradient(this.ownGradient);
    return this.ownGradient;
  }
  /** @internal */ set gradient(value: Gradient<Tensor> | null) {
    this.ownGradient = value;
  }

  /** Whether backward can still pass through the op that made the tensor. @internal */
  get hasLiveGraph(): boolean {
    return this.handle.node?.isLive ?? false;
  }

  /** Whether the tensor's memory was freed. */
  get isDisposed(): boolean {
    return this.handle.storage?.isGone ?? true;
  }

  /** Frees the memory of the tensor and its gradient. Later uses throw a DisposedError; a second dispose does nothing. */
  dispose(): void {
    checkNone("dispose", arguments);
    this.disposeBecause("dispose()");
    this.ownGradient?.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** @internal */
  disposeBecause(reason: string): void {
    freeHandle(this.handle, reason);
  }

  /** Sets `grad` to null and frees the gradient. */
  clearGrad(): void {
    checkNone("clearGrad", arguments);
    // While compile records, keep the gradient, which is restored afterwards. Only compiled calls clear it.
    if (context.recorder) context.recorder.gradient(this, "cleared");
    else this.ownGradient?.dispose();
    this.ownGradient = null;
  }

  /** Exempts the tensor from all open scopes: it lives until dispose() or garbage collection. Returns it. */
  keep(): this {
    checkNone("keep", arguments);
    const { handle } = this;
    if (!handle.kept) handle.storage?.pin();
    handle.kept = true;
    return this;
  }
  /** @internal */
  get isKept(): boolean {
    return this.handle.kept;
  }
  /** Called at the end of the scope that the tensor was made in, if the scope returns the tensor or the tensor is kept. @internal */
  escape(): void {
    if (this.handle.kept) adoptKept(this);
    else adopt(this);
  }

  /** Whether another tensor or a graph node holds the same memory. @internal */
  get isShared(): boolean {
    return this.storage("isShared").isShared;
  }

  /** A tensor with the same memory and a different shape. @internal */
  alias(shape: Shape): Tensor {
    tick();
    const view = Tensor.wrap(this.intact("reshape").retain(), { shape, dtype: this.dtype }, null, "reshape");
    const { edge } = this;
    if (context.gradEnabled && edge) view.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [this], []));
    return view;
  }

  /** Returns a tensor that shares this one's memory and that autograd treats as a constant. */
  detach(): Tensor {
    checkNone("detach", arguments);
    tick();
    return Tensor.wrap(this.storage("detach").retain(), this, null, "detach");
  }

  /** Returns a copy with its own memory. Gradients flow through the copy. */
  clone(): Tensor {
    checkNone("clone", arguments);
    this.storage("clone");
    const copy = Tensor.allocate(this, "clone");
    withGrad(false, () => assign(copy, this));
    const { edge } = this;
    if (context.gradEnabled && edge) copy.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [this], []));
    return copy;
  }

  /**
   * Overwrites the elements in place and returns the tensor. Autograd does not record the write.
   * @param source a tensor with the same shape and type, or as many numbers as the tensor has elements
   * @throws ShapeError if the shapes, types or sizes differ, Error if autograd would have to record the write
   */
  copyFrom(source: Tensor | ArrayLike<number>): this {
    if (context.gradEnabled && (this.handle.node || (source instanceof Tensor && source.requiresGrad))) {
      throw new Error(
        "copyFrom: autograd does not record writes in place. Wrap the call in noGrad(() => …), or detach() the source.",
      );
    }
    if (source instanceof Tensor) {
      assign(this, source);
      return this;
    }
    rejectOtherCopy("copyFrom", "the source", source);
    if (source.length !== this.size)
      throw new ShapeError(`copyFrom: ${show(this.shape)} needs ${this.size} values, got ${source.length}.`);
    if (context.recorder)
      throw new TraceError(
        "copyFrom: values from JavaScript would be written once, not on every call. Pass them as an argument of the compiled function.",
      );
    if (isJournaling("nonFinite") || context.checkpoint) {
      // Write with an op, so that detectAnomaly checks the values, and nn.checkpoint sees the write.
      runInternal(() => void assign(this, fromElements(source, this.shape, this.dtype, "copyFrom")));
      return this;
    }
    tick();
    const [elements, storage] = [this.elements("copyFrom"), this.storage("copyFrom")];
    journalWrite(storage);
    elements.set(allToDType(source, this.dtype));
    storage.bumpVersion();
    return this;
  }

  /**
   * Returns a row-major view of the elements in linear memory, not a copy. It is valid only until the next op. Autograd
   * does not notice writes to it.
   */
  live(): TypedArray {
    checkNone("live", arguments);
    this.storage("live").isExposed = true;
    return this.elements("live");
  }

  private elements(op: string): TypedArray {
    const storage = this.intact(op);
    if (storage.symbolic) throw noValueError(op, this, this.handle.op, storage);
    return elementsAt(engine().heap.memory.buffer, storage.address, this);
  }

  /** Returns the elements for an immediate read. Elements in JavaScript's memory stay there, to save linear memory. @internal */
  peek(op: string): TypedArray {
    this.requireIntact(op);
    const moved = this.handle.storage?.moved;
    return moved ? elementsAt(moved.buffer, 0, this) : this.elements(op);
  }

  /** A row-major copy of the elements. */
  get data(): TypedArray {
    requireNoIndices("data", this);
    return this.peek("data").slice();
  }

  /** Returns the element of a tensor with one element, as a number. @throws ShapeError if there are more elements, or none */
  item(): number {
    checkNone("item", arguments);
    if (this.size !== 1) {
      this.storage("item");
      throw new ShapeError(`item: ${show(this.shape)} has ${this.size} elements, not one. Use toArray() or data.`);
    }
    return this.peek("item")[0]!;
  }

  /**
   * Returns the elements as nested arrays, or as a number if the tensor has no dimensions. bool elements become
   * booleans. A tensor's type does not include its rank, so the result is not type-checked unless you name its type:
   * `x.toArray<number[][]>()`.
   */
  // biome-ignore lint/suspicious/noExplicitAny: with any other type, x.toArray()[0][0] needs a cast
  toArray<T extends NestedArray = any>(): T {
    checkNone("toArray", arguments);
    requireNoIndices("toArray", this);
    return nest(this.peek("toArray"), this.shape, this.dtype) as T;
  }

  /** Returns text in PyTorch's format: `tensor([[1, 2], [3, 4]])`. Long dimensions are abbreviated. */
  toString(): string {
    return this.print("toString");
  }
  private print(caller: string): string {
    if (this.isDisposed) return `tensor(disposed by ${this.handle.freedBy || "dispose()"}, shape ${show(this.shape)})`;
    return formatTensor(this.peek(caller), this, this.requiresGrad);
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.print("console.log");
  }
  /** Converts the tensor to text. @throws TypeError for `x + 1` and `x > 0`, because JavaScript has no operator overloading */
  [Symbol.toPrimitive](hint: "string" | "number" | "default"): string {
    if (hint === "string") return this.toString();
    throw operatorError(this);
  }
  /** Returns nested arrays, so that `tensor(JSON.parse(JSON.stringify(x)))` works. JSON turns NaN and ±∞ into null. */
  toJSON(): NestedArray {
    return this.toArray();
  }
}

registerCopy(Tensor.prototype);
attachMethods(Tensor.prototype);
installTensorChecks({ isTensor: (value) => value instanceof Tensor, isFromOtherCopy, rejectOtherCopy });

/** Makes a tensor from row-major elements. @throws ShapeError @internal */
export function fromElements(elements: ArrayLike<number>, shape: Shape, dtype: DType, op: string): Tensor {
  requireShape(op, shape);
  if (elements.length !== sizeOf(shape))
    throw new ShapeError(`${op}: ${show(shape)} needs ${sizeOf(shape)} values, got ${elements.length}.`);
  tick();
  const made = withRecorder(null, () => Tensor.allocate({ shape: [...shape], dtype }, op));
  made.live().set(allToDType(elements, dtype));
  return made;
}
