/**
 * The data of TensorFlow.js tensors. An entry is its own data id. Tensors with the same data share an entry, so nothing
 * is copied.
 */
import type { BackendValues, DataType, TensorInfo } from "@tensorflow/tfjs-core";
import type { Storage } from "../core/memory.ts";
import type { DType, Shape } from "../ops/definition/value.ts";
import { type LayoutOwner, type NumericArray, View } from "./view.ts";

/** The element types that linear memory holds: all except strings and complex numbers. */
export const isNumeric = (dtype: string): dtype is DType =>
  dtype === "float32" || dtype === "int32" || dtype === "bool";

/** The typed array that callers of `dataSync` expect for each element type. */
const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array, uint8: Uint8Array } as const;

export class Entry implements LayoutOwner {
  refCount = 1;
  /** The real and imaginary parts of a complex tensor, which CPU kernels set. */
  complexTensorInfos: { real: TensorInfo; imag: TensorInfo } | undefined;
  /** The elements in linear memory. */
  private storage: Storage | null = null;
  /** Copies of the elements in other layouts. */
  layouts: Map<string, View> | undefined;
  /** The elements in JavaScript's memory: the result of a CPU kernel, a copy that CPU kernels read, or strings. */
  private stored: BackendValues | undefined;

  constructor(
    readonly dtype: DataType,
    readonly size: number,
  ) {}

  /** Creates an entry that takes over a view's reference to its storage. */
  static of({ storage, dtype, size }: View): Entry {
    const entry = new Entry(dtype as DataType, size);
    entry.storage = storage;
    return entry;
  }

  /**
   * The elements for CPU kernels. A kernel may keep a reference to this array, but must modify the array only while
   * computing the tensor. Numbers in linear memory are copied on first use.
   */
  get values(): BackendValues | undefined {
    if (!this.stored && this.storage) this.stored = this.view([this.size]).live().slice();
    return this.stored;
  }
  set values(values: BackendValues | undefined) {
    this.stored = values;
  }

  /** A view of the elements in linear memory. The first call copies the elements there. */
  view(shape: Shape): View {
    const { dtype, size } = this;
    if (!this.storage) {
      const view = View.allocate(shape, dtype as DType);
      if (this.stored) view.live().set(this.stored as NumericArray);
      this.storage = view.storage;
    }
    return new View(this.storage, shape, dtype as DType, size, this);
  }

  /** Whether the elements are in linear memory and belong to only one tensor. */
  get isExclusive(): boolean {
    return this.refCount === 1 && this.storage !== null && !this.storage.isShared;
  }

  /** Discards all copies of the elements. Call it after changing the elements in linear memory. */
  changed(): void {
    this.stored = undefined;
    this.freeLayouts();
  }

  /** A copy of the elements. */
  read(): BackendValues {
    if (this.storage) return this.view([this.size]).live().slice();
    // Copy with slice(), because an array of strings can have holes, which slice() preserves.
    if (!isNumeric(this.dtype)) return this.stored!.slice() as BackendValues;
    const stored = this.stored as NumericArray;
    const TypedArray = ARRAYS[this.dtype];
    // Some CPU kernels return int32 elements in a Float32Array.
    return stored instanceof TypedArray ? stored.slice() : TypedArray.from(stored);
  }

  /** Frees the elements. */
  free(): void {
    this.storage?.release();
    this.freeLayouts();
    this.storage = null;
    this.stored = undefined;
  }
  private freeLayouts(): void {
    for (const { storage } of this.layouts?.values() ?? []) storage.release();
    this.layouts = undefined;
  }
}
