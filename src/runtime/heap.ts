/**
 * Linear memory and its allocator. Only TypeScript allocates memory; kernels receive addresses.
 *
 *     0        64            128                 4096
 *     ┌────────┬─────────────┬───────────────────┬──────────────── … ───────┬──────────┐
 *     │ status │ random state│ eager instruction │ blocks, 64-byte aligned  │ 64 bytes │
 *     └────────┴─────────────┴───────────────────┴──────────────── … ───────┴──────────┘
 *
 * Small blocks come in size classes: eight per power of two, so at most 12.5 % of a block is unused. Each class has a
 * list of free blocks. Large blocks have no size class and are only rounded up to a multiple of 64 bytes; freeing one
 * merges it with free neighbours and with the untouched memory above `top`. Before memory grows, free small blocks are
 * merged too. So after any sequence of calls, a request succeeds if enough contiguous memory is free. The last 64 bytes
 * are never allocated: kernels may read up to 60 bytes past the end of a buffer.
 */
import { OutOfMemoryError } from "./errors.ts";

const PAGE = 65536;
const UNIT = 64;
/** The number of bytes that 32-bit addresses can reach. */
export const MAX_BYTES = 65536 * PAGE;

/** Reduces a limit to the number of bytes that are addressable. */
export const limitOf = (bytes = MAX_BYTES): number => Math.min(MAX_BYTES, bytes);

/** The address at which a program's checks write their result (opcodes.ts: Status). */
export const STATUS = 0;
/** The address of the random generator's state: [seed low, seed high, counter low, counter high]. */
export const RANDOM_STATE = 64;
/** The address at which eager mode writes its instruction, and the number of words that fit there. */
export const SCRATCH = 128;
export const SCRATCH_WORDS = (4096 - SCRATCH) / 4;
const HEAP_BASE = 4096;

/** Blocks of this size and larger are not rounded to a size class. */
const LARGE = 32768;

/** The distance between the size classes around `units`, in units of 64 bytes. */
const classStep = (units: number): number => 2 ** Math.max(0, 28 - Math.clz32(units));

/** The size of the block that holds `bytes` bytes. */
function blockSize(bytes: number): number {
  const units = Math.max(1, Math.ceil(bytes / UNIT));
  if (units * UNIT >= LARGE) return units * UNIT;
  const step = classStep(units);
  return Math.ceil(units / step) * step * UNIT;
}

/** The largest size class that fits into `bytes` bytes, where `bytes` is less than LARGE. */
function classWithin(bytes: number): number {
  const units = bytes / UNIT;
  const step = classStep(units);
  return Math.floor(units / step) * step * UNIT;
}

/** A free range of at least LARGE bytes. */
interface Span {
  address: number;
  bytes: number;
}

export class Heap {
  memory: WebAssembly.Memory;
  /** The number of bytes that memory may grow to. */
  readonly limit: number;
  f32!: Float32Array;
  i32!: Int32Array;
  u32!: Uint32Array;
  u8!: Uint8Array;
  /** The number of bytes in allocated blocks, and the maximum so far. */
  inUse = 0;
  highWater = 0;
  /** The number of tensors in this memory. Storage (core/memory.ts) keeps the count. */
  tensors = 0;

  /** Called if memory cannot grow: frees blocks whose contents can move elsewhere. */
  onFull: (() => void) | undefined;

  /** The addresses of the free small blocks, keyed by block size. */
  private free = new Map<number, number[]>();
  /** The total size of free small blocks in bytes. */
  private freeBytes = 0;
  /** Free ranges sorted by address. No two are adjacent, and none is adjacent to `top`. */
  private spans: Span[] = [];
  /** The start of the untouched memory. */
  private top = HEAP_BASE;

  /** @throws RangeError if the host refuses the memory; some hosts refuse large shared memories */
  constructor({ memoryLimit = MAX_BYTES, shared = false }: { memoryLimit?: number; shared?: boolean } = {}) {
    this.limit = limitOf(memoryLimit);
    const maximum = Math.ceil(this.limit / PAGE);
    this.memory = new WebAssembly.Memory({ initial: Math.min(64, maximum), maximum, shared });
    this.refreshViews();
  }

  /** Allocates a block of at least `bytes` bytes with undefined contents. Returns its address. @throws OutOfMemoryError */
  allocate(bytes: number): number {
    const size = blockSize(bytes);
    const address = this.free.get(size)?.pop();
    if (address !== undefined) this.freeBytes -= size;
    const found = address ?? this.find(size) ?? this.reclaim(size, bytes);
    this.inUse += size;
    if (this.inUse > this.highWater) this.highWater = this.inUse;
    return found;
  }

  /** Frees the block at `address`, allocated with the same number of bytes. */
  release(address: number, bytes: number): void {
    const size = blockSize(bytes);
    if (size >= LARGE) this.join(address, size);
    else this.put(address, size);
    this.inUse -= size;
  }

  /** Replaces the memory with an empty one, so that it can be freed even if something still references the heap. */
  close(): void {
    this.memory = new WebAssembly.Memory({ initial: 0 });
    this.refreshViews();
  }

  /** The current size of linear memory in bytes. */
  get capacity(): number {
    return this.memory.buffer.byteLength;
  }

  /**
   * Finds a block without growing memory. A large block goes into the smallest span that is large enough, or else into untouched
   * memory; a small block goes into untouched memory first.
   */
  private find(size: number): number | undefined {
    if (size >= LARGE) return this.takeSpan(size) ?? this.takeFresh(size);
    return this.takeFresh(size) ?? this.takeSpan(size) ?? this.split(size);
  }

  private takeFresh(size: number): number | undefined {
    if (this.top + size + UNIT > this.capacity) return undefined;
    this.top += size;
    return this.top - size;
  }

  private takeSpan(size: number): number | undefined {
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.spans.length; i++) {
      const { bytes } = this.spans[i]!;
      if (bytes >= size && bytes < least) {
        best = i;
        least = bytes;
      }
    }
    const span = this.spans[best];
    if (!span) return undefined;
    const { address } = span;
    span.address += size;
    span.bytes -= size;
    if (span.bytes < LARGE) {
      this.spans.splice(best, 1);
      this.scatter(span.address, span.bytes);
    }
    return address;
  }

  /** Splits the smallest free block that is large enough. */
  private split(size: number): number | undefined {
    let best = Number.POSITIVE_INFINITY;
    for (const [bytes, list] of this.free) if (list.length && bytes >= size && bytes < best) best = bytes;
    const address = this.free.get(best)?.pop();
    if (address === undefined) return undefined;
    this.freeBytes -= best;
    this.scatter(address + size, best - size);
    return address;
  }

  private put(address: number, size: number): void {
    const list = this.free.get(size);
    if (list) list.push(address);
    else this.free.set(size, [address]);
    this.freeBytes += size;
  }

  /** Divides a range smaller than LARGE into free small blocks, the largest first. */
  private scatter(from: number, bytes: number): void {
    for (let address = from, left = bytes; left > 0; ) {
      const size = classWithin(left);
      this.put(address, size);
      address += size;
      left -= size;
    }
  }

  /** Frees a large range: merges it with adjacent spans and with adjacent untouched memory. */
  private join(address: number, bytes: number): void {
    const { spans } = this;
    let [low, high] = [0, spans.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle]!.address < address) low = middle + 1;
      else high = middle;
    }
    const [before, after] = [spans[low - 1], spans[low]];
    const span = { address, bytes };
    let [at, count] = [low, 0];
    if (before && before.address + before.bytes === address) {
      span.address = before.address;
      span.bytes += before.bytes;
      at--;
      count++;
    }
    if (after && address + bytes === after.address) {
      span.bytes += after.bytes;
      count++;
    }
    if (span.address + span.bytes === this.top) {
      this.top = span.address;
      spans.splice(at, count);
    } else spans.splice(at, count, span);
  }

  /** Merges all adjacent free blocks, and merges the last free block with the untouched memory if they are adjacent. */
  private merge(): void {
    const all = this.spans;
    for (const [bytes, list] of this.free) for (const address of list) all.push({ address, bytes });
    this.free.clear();
    this.freeBytes = 0;
    all.sort((a, b) => a.address - b.address);
    const joined: Span[] = [];
    for (const span of all) {
      const last = joined.at(-1);
      if (last && last.address + last.bytes === span.address) last.bytes += span.bytes;
      else joined.push(span);
    }
    const last = joined.at(-1);
    if (last && last.address + last.bytes === this.top) {
      this.top = last.address;
      joined.pop();
    }
    this.spans = joined.filter(({ bytes }) => bytes >= LARGE);
    for (const { address, bytes } of joined) if (bytes < LARGE) this.scatter(address, bytes);
  }

  /** Merges free blocks, then grows memory, then calls `onFull`, until a block is found. @throws OutOfMemoryError */
  private reclaim(size: number, requested: number): number {
    const joined = (): number | undefined => {
      if (!this.freeBytes) return undefined;
      this.merge();
      return this.find(size);
    };
    const address = joined() ?? this.grow(size);
    if (address !== undefined) return address;
    this.onFull?.();
    const freed = this.find(size) ?? joined() ?? this.grow(size);
    if (freed === undefined) throw new OutOfMemoryError(requested, this.inUse, this.limit);
    return freed;
  }

  /** Grows memory for a block at its end; undefined if the limit or the host does not allow it. */
  private grow(size: number): number | undefined {
    const pages = Math.ceil((this.top + size + UNIT - this.capacity) / PAGE);
    const most = (this.limit - this.capacity) / PAGE;
    if (pages > most) return undefined;
    // Grow by a quarter if the limit allows, so that growth is rare. If the host refuses, grow by as little as possible.
    for (const amount of new Set([Math.floor(Math.min(Math.max(pages, this.capacity / PAGE / 4), most)), pages])) {
      try {
        this.memory.grow(amount);
      } catch {
        continue;
      }
      this.refreshViews();
      return this.takeFresh(size);
    }
    return undefined;
  }

  /**
   * Makes new views. This is necessary after `memory.grow`, which detaches the old ones. In shared memory, the old views
   * stay valid but are too short.
   */
  private refreshViews(): void {
    const { buffer } = this.memory;
    this.f32 = new Float32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }
}
