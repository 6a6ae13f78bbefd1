/**
 * Combines the samples of several callers into one call to the model. Each caller waits for its own rows of the output.
 */
import type { Batching } from "../core/schema.ts";
import { nextTurn } from "../core/slices.ts";
import type { Elements } from "../core/tensors.ts";

/** The maximum number of batch sizes, which is the number of recordings that a compiled function keeps. */
const MAX_SIZES = 8;

/**
 * The batch sizes in descending order: `size`, then smaller powers of two. Batches are padded to the next larger size,
 * so that a compiled model is not recorded for every number of samples.
 */
export function batchSizes(size: number): readonly number[] {
  const sizes = [size];
  for (let next = 2 ** (Math.ceil(Math.log2(size)) - 1); next >= 1 && sizes.length < MAX_SIZES; next /= 2)
    sizes.push(next);
  return sizes;
}

/** Reads a caller's rows from an output. The output is freed afterwards. */
type Read<Y, T> = (y: Y, from: number, count: number) => T;

/** One caller's samples, and the functions that settle its promise. */
interface Entry<Y, T> {
  readonly elements: Elements;
  readonly read: Read<Y, T>;
  readonly resolve: (part: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Entries waiting to run together. Their samples have the same shape. */
interface Queue<Y, T> {
  readonly entries: Entry<Y, T>[];
  /** The total number of samples. */
  count: number;
}

type Samples = Pick<Entry<unknown, unknown>, "elements">;
const samplesIn = ({ elements }: Samples): number => elements.shape[0]!;

export class Batcher<Y, T> {
  /** The open queues, keyed by the shape of a sample. */
  readonly #queues = new Map<string, Queue<Y, T>>();
  readonly #size: number;
  readonly #wait: number;
  readonly #sizes: readonly number[];
  readonly #run: (elements: Elements, use: (y: Y) => void) => void;

  /** @param run runs the model on samples, and passes its output to `use` */
  constructor({ size, wait }: Batching, run: (elements: Elements, use: (y: Y) => void) => void) {
    this.#size = size;
    this.#wait = wait;
    this.#sizes = batchSizes(size);
    this.#run = run;
  }

  /**
   * Runs the model on samples, together with the samples of other callers.
   * @returns the result of `read` for these samples' rows of the output. Rejects if `read` throws, or if the model
   * throws even when it runs on these samples alone
   */
  add(elements: Elements, read: Read<Y, T>): Promise<T> {
    return new Promise((resolve, reject) => this.#enqueue({ elements, read, resolve, reject }));
  }

  #enqueue(entry: Entry<Y, T>): void {
    const count = samplesIn(entry);
    if (count > this.#size) {
      this.#runBatch([entry]);
      return;
    }
    const key = String(entry.elements.shape.slice(1));
    let queue = this.#queues.get(key);
    if (queue && queue.count + count > this.#size) {
      this.#flush(key, queue);
      queue = undefined;
    }
    if (!queue) {
      queue = { entries: [], count: 0 };
      this.#queues.set(key, queue);
      this.#flushLater(key, queue);
    }
    queue.entries.push(entry);
    queue.count += count;
    if (queue.count === this.#size) this.#flush(key, queue);
  }

  #flushLater(key: string, queue: Queue<Y, T>): void {
    const flush = (): void => {
      if (this.#queues.get(key) === queue) this.#flush(key, queue);
    };
    if (this.#wait > 0) setTimeout(flush, this.#wait);
    else void nextTurn().then(flush);
  }

  #flush(key: string, { entries }: Queue<Y, T>): void {
    this.#queues.delete(key);
    this.#runBatch(entries);
  }

  #runBatch(entries: readonly Entry<Y, T>[]): void {
    /**
     * Promises are settled only after the call to the model, because a promise that is already resolved cannot be
     * rejected if the call fails.
     */
    const settlements: (() => void)[] = [];
    try {
      this.#run(this.#join(entries), (y) => {
        let from = 0;
        for (const entry of entries) {
          const count = samplesIn(entry);
          settlements.push(settlement(entry, y, from, count));
          from += count;
        }
      });
    } catch (error) {
      this.#retryHalves(entries, error);
      return;
    }
    for (const settle of settlements) settle();
  }

  /** Runs each half of a failed batch again, so that in the end only the entries that cause the error fail. */
  #retryHalves(entries: readonly Entry<Y, T>[], error: unknown): void {
    if (entries.length === 1) {
      entries[0]!.reject(error);
      return;
    }
    const half = entries.length >> 1;
    this.#runBatch(entries.slice(0, half));
    this.#runBatch(entries.slice(half));
  }

  /** The samples of all entries, padded to the next batch size with copies of the last sample. */
  #join(entries: readonly Entry<Y, T>[]): Elements {
    const count = entries.reduce((sum, entry) => sum + samplesIn(entry), 0);
    const { values: first, shape, dtype } = entries[0]!.elements;
    const size = this.#sizes.findLast((allowed) => allowed >= count) ?? count;
    if (entries.length === 1 && size === count) return entries[0]!.elements;
    const width = first.length / shape[0]!;
    const values = new (first.constructor as Float32ArrayConstructor)(size * width); // every typed array's constructor accepts a length
    let at = 0;
    for (const { elements } of entries) {
      values.set(elements.values, at);
      at += elements.values.length;
    }
    for (; at < values.length; at += width) values.copyWithin(at, at - width, at);
    return { values, shape: [size, ...shape.slice(1)], dtype };
  }
}

/** Reads an entry's rows, and returns a function that settles its promise. */
function settlement<Y, T>({ read, resolve, reject }: Entry<Y, T>, y: Y, from: number, count: number): () => void {
  try {
    const part = read(y, from, count);
    return () => resolve(part);
  } catch (error) {
    return () => reject(error);
  }
}
