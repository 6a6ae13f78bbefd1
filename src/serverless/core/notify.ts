/** Calls the listeners that users pass. A listener that throws or rejects never fails a request or crashes the process. */

export type Notify<T = unknown> = (event: T) => void;

export function notifier<T = unknown>(listener: (event: T) => unknown = console.error): Notify<T> {
  return (event) => {
    try {
      Promise.resolve(listener(event)).catch(() => {});
    } catch {}
  };
}
