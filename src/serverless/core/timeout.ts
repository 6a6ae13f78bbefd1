/** Limits how long a request waits. */
import { Problem } from "./problems.ts";

/** The error for a request whose client has disconnected. The client never receives it. */
export const disconnectError = (): Problem => new Problem(400, "The client disconnected.");

interface Timeout {
  readonly milliseconds: number;
  /** Creates the error to throw when time runs out. */
  readonly timeoutError: () => Problem;
  /** Aborted if the client disconnects, which ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Receives a function that ends the wait with an error. */
  readonly onStart?: (reject: (error: Problem) => void) => void;
}

/**
 * Settles the same way as `work`, unless `work` takes longer than `milliseconds`.
 * @throws the result of `timeoutError`; Problem if `signal` is aborted
 */
export async function withTimeout<T>(
  work: Promise<T>,
  { milliseconds, timeoutError, signal, onStart }: Timeout,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort = (): void => {};
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(timeoutError()), milliseconds);
    onStart?.(reject);
    abort = () => reject(disconnectError());
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
