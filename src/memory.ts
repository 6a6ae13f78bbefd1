/**
 * What tensors hold: counted storages in linear memory, and the handles by which a FinalizationRegistry, the net under
 * scopes and dispose, can free them.
 */
import { currentHeap, engine } from "./runtime/engine.ts";

let created = 0;
/** Storages made from now on have this id or a greater one. */
export const nextStorageId = (): number => created;

/** Bytes in linear memory, shared by tensors that show them under different shapes and by what gradients need. */
export class Storage {
  /** Order of creation. */
  readonly id = created++;
  /** How many hold it. */
  references = 1;
  /** Counts writes in place, so that a gradient never silently uses a changed value. */
  version = 0;
  /** Where it lies; NaN for the values of a function that is being recorded, which have no memory yet. */
  readonly address: number;
  // Not to be listed: whoever prints or serializes a tensor would print all memory.
  readonly #heap = engine().heap;

  constructor(
    readonly bytes: number,
    readonly symbolic = false,
  ) {
    this.address = symbolic ? Number.NaN : this.#heap.allocate(bytes);
  }
  /** Whether the memory it lies in is no more: nabla was disposed. */
  get isGone(): boolean {
    return this.#heap !== currentHeap();
  }
  /** A tensor that held it is gone. */
  uncount(): void {
    this.#heap.tensors--;
  }
  retain(): this {
    this.references++;
    return this;
  }
  release(): void {
    if (--this.references === 0 && !this.symbolic) this.#heap.release(this.address, this.bytes);
  }
}

/** What a tensor holds. Apart from it, so that the finalizer can free it without holding the tensor. */
export interface Handle<N> {
  storage: Storage | null;
  /** The node of the graph of gradients that made the tensor. */
  node: N | null;
  /** The op that made the tensor. */
  readonly op: string;
  /** How it was freed. */
  gone: string;
}
type AnyHandle = Handle<{ release(): void }>;

const finalizer = new FinalizationRegistry<AnyHandle>((handle) => freeHandle(handle, "the garbage collector"));

/** Counts a new tensor. */
export function countHandle(): void {
  engine().heap.tensors++;
}

/** Has the garbage collector free the handle when `owner` is gone. */
export function freeWith(owner: object, handle: AnyHandle): void {
  finalizer.register(owner, handle);
}

/** Gives back what a handle holds; `how` is what a DisposedError will say. Twice is fine. */
export function freeHandle(handle: AnyHandle, how: string): void {
  if (!handle.storage) return;
  handle.storage.uncount();
  handle.storage.release();
  handle.storage = null;
  handle.node?.release();
  handle.node = null;
  handle.gone = how;
}

/** Memory in use. */
export interface MemoryInfo {
  /** Bytes that tensors hold, rounded up to the allocator's blocks. */
  readonly bytes: number;
  /** Tensors not disposed yet. */
  readonly tensors: number;
  /** The most bytes ever held. */
  readonly highWater: number;
  /** Bytes of linear memory taken from the host. */
  readonly capacity: number;
}

/** What nabla holds now; nothing before the first tensor. */
export function memory(): MemoryInfo {
  const heap = currentHeap();
  return {
    bytes: heap?.inUse ?? 0,
    tensors: heap?.tensors ?? 0,
    highWater: heap?.highWater ?? 0,
    capacity: heap?.capacity ?? 0,
  };
}
