/**
 * Storages: reference-counted blocks of linear memory that tensors hold. An idle storage can move to a buffer in JavaScript's memory, which
 * the garbage collector can free even during a synchronous loop. The next use moves it back.
 */
import { currentHeap, engine, randomState, setRandomState } from "../runtime/engine.ts";
import type { Heap } from "../runtime/heap.ts";

let created = 0;
/** The id of the next storage. Ids increase. */
export const nextStorageId = (): number => created;

/** The number of in-place writes so far. Each write gives the storage a version that no storage has had before. */
let writes = 0;

let clock = 0;
/** Starts an op. Storages that it uses stay in linear memory until the next op starts. */
export function tick(): void {
  clock++;
}
/** The sequence number of the current op. */
export const currentOp = (): number => clock;

/**
 * Changes when a tensor with pinned memory is disposed, and when requiresGrad is set. Compiled programs recheck their
 * tensors only if this number has changed.
 */
export const epoch = { value: 0 };

/** A block of linear memory, shared by tensors with different shapes and by graph nodes. */
export class Storage {
  /** The order of creation. */
  readonly id = created++;
  /** The number of holders. */
  references = 1;
  /** Changes on every in-place write, so that a gradient never silently uses a changed value. */
  version = 0;
  /** Whether live() returned a view of the bytes, through which code can write without changing the version. */
  isExposed = false;
  /** The address; NaN for symbolic storages. */
  address: number;
  /** How many times the bytes have moved to JavaScript's memory. */
  private moves = 0;
  /** The number of tensors that hold the storage, as memory() counts them. */
  private tensors = 0;
  /**
   * The number of tensors that hold a weak reference and may be unreachable. When the last strong reference is
   * released, the bytes move to JavaScript's memory in case one of these tensors is still in use.
   */
  private weak = 0;
  /** The number of kept tensors and programs that need the address to stay fixed. */
  private pins = 0;
  /** The sequence number of the op that last used the storage. */
  lastUse = clock;
  /** Whether, as far as is known, only graph nodes hold the storage. */
  private ownerless = false;
  // A private field, so that printing or serializing a tensor does not print all memory.
  readonly #heap = engine().heap;
  /** The heap that holds the bytes; null after they were moved out or freed. */
  #home: Heap | null = this.#heap;
  #moved: Uint8Array | null = null;

  constructor(
    readonly bytes: number,
    /** Whether the storage stands for a value in a function that compile records, and so has no memory. */
    readonly symbolic = false,
  ) {
    this.address = symbolic ? Number.NaN : this.#heap.allocate(bytes);
  }
  /** Whether the memory no longer exists because nabla was disposed. */
  get isGone(): boolean {
    return this.#heap !== currentHeap();
  }
  /** Whether the bytes are in linear memory. */
  get isResident(): boolean {
    return this.#home !== null && this.#home === currentHeap();
  }

  /** Ensures that the bytes are in linear memory during the current op. Returns false if they no longer exist. */
  use(): boolean {
    this.lastUse = clock;
    return this.isResident || this.#moveBack();
  }
  #moveBack(): boolean {
    if (this.isGone || !this.#moved) return false;
    this.address = this.#heap.allocate(this.bytes);
    this.#heap.u8.set(this.#moved, this.address);
    this.#home = this.#heap;
    this.#moved = null;
    // The tensors that held the storage may have been garbage collected in the meantime.
    this.#abandon();
    return true;
  }
  /**
   * The bytes if they are in JavaScript's memory, otherwise null. Callers can read them there without moving them back.
   */
  get moved(): Uint8Array | null {
    return this.isGone ? null : this.#moved;
  }
  /** Must be called after every in-place write. */
  bumpVersion(): void {
    this.version = ++writes;
  }
  /**
   * Restores the bytes and the version from before a write, wherever the bytes are now. Does nothing if they were
   * freed.
   */
  restore(bytes: Uint8Array, version: number): void {
    if (this.isResident) this.#heap.u8.set(bytes, this.address);
    else if (this.#moved) this.#moved.set(bytes);
    else return;
    this.version = version;
  }
  /** Whether the bytes may move to JavaScript's memory. */
  get isMovable(): boolean {
    return this.isResident && this.pins === 0 && !this.symbolic;
  }
  /**
   * Whether the bytes have ever moved out. If they are in linear memory now, they have moved back, which proves that the storage is
   * reachable.
   */
  get isReachable(): boolean {
    return this.moves > 0;
  }
  /** Moves the bytes to JavaScript's memory. The storage must be movable. @throws RangeError if that memory is full */
  moveOut(): void {
    const heap = this.#heap;
    this.#moved = heap.u8.slice(this.address, this.address + this.bytes);
    heap.release(this.address, this.bytes);
    this.#home = null;
    heap.tensors -= this.tensors;
    this.tensors = 0;
    this.moves++;
    if (this.ownerless) this.#claim();
  }

  /** Registers a tensor that holds the storage. Returns the argument to pass to `uncount`. */
  count(): number {
    this.tensors++;
    this.#heap.tensors++;
    return this.moves;
  }
  /**
   * Unregisters a tensor. If the bytes moved out after the tensor was registered, the move has already removed the tensor
   * from the count.
   */
  uncount(counted: number): void {
    if (counted === this.moves) {
      this.tensors--;
      this.#heap.tensors--;
    }
    this.release();
    if (this.tensors === 0 && this.references > 0 && !this.pins && !this.symbolic) this.#abandon();
  }
  /** Marks the storage as held only by graph nodes, which may be garbage. */
  #abandon(): void {
    if (this.ownerless) return;
    this.ownerless = true;
    ownerless.add(this);
    unscoped.bytes += this.bytes;
  }
  #claim(): void {
    this.ownerless = false;
    ownerless.delete(this);
  }
  /** Makes a tensor's reference weak. Another tensor must also hold the storage. */
  weaken(counted: number): void {
    this.weak++;
    this.uncount(counted);
  }
  /** Ends a weak reference. */
  releaseWeak(): void {
    if (--this.weak === 0 && this.references === 0) this.#free();
  }
  /** Whether the storage has more than one holder. */
  get isShared(): boolean {
    return this.references + this.weak > 1;
  }
  retain(): this {
    this.references++;
    return this;
  }
  release(): void {
    if (--this.references > 0 || this.symbolic) return;
    if (this.weak === 0) this.#free();
    else if (this.isResident) this.moveOut();
  }
  #free(): void {
    this.#home?.release(this.address, this.bytes);
    this.#home = null;
    this.#moved = null;
    if (this.ownerless) this.#claim();
  }
  get isPinned(): boolean {
    return this.pins > 0;
  }
  /** Fixes the address until `unpin`. */
  pin(): this {
    this.pins++;
    return this;
  }
  unpin(): void {
    this.pins--;
  }
  /** Retains and pins the storage for a compiled program, which contains the storage's address. */
  retainPinned(): this {
    return this.retain().pin();
  }
  releasePinned(): void {
    this.unpin();
    this.release();
  }
}

/** The storages that, as far as is known, only graph nodes hold. */
export const ownerless = new Set<Storage>();

/** An upper bound on the bytes in linear memory that no scope will free. */
export const unscoped = { bytes: 0 };

/**
 * The undo log of a function: the contents that its in-place writes overwrite, and the state of the random generator
 * before the function ran.
 */
export class Journal {
  private readonly before = new Map<Storage, { readonly bytes: Uint8Array; readonly version: number }>();
  private readonly random = randomState();
  private readonly start = created;

  note(storage: Storage): void {
    if (storage.symbolic || this.before.has(storage)) return;
    // A storage that the function made is not state, unless it is kept, as an optimizer's state is.
    if (storage.id >= this.start && !storage.isPinned) return;
    const { address, bytes, version } = storage;
    this.before.set(storage, { bytes: engine().heap.u8.slice(address, address + bytes), version });
  }
  restore(): void {
    for (const [storage, { bytes, version }] of this.before) storage.restore(bytes, version);
    setRandomState(this.random);
  }
}

/**
 * The open journals. nabla restores the contents of `shortage` after an OutOfMemoryError (undo.ts) and those of
 * `nonFinite` after a NonFiniteError (anomaly.ts).
 */
const journals: { shortage: Journal | null; nonFinite: Journal | null } = { shortage: null, nonFinite: null };
type Cause = keyof typeof journals;
export const isJournaling = (cause: Cause): boolean => journals[cause] !== null;

/** Runs f and logs its writes in `journal`. */
export function withJournal<T>(cause: Cause, journal: Journal | null, f: () => T): T {
  const outer = journals[cause];
  journals[cause] = journal;
  try {
    return f();
  } finally {
    journals[cause] = outer;
  }
}

/** Must be called before every in-place write. */
export function journalWrite(storage: Storage): void {
  journals.shortage?.note(storage);
  journals.nonFinite?.note(storage);
}

/** What memory() reports. */
export interface MemoryInfo {
  /** The number of bytes that tensors hold in linear memory, rounded up to the allocator's blocks. */
  readonly bytes: number;
  /** The number of tensors in linear memory that are not disposed. */
  readonly tensors: number;
  /** The maximum of `bytes` so far. */
  readonly highWater: number;
  /** The size of linear memory in bytes. It never shrinks before dispose(). */
  readonly capacity: number;
}

/** Reports the memory that nabla uses. All numbers are 0 until the first tensor is made. */
export function memory(): MemoryInfo {
  const heap = currentHeap();
  return {
    bytes: heap?.inUse ?? 0,
    tensors: heap?.tensors ?? 0,
    highWater: heap?.highWater ?? 0,
    capacity: heap?.capacity ?? 0,
  };
}
