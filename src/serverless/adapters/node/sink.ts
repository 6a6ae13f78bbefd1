/** Writes responses to Node streams, no faster than the client reads. Disconnects clients that stop reading. */

/** The part of Node's Writable that nabla uses. */
export interface Sink {
  /** Whether the connection is closed. */
  readonly destroyed: boolean;
  /** Whether the whole response has been sent. */
  readonly writableFinished: boolean;
  /** Sends a chunk. Returns false if the buffer is full; the event "drain" then reports when there is room again. */
  write(chunk: Uint8Array): boolean;
  /** Ends the response. */
  end(): unknown;
  /** Sends the last chunk and ends the response. */
  end(whole: Uint8Array): unknown;
  /** Calls `listener` the next time this event occurs. */
  once(event: string, listener: () => void): unknown;
  /** Removes a listener that `once` added. */
  off?(event: string, listener: () => void): unknown;
  /** Closes the connection immediately. */
  destroy(): unknown;
}

/** Calls `abort` if the sink closes, or has already closed, before everything has been written. */
export function onAbort(sink: Sink, abort: () => void): void {
  const onClose = (): void => {
    if (!sink.writableFinished) abort();
  };
  if (sink.destroyed) onClose();
  else sink.once("close", onClose);
}

/** Waits until the sink accepts more or closes. Disconnects a client that reads nothing for `milliseconds`. */
function waitForDrain(sink: Sink, milliseconds: number): Promise<void> {
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
 * Writes a body and ends the sink. If the body fails, the sink stays open; if the sink closes, the body is cancelled.
 * @param writeTimeout how long a client may go without reading, in milliseconds. Default: no limit
 */
export async function pipe(
  body: ReadableStream<Uint8Array> | null,
  sink: Sink,
  writeTimeout = Number.POSITIVE_INFINITY,
): Promise<void> {
  const reader = body?.getReader();
  if (reader) onAbort(sink, () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    if (!sink.write(value!) && !sink.destroyed) await waitForDrain(sink, writeTimeout);
  }
  sink.end();
}

/** The number of bytes per write. A client must read this many bytes within the write timeout. */
const CHUNK = 2 ** 16;

/** A response that its client has not read yet. */
interface Unsent {
  readonly bytes: number;
  /** The time at which the client last read something. */
  lastRead: number;
  readonly sink: Sink;
}

/** The time in milliseconds after which a client that reads nothing is disconnected if another response needs the memory. */
const STALLED = 1000;

/** The large responses that clients have not read yet, whose total size is limited. */
export class Outbox {
  readonly #unsent = new Set<Unsent>();
  readonly #limit: number;
  readonly #writeTimeout: number;
  #held = 0;

  /** @param writeTimeout how long a client may go without reading, in milliseconds */
  constructor(bytes: number, writeTimeout: number) {
    this.#limit = bytes;
    this.#writeTimeout = writeTimeout;
  }

  /** Whether there is room for a response of `bytes`. To make room, disconnects clients that read nothing. */
  admits(bytes: number): boolean {
    if (bytes <= CHUNK) return true;
    const stalled = [...this.#unsent]
      .filter(({ lastRead }) => performance.now() - lastRead > STALLED)
      .sort((a, b) => a.lastRead - b.lastRead);
    const isFull = (): boolean => this.#unsent.size > 0 && this.#held + bytes > this.#limit;
    for (const entry of stalled) {
      if (!isFull()) break;
      this.#remove(entry);
      entry.sink.destroy();
    }
    return !isFull();
  }

  #remove(entry: Unsent): void {
    if (this.#unsent.delete(entry)) this.#held -= entry.bytes;
  }

  /** Writes a whole response and ends the sink. */
  async send(bytes: Uint8Array, sink: Sink): Promise<void> {
    if (bytes.length <= CHUNK) {
      sink.end(bytes);
      return;
    }
    const entry: Unsent = { bytes: bytes.length, lastRead: performance.now(), sink };
    this.#unsent.add(entry);
    this.#held += entry.bytes;
    try {
      for (let at = 0; at < bytes.length && !sink.destroyed; at += CHUNK) {
        if (sink.write(bytes.subarray(at, at + CHUNK)) || sink.destroyed) continue;
        await waitForDrain(sink, this.#writeTimeout);
        entry.lastRead = performance.now();
      }
      if (!sink.destroyed) sink.end();
    } finally {
      this.#remove(entry);
    }
  }
}
