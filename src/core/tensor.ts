/** Tensor: an array in linear memory with a shape, and its place in the graph of gradients; and the modes that tensors are made in. */
/// <reference lib="esnext.disposable" preserve="true" />

import type { AnyOp } from "../ops/definition/op.ts";
import {
  bytesPerElement,
  type DType,
  fingerprint,
  heldAll,
  requireDType,
  requireShape,
  type Shape,
  type Spec,
  sameShape,
  show,
  sizeOf,
  type Value,
} from "../ops/definition/value.ts";
import { type Methods, methods } from "../ops/methods.ts";
import { assign } from "../ops/shape/shape.ts";
import { methodSignature } from "../ops/signatures.ts";
import { checker, checkNone } from "../runtime/arguments.ts";
import { engine } from "../runtime/engine.ts";
import { DisposedError, DTypeError, Error, ShapeError, TraceError, TypeError } from "../runtime/errors.ts";
import { installTensorChecks, requireKind } from "../runtime/kinds.ts";
import { isFromOtherCopy, registerCopy, rejectOtherCopy } from "./copies.ts";
import { type GradientRule, type Edge as GraphEdge, Node as GraphNode } from "./graph.ts";
import { epoch, isJournaling, journalWrite, Storage, tick } from "./memory.ts";
import { adopt, adoptKept, beginInternal, endInternal, freeHandle, type Handle, runInternal } from "./owners.ts";
import { formatTensor, type NestedArray, nest } from "./printing.ts";

/** @internal */
export type Node = GraphNode<Tensor>;
/** @internal */
export type Edge = GraphEdge<Tensor>;

/** Records ops instead of running them: compile/. */
export interface Recorder {
  /** An op, with tensors whose storages may be symbolic. */
  record(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: unknown): void;
  /** Where a recorded function made a value: file, line and column; "" where that cannot be told. */
  siteOf(storage: Storage): string;
  /** Something outside of tensors that the recording depends on: it holds while `check` returns true. */
  guard(check: () => boolean): void;
  /** From here on, what is recorded must not let NaN or ±∞ reach results, gradients or state. */
  finite?(): void;
  /** These tensors belong to an object that never replaces them, such as an optimizer. */
  hold?(tensors: Iterable<Tensor>): void;
  /** A leaf's gradient was forgotten (the recorder takes over what was there), or is about to be added to. */
  gradient(leaf: Tensor, event: "cleared" | "added"): void;
}

let recorder: Recorder | null = null;

/** Runs f with a recorder; with null, ops run even during a recording. */
export function withRecorder<T>(r: Recorder | null, f: () => T): T {
  const outer = recorder;
  recorder = r;
  try {
    return f();
  } finally {
    recorder = outer;
  }
}

/** The recorder at work; null when ops run. */
export const currentRecorder = (): Recorder | null => recorder;

/** Its text is what structuredClone says. */
const cannotBeCloned = () =>
  "A tensor lives in WASM memory. Send x.data and x.shape, and make it again with tensor(data, shape).";

let gradMode = true;

/** Whether ops are recorded for gradients now. */
export const isGradEnabled = (): boolean => gradMode;

/** Runs f with recording on or off. */
export function withGrad<T>(enabled: boolean, f: () => T): T {
  const outer = gradMode;
  gradMode = enabled;
  try {
    return f();
  } finally {
    gradMode = outer;
  }
}

/** Elements as JavaScript holds them. */
export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** Options of Tensor.backward. */
export interface BackwardOptions {
  /** The gradient that arrives at the tensor; 1 by default, which needs a tensor of one element. */
  readonly gradient?: Tensor;
  /** Keep the graph, so that backward can be called again. Default: as createGraph. */
  readonly retainGraph?: boolean;
  /** Record the gradients, so that they can be differentiated. Default false. */
  readonly createGraph?: boolean;
}

// The ops' methods are attached to the prototype below; this interface gives them their types.
export interface Tensor extends Methods<Tensor> {
  /**
   * Adds dthis/dp to `p.grad` of every leaf p that this tensor depends on. Set by autograd.ts.
   * @throws ShapeError if it is not one number and no gradient is given
   */
  backward(options?: BackwardOptions): void;
}

/**
 * An array of numbers in linear memory: contiguous, row-major, immutable but for the methods that say so (`copyFrom`,
 * and optimizers' steps).
 *
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.mul(2).sum().item();      // 20
 * ```
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: see above
export class Tensor implements Value {
  /** The size of each dim; [] for a single number. Read-only: reshape returns another shape. */
  readonly shape: Shape;
  /** The element type: "float32", "int32", "bool" or "uint8". */
  readonly dtype: DType;
  /** Elements. */
  readonly size: number;
  /** @internal */
  readonly handle: Handle<Node>;
  private leaf = false;
  private gradient: Tensor | null = null;
  private readonly made: number;
  /** A function: structuredClone and postMessage refuse objects that hold one, and show its text. @internal */
  readonly refusal = cannotBeCloned;

  private constructor(spec: Spec, storage: Storage, node: Node | null, op: string) {
    if (!op) throw new TypeError("Tensor: new Tensor(…) is internal. Use tensor(values).");
    this.shape = spec.shape;
    this.dtype = spec.dtype;
    this.size = sizeOf(spec.shape);
    this.made = fingerprint(spec.shape);
    this.handle = {
      storage,
      node,
      op,
      gone: "",
      kept: false,
      registered: false,
      weak: false,
      counted: storage.count(),
    };
    adopt(this);
  }

  /** A tensor with memory of its own, contents undefined. @internal */
  static allocate(spec: Spec, op: string): Tensor {
    requireDType(op, spec.dtype);
    requireShape(op, spec.shape);
    const storage = new Storage(sizeOf(spec.shape) * bytesPerElement[spec.dtype], recorder !== null);
    return new Tensor({ shape: [...spec.shape], dtype: spec.dtype }, storage, null, op);
  }

  /** A tensor on a storage already retained for it, at an edge of the graph. @internal */
  static wrap(storage: Storage, spec: Spec, edge: Edge | null, op = "alias"): Tensor {
    // A leaf stands for itself: gradients must reach the very object whose .grad people read.
    if (edge instanceof Tensor && edge.handle.storage === storage && edge.shape === spec.shape) {
      storage.release();
      return edge;
    }
    const tensor = new Tensor(spec, storage, edge instanceof GraphNode ? edge.retain() : null, op);
    if (edge instanceof Tensor) tensor.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [tensor], []));
    return tensor;
  }

  /** The memory, for the op that is about to use it. @throws DisposedError @internal */
  storage(op: string): Storage {
    const { storage, op: maker, gone } = this.handle;
    if (storage?.use()) return storage;
    const what = `${op}: the ${this.dtype} tensor ${show(this.shape)} made by ${maker} was disposed by`;
    throw new DisposedError(
      storage
        ? `${what} nabla's own dispose(), which ends all tensors. Copy the elements before: x.data.`
        : `${what} ${gone}${gone.includes(". ") ? "" : ". Return it from the scope, or keep() or clone() it before"}.`,
    );
  }

  /** The same, for callers' tensors: their shape and dtype must be as they were. @throws Error @internal */
  intact(op: string): Storage {
    this.requireIntact(op);
    return this.storage(op);
  }
  private requireIntact(op: string): void {
    if (fingerprint(this.shape) !== this.made)
      throw new Error(
        `${op}: the shape of a tensor was changed to ${show(this.shape)}. It is read-only: use reshape(…).`,
      );
  }

  /** Makes this the output of a node, which it now holds. @internal */
  attach(node: Node): this {
    this.handle.node = node;
    return this;
  }

  /** Where its gradient goes. @internal */
  get edge(): Edge | null {
    return this.handle.node ?? (this.leaf ? this : null);
  }

  /** Whether gradients flow to or through it. Set it on parameters. @throws DTypeError unless float32 */
  get requiresGrad(): boolean {
    return this.edge !== null;
  }
  set requiresGrad(value: boolean) {
    if (this.handle.node)
      throw new Error("requiresGrad: this tensor is the result of an op. Set it on the op's inputs, or on detach().");
    if (value && this.dtype !== "float32")
      throw new DTypeError(`requiresGrad: ${this.dtype} tensors have no gradients. Use float32.`);
    requireKind("requiresGrad", "value", "boolean", value);
    this.leaf = value;
    epoch.value++;
  }

  /** The gradient that `backward` left here; null before. @throws TypeError, ShapeError if set to something that is no gradient of it */
  get grad(): Tensor | null {
    return this.gradient;
  }
  set grad(value: Tensor | null) {
    if (value !== null) {
      if (!(value instanceof Tensor)) requireKind("grad", "value", "tensor|null", value);
      if (!sameShape(value.shape, this.shape))
        throw new ShapeError(
          `grad: ${show(value.shape)} is not the shape of the tensor, ${show(this.shape)}. Reshape it.`,
        );
    }
    this.gradient = value;
  }

  /** Whether a backward pass could still go through the op that made it. @internal */
  get hasLiveGraph(): boolean {
    return this.handle.node?.isLive ?? false;
  }

  /** Whether its memory was given back. */
  get isDisposed(): boolean {
    return this.handle.storage?.isGone ?? true;
  }

  /** Gives its memory back now. Using the tensor afterwards throws a DisposedError. Twice is fine. */
  dispose(): void {
    checkNone("dispose", arguments);
    this.disposeBecause("dispose()");
    this.grad?.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** @internal */
  disposeBecause(how: string): void {
    freeHandle(this.handle, how);
  }

  /** Forgets its gradient, and frees it. */
  clearGrad(): void {
    checkNone("clearGrad", arguments);
    // While a function is recorded nothing is cleared for good: that is for its calls to do.
    if (recorder) recorder.gradient(this, "cleared");
    else this.grad?.dispose();
    this.grad = null;
  }

  /** Exempts it from the scopes that are open: it lives until dispose() or the garbage collector. */
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
  /** The scope it was made in has ended, and returned or kept it. @internal */
  escape(): void {
    if (this.handle.kept) adoptKept(this);
    else adopt(this);
  }

  /** Whether another tensor, or a node of the graph, holds the same memory. @internal */
  get isShared(): boolean {
    return this.storage("isShared").isShared;
  }

  /** The same memory under another shape. @internal */
  alias(shape: Shape): Tensor {
    tick();
    const view = Tensor.wrap(this.intact("reshape").retain(), { shape, dtype: this.dtype }, null, "reshape");
    const { edge } = this;
    if (gradMode && edge) view.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [this], []));
    return view;
  }

  /** The same memory, with no gradient flowing back from here. */
  detach(): Tensor {
    checkNone("detach", arguments);
    tick();
    return Tensor.wrap(this.storage("detach").retain(), this, null, "detach");
  }

  /** A copy with memory of its own, in the same graph. */
  clone(): Tensor {
    checkNone("clone", arguments);
    this.storage("clone");
    const copy = Tensor.allocate(this, "clone");
    withGrad(false, () => assign(copy, this));
    const { edge } = this;
    if (gradMode && edge) copy.attach(new GraphNode<Tensor>(reshapeRule, null, [edge], [this], []));
    return copy;
  }

  /** Overwrites the elements, in place. @throws ShapeError where sizes differ */
  copyFrom(source: Tensor | ArrayLike<number>): this {
    if (gradMode && (this.handle.node || (source instanceof Tensor && source.requiresGrad))) {
      throw new Error(
        "copyFrom: writes in place are not recorded for gradients. Wrap it in noGrad(() => …), or detach() the source.",
      );
    }
    if (source instanceof Tensor) {
      assign(this, source);
      return this;
    }
    rejectOtherCopy("copyFrom", "the source", source);
    if (source.length !== this.size)
      throw new ShapeError(`copyFrom: ${source.length} values for ${show(this.shape)}, which has ${this.size}.`);
    if (recorder)
      throw new TraceError(
        "copyFrom: values from JavaScript would be written once, not on every call. Pass them as an argument.",
      );
    if (isJournaling("nonFinite")) {
      // As an op, whose operands and results are checked.
      runInternal(() => void assign(this, fromElements(source, this.shape, this.dtype, "copyFrom")));
      return this;
    }
    tick();
    const [elements, storage] = [this.elements("copyFrom"), this.storage("copyFrom")];
    journalWrite(storage);
    elements.set(heldAll(source, this.dtype));
    storage.wrote();
    return this;
  }

  /**
   * A view of the elements in linear memory, without a copy. It is valid until the next op, so use it at once. Gradients
   * do not see writes to it.
   */
  live(): TypedArray {
    checkNone("live", arguments);
    return this.elements("live");
  }

  private elements(op: string): TypedArray {
    const storage = this.intact(op);
    const { address } = storage;
    if (storage.symbolic) {
      const site = recorder?.siteOf(storage);
      throw new TraceError(
        `${op}: the ${this.dtype} tensor ${show(this.shape)} made by ${this.handle.op}${site ? ` at ${site}` : ""} has no value ` +
          "while compile records the function. Return it and read it outside; choose between values with where(…).",
      );
    }
    return this.elementsAt(engine().heap.memory.buffer, address);
  }

  /** The elements for a read that ends at once. Bytes that moved to JavaScript stay there, so a loop of reads needs no linear memory. @internal */
  peek(op: string): TypedArray {
    this.requireIntact(op);
    const moved = this.handle.storage?.moved;
    return moved ? this.elementsAt(moved.buffer, 0) : this.elements(op);
  }

  private elementsAt(buffer: ArrayBufferLike, at: number): TypedArray {
    const { dtype, size } = this;
    return dtype === "float32"
      ? new Float32Array(buffer, at, size)
      : dtype === "int32"
        ? new Int32Array(buffer, at, size)
        : new Uint8Array(buffer, at, size);
  }

  /** A copy of the elements, row-major. */
  get data(): TypedArray {
    return this.peek("data").slice();
  }

  /** The number that a tensor of one element holds. @throws ShapeError if it holds more or none */
  item(): number {
    checkNone("item", arguments);
    if (this.size !== 1) {
      this.storage("item");
      throw new ShapeError(`item: ${show(this.shape)} has ${this.size} elements, not one. Use toArray() or data.`);
    }
    return this.peek("item")[0]!;
  }

  /**
   * Nested arrays of the elements; a number if there are no dimensions. Bools become booleans. The rank is not part of a tensor's type, so
   * results can be indexed to any depth unchecked; name a type to have them checked: `x.toArray<number[][]>()`.
   */
  // biome-ignore lint/suspicious/noExplicitAny: any other type makes x.toArray()[0][0] need a cast
  toArray<T extends NestedArray = any>(): T {
    checkNone("toArray", arguments);
    return nest(this.peek("toArray"), this.shape, this.dtype) as T;
  }

  /** As PyTorch prints: `tensor([[1, 2], [3, 4]])`, long dimensions with their middle left out. */
  toString(): string {
    if (this.isDisposed) return `tensor(disposed by ${this.handle.gone || "dispose()"}, shape ${show(this.shape)})`;
    return formatTensor(this.peek("live"), this, this.requiresGrad);
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
  /** As text it prints itself; as a number, in `x + 1` or `x > 0`, it is refused. @throws TypeError */
  [Symbol.toPrimitive](hint: "string" | "number" | "default"): string {
    if (hint === "string") return this.toString();
    throw new TypeError(
      `operator: +, -, <, > and == do not work on tensors, got a tensor ${show(this.shape)}. ` +
        "Use x.add(y), x.gt(y) or x.eq(y); x.item() for its number; String(x) for text.",
    );
  }
  /**
   * Nested arrays, so that `tensor(JSON.parse(JSON.stringify(x)))` has the same elements. JSON has neither NaN nor infinities: they
   * become null.
   */
  toJSON(): NestedArray {
    return this.toArray();
  }
}

registerCopy(Tensor.prototype);
installTensorChecks({ isTensor: (value) => value instanceof Tensor, isFromOtherCopy, rejectOtherCopy });

for (const [name, method] of Object.entries(methods) as [keyof typeof methods, (...args: unknown[]) => unknown][]) {
  const check = checker(name, methodSignature(name));
  const value = function (this: Tensor, ...rest: unknown[]) {
    const args = check(rest);
    const start = beginInternal();
    let result: unknown = null;
    try {
      result = method(this, ...args);
    } finally {
      endInternal(start, result);
    }
    // An op with nothing to do returns its operand; callers get a tensor that they may dispose.
    return result === this ? this.alias(this.shape) : result;
  };
  Object.defineProperty(Tensor.prototype, name, {
    value,
    writable: true,
    configurable: true,
  });
}

/** The gradient of a reshape, an alias or a copy: the same elements in the input's shape. */
const reshapeRule: GradientRule = {
  name: "reshape",
  vjp: (dy, { inputs: [x] }) => [(dy as Tensor).alias(x!.shape)],
};

/** A tensor from elements in row-major order. @throws ShapeError @internal */
export function fromElements(elements: ArrayLike<number>, shape: Shape, dtype: DType, op: string): Tensor {
  requireShape(op, shape);
  if (elements.length !== sizeOf(shape))
    throw new ShapeError(`${op}: ${elements.length} values do not fill ${show(shape)}, which has ${sizeOf(shape)}.`);
  tick();
  const made = withRecorder(null, () => Tensor.allocate({ shape: [...shape], dtype }, op));
  made.live().set(heldAll(elements, dtype));
  return made;
}
