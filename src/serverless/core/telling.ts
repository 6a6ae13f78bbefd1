/** Calls what users give to be told of things. Their own errors, thrown or rejected, must not end a request or the process. */

export type Tell<T = unknown> = (what: T) => void;

export function telling<T = unknown>(listener: (what: T) => unknown = console.error): Tell<T> {
  return (what) => {
    try {
      Promise.resolve(listener(what)).catch(() => {});
    } catch {}
  };
}
