/**
 * Tells a page when its worker cannot start, throws, or ends. Browsers fire no event when a worker ends, so each worker
 * holds a lock for as long as it lives.
 */

/** Call this in the worker before the worker sends its first message. Holds a lock with the worker's name until the worker ends. */
export function showLife(): Promise<void> {
  // Pages that are not served over HTTPS have no locks, and tests in Node 20 have no navigator.
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  if (!locks) return Promise.resolve();
  return new Promise((resolve) => {
    const held = locks.request(self.name, () => {
      resolve();
      return new Promise<never>(() => {});
    });
    held.catch(() => resolve()); // browsers may forbid locks, as they may forbid storage
  });
}

/** A name for a worker, unique among all pages of the site, because the pages share their locks. */
export const nameWorker = (): string => `lab-${Date.now()}-${Math.random()}`;

/**
 * If the worker fails, terminates it and calls `onFailure` once with the reason. `name` is the worker's name.
 * @returns a function that terminates the worker
 */
export function supervise(worker: Worker, name: string, onFailure: (reason: string) => void): () => void {
  const over = new AbortController();
  const end = (): void => {
    over.abort();
    worker.terminate();
  };
  const fail = (reason: string): void => {
    if (over.signal.aborted) return;
    end();
    onFailure(reason);
  };
  worker.onerror = ({ message }) =>
    fail(
      message
        ? `The computation stopped: ${message.replace(/^Uncaught /, "")}`
        : "The computation could not start. Check your connection.",
    );
  worker.onmessageerror = () => fail("The computation stopped: its result could not be read.");
  const waitForEnd = (): void =>
    void navigator.locks
      ?.request(name, { signal: over.signal }, () => fail("The browser ended the computation, perhaps to save memory."))
      .catch(() => {}); // rejects if the page ended the worker
  worker.addEventListener("message", waitForEnd, { once: true });
  return end;
}
