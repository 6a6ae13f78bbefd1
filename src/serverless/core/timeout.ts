/** Limits how long a request waits. */
import { Problem } from "./problems.ts";

/** Sent when the client has disconnected, so no one reads it. */
export const disconnected = (): Problem => new Problem(400, "The client disconnected.");

interface Timeout {
  readonly milliseconds: number;
  /** The error after that time. */
  readonly late: () => Problem;
  /** Ends the wait if the client disconnects. */
  readonly signal?: AbortSignal | undefined;
  /** Receives a function that ends the wait with an error. */
  readonly onStart?: (reject: (error: Problem) => void) => void;
}

/**
 * Settles as `work` does, unless that takes longer.
 * @throws what `late` returns; Problem if `signal` is aborted
 */
export async function withTimeout<T>(work: Promise<T>, { milliseconds, late, signal, onStart }: Timeout): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort = (): void => {};
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
    onStart?.(reject);
    abort = () => reject(disconnected());
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
