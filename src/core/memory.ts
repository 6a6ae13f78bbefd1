/**
 * What tensors hold: counted storages in linear memory. A storage that nobody seems to need can move to a buffer in
 * JavaScript, which garbage collection frees even during a synchronous loop. The next use moves it back.
 */
import { currentHeap, engine, randomState, setRandomState } from "../runtime/engine.ts";
import type { Heap } from "../runtime/heap.ts";

let created = 0;
/** Storages made from now on have this id or a greater one. */
export const nextStorageId = (): number => created;

/** Writes in place so far: every write gives its storage a version that no storage had before. */
let writes = 0;

let clock = 0;
/** Starts an op. Storages that it uses stay in linear memory until the next one starts. */
export function tick(): void {
  clock++;
}
/** The op at work: ops are numbered. */
export const currentOp = (): number => clock;

/**
 * Changes whenever a tensor on pinned memory, such as programs use, is disposed, and whenever requiresGrad is set: what a program knows
 * of its tensors holds until then.
 */
export const epoch = { value: 0 };

/** Bytes in linear memory, shared by tensors that show them under different shapes and by what gradients need. */
export class Storage {
  /** Order of creation. */
  readonly id = created++;
  /** How many hold it. */
  references = 1;
  /** Changes on every write in place, so that a gradient never silently uses a changed value. */
  version = 0;
  /** Where it lies; NaN for the values of a function that is being recorded, which have no memory yet. */
  address: number;
  /** How many times it moved to JavaScript. */
  private moves = 0;
  /** Tensors that hold it, as memory() counts them. */
  private tensors = 0;
  /** Tensors that show it and that nobody may be able to reach: its bytes outlive the last reference, in JavaScript. */
  private weak = 0;
  /** Reasons to stay where it is: kept tensors, and programs that contain its address. */
  private pins = 0;
  /** The op that last used it. */
  lastUse = clock;
  /** Whether no tensor is known to hold it, only the graph. */
  private ownerless = false;
  // Not to be listed: whoever prints or serializes a tensor would print all memory.
  readonly #heap = engine().heap;
  /** The heap that holds its bytes; null after they moved or were freed. */
  #home: Heap | null = this.#heap;
  #moved: Uint8Array | null = null;

  constructor(
    readonly bytes: number,
    readonly symbolic = false,
  ) {
    this.address = symbolic ? Number.NaN : this.#heap.allocate(bytes);
  }
  /** Whether the memory it lay in no longer exists: nabla was disposed. */
  get isGone(): boolean {
    return this.#heap !== currentHeap();
  }
  /** Whether its bytes are in linear memory. */
  get isResident(): boolean {
    return this.#home !== null && this.#home === currentHeap();
  }

  /** Makes sure, for the current op, that its bytes are in linear memory. False if they no longer exist. */
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
    // The tensors that held it may have been collected since.
    this.#abandon();
    return true;
  }
  /** Its bytes if they are in JavaScript's memory: a read does not need to move them back. */
  get moved(): Uint8Array | null {
    return this.isGone ? null : this.#moved;
  }
  /** Call it after every write in place. */
  wrote(): void {
    this.version = ++writes;
  }
  /** Undoes writes, wherever the bytes are now. Does nothing if they were freed. */
  restore(bytes: Uint8Array, version: number): void {
    if (this.isResident) this.#heap.u8.set(bytes, this.address);
    else if (this.#moved) this.#moved.set(bytes);
    else return;
    this.version = version;
  }
  /** Whether its bytes may move to JavaScript during this op: nobody has their address. */
  get isMovable(): boolean {
    return this.isResident && this.pins === 0 && !this.symbolic;
  }
  /** Whether it moved out and back, which proves that someone can reach it. */
  get isReachable(): boolean {
    return this.moves > 0;
  }
  /** Moves its bytes to JavaScript. It must be movable. @throws RangeError if JavaScript has no memory for them */
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

  /** A new tensor holds it. Returns what `uncount` takes. */
  count(): number {
    this.tensors++;
    this.#heap.tensors++;
    return this.moves;
  }
  /** A tensor that held it is gone. One that was counted before a move is uncounted already. */
  uncount(counted: number): void {
    if (counted === this.moves) {
      this.tensors--;
      this.#heap.tensors--;
    }
    this.release();
    if (this.tensors === 0 && this.references > 0 && !this.pins && !this.symbolic) this.#abandon();
  }
  /** Only the graph holds it, and the graph may be garbage. */
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
  /** A tensor that holds it, among others that do, becomes one that only shows it. */
  weaken(counted: number): void {
    this.weak++;
    this.uncount(counted);
  }
  /** A tensor that only showed it was disposed. */
  releaseWeak(): void {
    if (--this.weak === 0 && this.references === 0) this.#free();
  }
  /** Whether anything besides one tensor has its bytes. */
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
  /** Keeps its bytes where they are, until `unpin`. */
  pin(): this {
    this.pins++;
    return this;
  }
  unpin(): void {
    this.pins--;
  }
  /** Retains it where it is, until `letGo`: for programs, which contain its address. */
  hold(): this {
    return this.retain().pin();
  }
  letGo(): void {
    this.unpin();
    this.release();
  }
}

/** Storages that no tensor is known to hold. */
export const ownerless = new Set<Storage>();

/** Bytes in linear memory that no scope frees: at most so many. */
export const unscoped = { bytes: 0 };

/** State before a function ran: what it overwrites in place, and the random generator. */
export class Journal {
  private readonly before = new Map<Storage, { readonly bytes: Uint8Array; readonly version: number }>();
  private readonly random = randomState();
  private readonly start = created;

  note(storage: Storage): void {
    if (storage.symbolic || this.before.has(storage)) return;
    // A new storage is not state, except one that the function keeps, such as an optimizer's.
    if (storage.id >= this.start && !storage.isPinned) return;
    const { address, bytes, version } = storage;
    this.before.set(storage, { bytes: engine().heap.u8.slice(address, address + bytes), version });
  }
  restore(): void {
    for (const [storage, { bytes, version }] of this.before) storage.restore(bytes, version);
    setRandomState(this.random);
  }
}

/** The open journals, by the error that they undo: OutOfMemoryError (undo.ts) and NonFiniteError (anomaly.ts). */
const journals: { shortage: Journal | null; nonFinite: Journal | null } = { shortage: null, nonFinite: null };
type Cause = keyof typeof journals;
export const isJournaling = (cause: Cause): boolean => journals[cause] !== null;

/** Runs f with its writes noted in `own`. */
export function withJournal<T>(cause: Cause, own: Journal | null, f: () => T): T {
  const outer = journals[cause];
  journals[cause] = own;
  try {
    return f();
  } finally {
    journals[cause] = outer;
  }
}

/** Called before a storage is written in place. */
export function journalWrite(storage: Storage): void {
  journals.shortage?.note(storage);
  journals.nonFinite?.note(storage);
}

/** Memory in use. */
export interface MemoryInfo {
  /** Bytes of linear memory that tensors hold, rounded up to the allocator's blocks. */
  readonly bytes: number;
  /** Tensors in linear memory, not disposed yet. */
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
