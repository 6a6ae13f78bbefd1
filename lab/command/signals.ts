/** When a server is to stop: by a signal, or because npx or npm, which started it, has ended without passing one on. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Milliseconds between two looks at the parent. */
const EVERY = 250;

/** npm runs commands in a shell, and on SIGTERM ends the shell alone. It sets this for whatever it runs. */
const isOfNpm = (): boolean => process.env.npm_lifecycle_event !== undefined || process.env.npm_command !== undefined;

/** Settles at the first signal to stop; the second one finds no listener, and ends the process. */
export function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    const parent = process.ppid;
    const stop = (): void => {
      clearInterval(timer);
      for (const signal of SIGNALS) process.removeListener(signal, stop);
      resolve();
    };
    const timer = isOfNpm()
      ? setInterval(() => {
          if (process.ppid !== parent) stop();
        }, EVERY).unref()
      : undefined;
    for (const signal of SIGNALS) process.on(signal, stop);
  });
}
