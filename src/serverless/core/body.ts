/** Reads a request's body within limits of bytes and time. Nothing here knows what the body means. */
import type { Arriving, Asked } from "./asked.ts";
import type { Budget } from "./budget.ts";
import { within } from "./limits.ts";
import { Problem, unavailable } from "./problems.ts";

/** What an unfinished request costs besides its bytes: a socket, its buffers and its closures. */
export const REQUEST_BYTES = 2 ** 14;

/**
 * The request's body. It never holds more than `bytes`, counts what it holds in `budget` until the body is complete, and stops waiting
 * for a slow client after `milliseconds`.
 * @throws Problem 413, 408, 503 if the budget is spent, or 400 if the client breaks off
 */
export async function readBody(
  request: Asked,
  { bytes, milliseconds }: { readonly bytes: number; readonly milliseconds: number },
  budget: Budget,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const tooLarge = (): Problem =>
    new Problem(413, `The body is larger than ${bytes} bytes, which is the most that is taken. Send less at a time.`);
  const late = (): Problem => new Problem(408, `The body did not arrive within ${milliseconds} ms. Send it faster.`);
  const spent = (): Problem => unavailable("Too many bodies are arriving at once. Try again, and send it faster.");
  if (Number(request.headers.get("content-length")) > bytes) throw tooLarge();
  if (!request.pieces && !request.body) return new Uint8Array(0);

  const pieces = new Pieces();
  let evict = (): void => {};
  const share = budget.share(() => evict());
  const arriving = arrivingOf(request, (piece) => {
    if (pieces.length + piece.length > bytes) throw tooLarge();
    pieces.add(piece);
    share.hold(REQUEST_BYTES + pieces.length);
  });
  try {
    const complete = arriving.complete.catch((error) => {
      throw error instanceof Problem ? error : new Problem(400, "The body ended too early. Send it whole.");
    });
    await within(complete, milliseconds, late, signal, (reject) => {
      evict = () => reject(spent());
      share.hold(REQUEST_BYTES);
    });
    return pieces.joined();
  } catch (error) {
    arriving.stop();
    throw error;
  } finally {
    share.end();
  }
}

function arrivingOf(request: Asked, hear: (piece: Uint8Array) => void): Arriving {
  if (request.pieces) return request.pieces(hear);
  const reader = request.body!.getReader();
  const read = async (): Promise<void> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      hear(value);
    }
  };
  return { complete: read(), stop: () => void reader.cancel().catch(() => {}) };
}

/** Bytes in one buffer that grows. A list of pieces would cost a hundred bytes for each byte that is sent alone. */
class Pieces {
  length = 0;
  #buffer: Uint8Array = new Uint8Array(0);

  add(piece: Uint8Array): void {
    const length = this.length + piece.length;
    // Most bodies are one piece, which is not copied.
    if (!this.length) this.#buffer = piece;
    else {
      if (length > this.#buffer.length) {
        const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length, 1024));
        larger.set(this.#buffer.subarray(0, this.length));
        this.#buffer = larger;
      }
      this.#buffer.set(piece, this.length);
    }
    this.length = length;
  }
  joined(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }
}
