/** Calls the listeners that users pass. An error that a listener throws or rejects with never ends a request or the process. */

export type Notify<T = unknown> = (event: T) => void;

export function notifier<T = unknown>(listener: (event: T) => unknown = console.error): Notify<T> {
  return (event) => {
    try {
      Promise.resolve(listener(event)).catch(() => {});
    } catch {}
  };
}
