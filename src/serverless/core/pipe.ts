/** Writes answers into Node's streams: no faster than the client reads, and no longer than it reads. */

/** What is used of a Writable of Node's. */
export interface Sink {
  readonly destroyed: boolean;
  readonly writableFinished: boolean;
  write(piece: Uint8Array): boolean;
  end(): unknown;
  end(whole: Uint8Array): unknown;
  once(event: string, listener: () => void): unknown;
  off?(event: string, listener: () => void): unknown;
  destroy(): unknown;
}

/** Calls `leave` when the sink is gone before it has everything, now or later. */
export function onLeaving(sink: Sink, leave: () => void): void {
  const look = (): void => {
    if (!sink.writableFinished) leave();
  };
  if (sink.destroyed) look();
  else sink.once("close", look);
}

/** Waits until the sink takes more, or is gone. A client that reads nothing for `milliseconds` is cut off. */
function room(sink: Sink, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      sink.off?.("drain", end);
      sink.off?.("close", end);
      resolve();
    };
    const timer = Number.isFinite(milliseconds) ? setTimeout(() => sink.destroy(), milliseconds) : undefined;
    sink.once("drain", end);
    sink.once("close", end);
  });
}

/**
 * Writes a body, and ends the sink. A body that breaks off leaves it open; a sink that goes away cancels the body.
 * @param patience milliseconds for which a client may read nothing. Default: forever
 */
export async function pipe(
  body: ReadableStream<Uint8Array> | null,
  sink: Sink,
  patience = Number.POSITIVE_INFINITY,
): Promise<void> {
  const reader = body?.getReader();
  if (reader) onLeaving(sink, () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    if (!sink.write(value!) && !sink.destroyed) await room(sink, patience);
  }
  sink.end();
}

/** Bytes that are written at once: so much a client must read within its patience. */
const PIECE = 2 ** 16;

/** An answer that a client has not read yet. */
interface Unsent {
  readonly bytes: number;
  /** When the client last took something. */
  moved: number;
  readonly sink: Sink;
}

/** Milliseconds after which a client that reads nothing loses its answer to another one, if memory is short. */
const STALLED = 1000;

/** Large answers that clients have not read yet, within a budget of bytes. */
export class Outbox {
  readonly #unsent = new Set<Unsent>();
  readonly #most: number;
  readonly #patience: number;
  #held = 0;

  /** @param patience milliseconds for which a client may read nothing */
  constructor(bytes: number, patience: number) {
    this.#most = bytes;
    this.#patience = patience;
  }

  /** Whether an answer of so many bytes may wait for its client. Cuts off clients that read nothing, if it must. */
  admits(bytes: number): boolean {
    if (bytes <= PIECE) return true;
    const stalled = [...this.#unsent]
      .filter(({ moved }) => performance.now() - moved > STALLED)
      .sort((a, b) => a.moved - b.moved);
    const isFull = (): boolean => this.#unsent.size > 0 && this.#held + bytes > this.#most;
    for (const own of stalled) {
      if (!isFull()) break;
      this.#remove(own);
      own.sink.destroy();
    }
    return !isFull();
  }

  #remove(own: Unsent): void {
    if (this.#unsent.delete(own)) this.#held -= own.bytes;
  }

  /** Writes all of an answer, and ends the sink. */
  async send(bytes: Uint8Array, sink: Sink): Promise<void> {
    if (bytes.length <= PIECE) {
      sink.end(bytes);
      return;
    }
    const own: Unsent = { bytes: bytes.length, moved: performance.now(), sink };
    this.#unsent.add(own);
    this.#held += own.bytes;
    try {
      for (let at = 0; at < bytes.length && !sink.destroyed; at += PIECE) {
        if (sink.write(bytes.subarray(at, at + PIECE)) || sink.destroyed) continue;
        await room(sink, this.#patience);
        own.moved = performance.now();
      }
      if (!sink.destroyed) sink.end();
    } finally {
      this.#remove(own);
    }
  }
}
