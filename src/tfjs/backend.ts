/** The backend for TensorFlow.js, which owns the data of its tensors. The kernels are in kernels/. */
import {
  type BackendValues,
  backend_util,
  buffer,
  type DataType,
  KernelBackend,
  type Rank,
  type TensorBuffer,
  type TensorInfo,
  type TypedArray,
  engine as tfEngine,
  util,
} from "@tensorflow/tfjs-core";
import { sizeOf } from "../ops/definition/value.ts";
import { Error } from "../runtime/errors.ts";
import { Entry, isNumeric } from "./entry.ts";
import type { View } from "./view.ts";

/** The name to pass to `tf.setBackend`. */
export const BACKEND = "nabla";

/** Maps data ids to entries. CPU kernels read the elements as `backend.data.get(dataId).values`. */
class Entries {
  /**
   * The entries, keyed by data id. An entry is its own id, unless the data was created on another backend and then
   * moved here.
   */
  private readonly entries = new Map<object, Entry>();
  /**
   * The number of entries that numDataIds() leaves out: the real and imaginary parts of complex data that was moved
   * here. TensorFlow.js counts such data as one id, not three.
   */
  private hidden = 0;

  constructor(private readonly backend: NablaBackend) {}

  find(id: object): Entry | undefined {
    return this.entries.get(id);
  }
  has(id: object): boolean {
    return this.entries.has(id);
  }
  /** The entry for a data id. If the data is on another backend, it is moved here first. */
  get(id: object): Entry {
    const known = this.entries.get(id);
    if (known) return known;
    tfEngine().moveData(this.backend, id);
    return this.entries.get(id)!;
  }
  add(entry: Entry): Entry {
    this.entries.set(entry, entry);
    return entry;
  }
  /** Registers an entry for an id that another backend made. */
  move(id: object, entry: Entry): void {
    this.entries.set(id, entry);
    if (entry.complexTensorInfos) this.hidden += 2;
  }
  delete(id: object): void {
    const entry = this.entries.get(id)!;
    entry.free();
    this.entries.delete(id);
    if (id !== entry && entry.complexTensorInfos) this.hidden -= 2;
  }
  clear(): void {
    for (const entry of this.entries.values()) entry.free();
    this.entries.clear();
    this.hidden = 0;
  }
  numDataIds(): number {
    return this.entries.size - this.hidden;
  }
}

/** Decodes UTF-8 strings. @throws Error with the CPU backend's message if the bytes are not UTF-8 */
function decoded(values: BackendValues): string[] {
  try {
    return (values as Uint8Array[]).map((bytes) => util.decodeString(bytes));
  } catch {
    throw new Error("Failed to decode encoded string bytes into utf-8");
  }
}

export class NablaBackend extends KernelBackend {
  readonly data = new Entries(this);
  /** The block size for the CPU backend's matrix product, which reads it from the backend. */
  readonly blockSize = 48;

  override write(values: BackendValues | null | undefined, shape: number[], dtype: DataType): Entry {
    const entry = new Entry(dtype, sizeOf(shape));
    if (values != null) entry.values = values;
    if (values != null && isNumeric(dtype)) {
      // Copy the elements now, because the caller may change the array later. If there is not enough memory, this
      // throws before the entry is registered.
      entry.view(shape);
      entry.values = undefined;
    }
    return this.data.add(entry);
  }

  /** Creates a tensor from `values`, which hold a CPU kernel's result or will be filled by the kernel later. */
  makeTensorInfo(shape: number[], dtype: DataType, values?: BackendValues | string[]): TensorInfo {
    const entry = this.data.add(new Entry(dtype, sizeOf(shape)));
    if (values != null)
      entry.values =
        dtype === "string" && typeof values[0] === "string"
          ? (values as string[]).map((text) => util.encodeString(text))
          : (values as BackendValues);
    return { dataId: entry, shape, dtype };
  }

  /** Creates a tensor from a view that an op has returned, and takes over the view's reference to its storage. */
  adopt(view: View): TensorInfo {
    return { dataId: this.data.add(Entry.of(view)), shape: view.shape as number[], dtype: view.dtype as DataType };
  }

  /** A view of a tensor's elements in linear memory. */
  view({ dataId, shape }: TensorInfo): View {
    return this.data.get(dataId).view(shape);
  }

  override move(dataId: object, values: BackendValues, shape: number[], dtype: DataType, refCount: number): void {
    const entry = new Entry(dtype, sizeOf(shape));
    if (dtype === "complex64") {
      const parts = backend_util.splitRealAndImagArrays(values as Float32Array);
      entry.complexTensorInfos = {
        real: this.makeTensorInfo(shape, "float32", parts.real),
        imag: this.makeTensorInfo(shape, "float32", parts.imag),
      };
    } else entry.values = values;
    entry.refCount = refCount;
    this.data.move(dataId, entry);
  }

  override async read(dataId: object): Promise<BackendValues> {
    return this.readSync(dataId);
  }
  override readSync(dataId: object): BackendValues {
    const entry = this.data.get(dataId);
    if (!entry.complexTensorInfos) return entry.read();
    const { real, imag } = entry.complexTensorInfos;
    return backend_util.mergeRealAndImagArrays(
      this.readSync(real.dataId) as Float32Array,
      this.readSync(imag.dataId) as Float32Array,
    );
  }
  bufferSync<R extends Rank, D extends DataType>({ dataId, shape, dtype }: TensorInfo): TensorBuffer<R, D> {
    const values = this.readSync(dataId);
    return buffer(shape as never, dtype, (dtype === "string" ? decoded(values) : values) as TypedArray) as TensorBuffer<
      R,
      D
    >;
  }
  /** Creates a Tensor, for the few CPU kernels that return one instead of a TensorInfo. */
  makeOutput(values: BackendValues, shape: number[], dtype: DataType): unknown {
    return tfEngine().makeTensorFromTensorInfo(this.makeTensorInfo(shape, dtype, values), this);
  }

  override refCount(dataId: object): number {
    return this.data.find(dataId)?.refCount ?? 0;
  }
  override incRef(dataId: object): void {
    this.data.get(dataId).refCount++;
  }
  override numDataIds(): number {
    return this.data.numDataIds();
  }

  /**
   * Releases one reference. Frees the data if it was the last one, or if `force` is true. Returns whether the data no
   * longer exists.
   */
  override disposeData(dataId: object, force = false): boolean {
    const entry = this.data.find(dataId);
    if (!entry) return true;
    entry.refCount--;
    if (!force && entry.refCount > 0) return false;
    if (entry.complexTensorInfos) {
      this.disposeData(entry.complexTensorInfos.real.dataId, true);
      this.disposeData(entry.complexTensorInfos.imag.dataId, true);
    }
    this.data.delete(dataId);
    return true;
  }
  disposeIntermediateTensorInfo({ dataId }: TensorInfo): void {
    this.disposeData(dataId);
  }

  override async time(f: () => void): Promise<{ kernelMs: number }> {
    const start = util.now();
    f();
    return { kernelMs: util.now() - start };
  }
  override memory(): { unreliable: boolean; reasons?: string[] } {
    return { unreliable: false };
  }
  override floatPrecision(): 32 {
    return 32;
  }
  /** Frees all data. TensorFlow.js calls this when its engine is reset, and may go on using the backend afterwards. */
  override dispose(): void {
    this.data.clear();
  }
}
