/** Joins samples of several requests into one call of the model. It knows nothing of requests: each caller waits for its own rows. */
import type { Elements } from "../core/bodies.ts";
import type { Batching } from "../core/schema.ts";
import { turn } from "../core/slices.ts";

/** A compiled function keeps 8 recordings: calls have no more sizes than that. */
const MOST_SIZES = 8;

/**
 * The sizes that calls have, from the largest to the smallest: `size`, then powers of two. Fewer samples are padded, so that a compiled
 * model is not recorded for every number of them.
 */
export function callSizes(size: number): readonly number[] {
  const sizes = [size];
  for (let next = 2 ** (Math.ceil(Math.log2(size)) - 1); next >= 1 && sizes.length < MOST_SIZES; next /= 2)
    sizes.push(next);
  return sizes;
}

/** Reads a caller's rows of the output, while the output lives. */
type Read<Y, T> = (y: Y, from: number, count: number) => T;

interface Waiting<Y, T> {
  readonly elements: Elements;
  readonly read: Read<Y, T>;
  readonly resolve: (part: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Callers whose samples have one shape. */
interface Queue<Y, T> {
  list: Waiting<Y, T>[];
  count: number;
}

const countOf = ({ shape }: Elements): number => shape[0]!;

export class Batcher<Y, T> {
  /** By the shape of a sample. */
  readonly #queues = new Map<string, Queue<Y, T>>();
  readonly #size: number;
  readonly #wait: number;
  readonly #sizes: readonly number[];
  readonly #run: (elements: Elements, use: (y: Y) => void) => void;

  /** @param run calls the model on samples, and `use` with its output */
  constructor({ size, wait }: Batching, run: (elements: Elements, use: (y: Y) => void) => void) {
    [this.#size, this.#wait, this.#sizes, this.#run] = [size, wait, callSizes(size), run];
  }

  /**
   * Runs the model on samples, together with those of others.
   * @returns what `read` makes of their rows. Rejects with what the model throws if it is called with these samples alone
   */
  add(elements: Elements, read: Read<Y, T>): Promise<T> {
    const count = countOf(elements);
    return new Promise((resolve, reject) => {
      const waiting = { elements, read, resolve, reject };
      if (count > this.#size) {
        this.#call([waiting], count);
        return;
      }
      const key = String(elements.shape.slice(1));
      let queue = this.#queues.get(key);
      if (queue && queue.count + count > this.#size) {
        this.#flush(key);
        queue = undefined;
      }
      if (!queue) {
        queue = { list: [], count: 0 };
        this.#queues.set(key, queue);
        this.#flushLater(key, queue);
      }
      queue.list.push(waiting);
      queue.count += count;
      if (queue.count === this.#size) this.#flush(key);
    });
  }

  #flushLater(key: string, queue: Queue<Y, T>): void {
    const flush = (): void => {
      if (this.#queues.get(key) === queue) this.#flush(key);
    };
    if (this.#wait > 0) setTimeout(flush, this.#wait);
    else void turn().then(flush);
  }

  #flush(key: string): void {
    const { list, count } = this.#queues.get(key)!;
    this.#queues.delete(key);
    this.#call(list, count);
  }

  #call(list: readonly Waiting<Y, T>[], count: number): void {
    const parts: (() => void)[] = [];
    try {
      this.#run(this.#joined(list, count), (y) => {
        let from = 0;
        for (const { elements, read, resolve, reject } of list) {
          const rows = countOf(elements);
          try {
            const part = read(y, from, rows);
            parts.push(() => resolve(part));
          } catch (error) {
            parts.push(() => reject(error));
          }
          from += rows;
        }
      });
    } catch (error) {
      // One of them may be at fault: the others must not fail with it.
      if (list.length === 1) {
        list[0]!.reject(error);
        return;
      }
      const half = list.length >> 1;
      for (const part of [list.slice(0, half), list.slice(half)])
        this.#call(
          part,
          part.reduce((sum, { elements }) => sum + countOf(elements), 0),
        );
      return;
    }
    for (const settle of parts) settle();
  }

  /** The samples of all callers, and copies of the last one up to the next size. */
  #joined(list: readonly Waiting<Y, T>[], count: number): Elements {
    const { values: first, shape, dtype } = list[0]!.elements;
    const size = this.#sizes.findLast((own) => own >= count) ?? count;
    if (list.length === 1 && size === count) return list[0]!.elements;
    const width = first.length / shape[0]!;
    const values = new (first.constructor as Float32ArrayConstructor)(size * width);
    let at = 0;
    for (const { elements } of list) {
      values.set(elements.values, at);
      at += elements.values.length;
    }
    for (; at < values.length; at += width) values.copyWithin(at, at - width, at);
    return { values, shape: [size, ...shape.slice(1)], dtype };
  }
}
