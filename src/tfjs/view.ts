/**
 * Runs nabla's ops for TensorFlow.js. The ops take and return views of memory instead of Tensor objects, because
 * TensorFlow.js has its own scopes, reference counts and gradients.
 */
import { constant } from "../core/eager.ts";
import { Storage, tick } from "../core/memory.ts";
import type { Tensor } from "../core/tensor.ts";
import { verify } from "../ops/definition/check.ts";
import { type AnyOp, type Executor, withExecutor } from "../ops/definition/op.ts";
import { bytesPerElement, type DType, type Shape, sizeOf, type Value } from "../ops/definition/value.ts";
import { encodeShared } from "../ops/definition/work.ts";
import { immediate } from "../runtime/encoder.ts";
import { engine } from "../runtime/engine.ts";
import { DisposedError } from "../runtime/errors.ts";

export type NumericArray = Float32Array | Int32Array | Uint8Array;

/** Tensor data that caches copies of its elements in other layouts until the elements change or are freed. */
export interface LayoutOwner {
  layouts: Map<string, View> | undefined;
}

/** A shape and an element type for a block of linear memory. */
export class View implements Value {
  constructor(
    readonly storage: Storage,
    readonly shape: Shape,
    readonly dtype: DType,
    readonly size: number,
    /** The tensor data that this view shows; undefined for a view that an op has created. */
    private readonly owner?: LayoutOwner,
  ) {}

  /**
   * The elements in another layout. If the view has an owner, as a convolution's filter does, each layout is computed
   * only once.
   */
  inLayout(name: string, convert: (view: View) => Value): Value {
    const known = this.owner?.layouts?.get(name);
    if (known) return known;
    const view = convert(this) as View;
    if (this.owner) {
      view.storage.retain();
      this.owner.layouts ??= new Map();
      this.owner.layouts.set(name, view);
    }
    return view;
  }

  /** A view of new, uninitialized memory. */
  static allocate(shape: Shape, dtype: DType): View {
    const size = sizeOf(shape);
    return new View(new Storage(size * bytesPerElement[dtype]), shape, dtype, size);
  }

  /** The elements in linear memory, valid until the next op. */
  live(): NumericArray {
    use(this.storage);
    const { heap } = engine();
    const { address } = this.storage;
    if (this.dtype === "float32") return heap.f32.subarray(address / 4, address / 4 + this.size);
    if (this.dtype === "int32") return heap.i32.subarray(address / 4, address / 4 + this.size);
    return heap.u8.subarray(address, address + this.size);
  }
  /** The elements for an exact copy: floats are reinterpreted as int32, so that copying preserves every bit. */
  bits(): NumericArray {
    return this.dtype === "float32" ? new View(this.storage, this.shape, "int32", this.size).live() : this.live();
  }
}

/**
 * Copies `count` elements from position `start` of `from` to position `at` of `to`, which must have the same type.
 * TypedArray.set would need a new subarray for each range; this function does not.
 */
export function copyElements(from: View, start: number, to: View, at: number, count: number): void {
  use(from.storage);
  use(to.storage);
  const { heap } = engine();
  const bytes = bytesPerElement[to.dtype];
  const first = from.storage.address / bytes + start;
  (bytes === 4 ? heap.i32 : heap.u8).copyWithin(to.storage.address / bytes + at, first, first + count);
}

/** Ensures that a storage is in linear memory. @throws DisposedError after nabla's `dispose()` */
function use(storage: Storage): void {
  if (!storage.use())
    throw new DisposedError(
      "nabla/tfjs: this tensor's memory was freed by nabla's dispose(). Create the tensor again.",
    );
}

const storageOf = (value: Value): Storage => (value instanceof View ? value.storage : (value as Tensor).storage("op"));
const address = (value: Value): number => storageOf(value).address;
const read = (value: Value): ArrayLike<number> => (value as View | Tensor).live();

/** The views that the ops of the current runOps call have created. */
let made: View[] = [];

const executor: Executor = {
  execute(op: AnyOp, inputs: readonly Value[], attributes: unknown): View[] {
    tick();
    for (const input of inputs) use(storageOf(input));
    if (op.checks) verify(op, inputs, attributes, read);
    const outputs = op.infer(inputs, attributes).map(({ shape, dtype }) => newView(shape, dtype));
    encodeShared(op, immediate, { inputs, outputs, attributes, address }, true);
    return outputs;
  },
  constant,
  reshape(x, shape) {
    const view = new View(storageOf(x).retain(), shape, x.dtype, x.size);
    made.push(view);
    return view;
  },
};

/** A view of new memory for a kernel that computes in JavaScript. Works only inside runOps. */
export function newView(shape: Shape, dtype: DType): View {
  const view = View.allocate(shape, dtype);
  made.push(view);
  return view;
}

/** Copies numbers from JavaScript into a new vector. Works only inside runOps. */
export function vector(values: readonly number[], dtype: DType): View {
  const view = newView([values.length], dtype);
  view.live().set(values);
  return view;
}

/**
 * Runs f, in which nabla's ops take and return views. Releases all views that the ops create, except the returned ones.
 */
export function runOps(f: () => Value | readonly Value[] | null): View[] | null {
  const outer = made;
  made = [];
  const results: View[] = [];
  try {
    const value = withExecutor(executor, f);
    if (!value) return null;
    for (const one of Array.isArray(value) ? (value as readonly Value[]) : [value as Value])
      results.push(owned(one, results));
    return results;
  } finally {
    for (const view of made) if (!results.includes(view)) view.storage.release();
    made = outer;
  }
}

/**
 * Returns a result as a view that the caller owns. Creates a new view if the result is an input or a constant, or has
 * already been returned as another result.
 */
function owned(value: Value, others: readonly View[]): View {
  if (value instanceof View && made.includes(value) && !others.includes(value)) return value;
  return new View(storageOf(value).retain(), value.shape, value.dtype, value.size);
}
