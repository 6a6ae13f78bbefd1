/**
 * Reads a request's body, with limits on its size and on how long it may take to arrive. Does not interpret the body.
 */
import type { Budget } from "./budget.ts";
import { Problem, unavailable } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";
import { withTimeout } from "./timeout.ts";

/** The memory that an unfinished request takes in addition to its body: a socket, buffers and closures. */
export const REQUEST_BYTES = 2 ** 14;

/**
 * Receives a request's body. Accepts at most `bytes` bytes, counts them in `budget` until the body is complete, and
 * waits at most `milliseconds`.
 * @throws Problem 413 if the body is too large, 408 if it does not arrive in time, 503 if the budget runs out, 400 if the
 * body is incomplete or the client disconnects
 */
export async function receiveBody(
  request: HandlerRequest,
  { bytes, milliseconds }: { readonly bytes: number; readonly milliseconds: number },
  budget: Budget,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const tooLarge = (): Problem =>
    new Problem(413, `The body exceeds the limit of ${bytes} bytes. Send less per request.`);
  const timeoutError = (): Problem =>
    new Problem(408, `The body did not arrive within ${milliseconds} ms. Send it faster.`);
  const overBudget = (): Problem => unavailable("Too many request bodies are arriving at once. Try again later.");
  if (Number(request.header("content-length")) > bytes) throw tooLarge();

  const buffer = new GrowingBuffer();
  let evict = (): void => {};
  const share = budget.share(() => evict());
  const receiving = request.receive((chunk) => {
    if (buffer.length + chunk.length > bytes) throw tooLarge();
    buffer.append(chunk);
    share.hold(REQUEST_BYTES + buffer.length);
  });
  try {
    if (!receiving) return new Uint8Array(0);
    const complete = receiving.complete.catch((error) => {
      throw error instanceof Problem ? error : new Problem(400, "The body is incomplete. Send all of it.");
    });
    await withTimeout(complete, {
      milliseconds,
      timeoutError,
      signal,
      onStart(reject) {
        evict = () => reject(overBudget());
        share.hold(REQUEST_BYTES);
      },
    });
    return buffer.bytes();
  } catch (error) {
    receiving?.stop();
    throw error;
  } finally {
    share.release();
  }
}

/**
 * Collects chunks in one growing buffer. A list of chunks would need about a hundred bytes more for each chunk, even
 * for one that holds a single byte.
 */
class GrowingBuffer {
  length = 0;
  #buffer: Uint8Array = new Uint8Array(0);

  append(chunk: Uint8Array): void {
    const length = this.length + chunk.length;
    // Most bodies consist of one chunk, which needs no copy.
    if (!this.length) this.#buffer = chunk;
    else {
      if (length > this.#buffer.length) {
        const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length, 1024));
        larger.set(this.#buffer.subarray(0, this.length));
        this.#buffer = larger;
      }
      this.#buffer.set(chunk, this.length);
    }
    this.length = length;
  }
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }
}
