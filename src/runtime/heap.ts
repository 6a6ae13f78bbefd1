/**
 * Linear memory and who owns which part of it. TypeScript alone allocates; kernels only see addresses.
 *
 *     0        64            128                 4096
 *     ┌────────┬─────────────┬───────────────────┬──────────────── … ───────┬──────────┐
 *     │ unused │ random state│ eager instruction │ blocks, 64-byte aligned  │ 64 bytes │
 *     └────────┴─────────────┴───────────────────┴──────────────── … ───────┴──────────┘
 *
 * Blocks come in size classes, eight to a power of two (at most 12.5 % unused), each with its own list of free blocks.
 * When a list is empty and the fresh end of memory is reached, free blocks are merged before memory grows. The last
 * 64 bytes are never given out: kernels may read up to 16 bytes past a buffer.
 */
import { OutOfMemoryError } from "./errors.ts";

const PAGE = 65536;
const UNIT = 64;
/** The most that 32-bit addresses reach. */
export const MAX_BYTES = 65536 * PAGE;

/** Where the random generator's state lives: [seed low, seed high, counter low, counter high]. */
export const RANDOM_STATE = 64;
/** Where eager mode writes its one instruction, and the words that fit there. */
export const SCRATCH = 128;
export const SCRATCH_WORDS = (4096 - SCRATCH) / 4;
const HEAP_BASE = 4096;

/** Units of 64 bytes in the size class that holds `bytes`. */
function classUnits(bytes: number): number {
  const units = Math.max(1, Math.ceil(bytes / UNIT));
  const step = 2 ** Math.max(0, 28 - Math.clz32(units));
  return Math.ceil(units / step) * step;
}

export class Heap {
  memory: WebAssembly.Memory;
  /** Bytes the memory may grow to. */
  readonly limit: number;
  f32!: Float32Array;
  i32!: Int32Array;
  u32!: Uint32Array;
  u8!: Uint8Array;
  /** Bytes in blocks that are given out, and the most there ever were. */
  inUse = 0;
  highWater = 0;
  /** Tensors that live in it: counted by who makes them. */
  tensors = 0;

  /** Free blocks by class (in units): addresses. */
  private free = new Map<number, number[]>();
  /** Bytes in free blocks. */
  private freeBytes = 0;
  /** Merged free ranges of any size: [address, bytes], how many bytes in all, and an upper bound of the largest. */
  private spans: [number, number][] = [];
  private spanBytes = 0;
  private largestSpan = 0;
  /** Where untouched memory begins. */
  private top = HEAP_BASE;

  /** @throws RangeError where the host refuses the memory, which it may do to a large one that is shared */
  constructor({ memoryLimit = MAX_BYTES, shared = false }: { memoryLimit?: number; shared?: boolean } = {}) {
    this.limit = Math.min(MAX_BYTES, Math.ceil(memoryLimit / PAGE) * PAGE);
    const maximum = this.limit / PAGE;
    this.memory = new WebAssembly.Memory({ initial: Math.min(64, maximum), maximum, shared });
    this.refreshViews();
  }

  /** The address of a block of at least `bytes` bytes. Its contents are undefined. */
  allocate(bytes: number): number {
    const size = classUnits(bytes) * UNIT;
    const address = this.free.get(size)?.pop();
    if (address !== undefined) this.freeBytes -= size;
    const found = address ?? this.takeSpan(size) ?? this.takeFresh(size);
    this.inUse += size;
    if (this.inUse > this.highWater) this.highWater = this.inUse;
    return found;
  }

  /** Gives back the block at `address`, allocated with the same number of bytes. */
  release(address: number, bytes: number): void {
    const size = classUnits(bytes) * UNIT;
    const list = this.free.get(size);
    if (list) list.push(address);
    else this.free.set(size, [address]);
    this.freeBytes += size;
    this.inUse -= size;
  }

  /** Lets go of the memory, whoever still holds the heap. */
  close(): void {
    this.memory = new WebAssembly.Memory({ initial: 0 });
    this.refreshViews();
  }

  /** Bytes of linear memory held from the host. */
  get capacity(): number {
    return this.memory.buffer.byteLength;
  }

  private takeSpan(size: number): number | undefined {
    if (size > this.largestSpan) return undefined;
    const index = this.spans.findIndex((span) => span[1] >= size);
    const span = this.spans[index];
    if (!span) {
      // None is that large: no search for this size, or a larger one, until the next merge.
      this.largestSpan = size - UNIT;
      return undefined;
    }
    const address = span[0];
    span[0] += size;
    span[1] -= size;
    this.spanBytes -= size;
    if (span[1] === 0) this.spans.splice(index, 1);
    return address;
  }

  private takeFresh(size: number): number {
    if (this.top + size + UNIT > this.capacity) {
      // Merging costs a sort, so it is tried only where it could free enough.
      if (this.freeBytes > 0 && this.freeBytes + this.spanBytes >= size) {
        this.merge();
        const address = this.takeSpan(size);
        if (address !== undefined) return address;
      }
      this.grow(this.top + size + UNIT, size);
    }
    const address = this.top;
    this.top += size;
    return address;
  }

  /** Turns all free blocks into as few spans as possible; a span at the end becomes untouched memory again. */
  private merge(): void {
    const all = this.spans;
    for (const [size, list] of this.free) for (const address of list) all.push([address, size]);
    this.free.clear();
    this.freeBytes = 0;
    all.sort((a, b) => a[0] - b[0]);
    const spans: [number, number][] = [];
    for (const span of all) {
      const last = spans[spans.length - 1];
      if (last && last[0] + last[1] === span[0]) last[1] += span[1];
      else spans.push(span);
    }
    const last = spans[spans.length - 1];
    if (last && last[0] + last[1] === this.top) {
      this.top = last[0];
      spans.pop();
    }
    this.spans = spans;
    this.spanBytes = spans.reduce((total, span) => total + span[1], 0);
    this.largestSpan = spans.reduce((most, span) => Math.max(most, span[1]), 0);
  }

  private grow(needed: number, requested: number): void {
    const pages = Math.ceil((needed - this.capacity) / PAGE);
    if (pages <= 0) return;
    // By a quarter at a time where the limit allows, so that growth stays rare.
    const generous = Math.min(Math.max(pages, this.capacity / PAGE / 4), (this.limit - this.capacity) / PAGE);
    for (const amount of [Math.floor(generous), pages]) {
      if (amount < pages) continue;
      try {
        this.memory.grow(amount);
        this.refreshViews();
        return;
      } catch {
        // The host refused: try the least that would do, then give up.
      }
    }
    throw new OutOfMemoryError(requested, this.inUse, this.limit);
  }

  /** `memory.grow` detaches old views; of a shared memory it leaves them too short. */
  private refreshViews(): void {
    const { buffer } = this.memory;
    this.f32 = new Float32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }
}
