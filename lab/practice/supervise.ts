/**
 * Checks code in a worker, and terminates the worker if the code runs too long. Supports the workers of Node and of
 * browsers.
 */
import type { Outcome } from "./run.ts";

/** The message that the host sends to the worker. */
export interface Task {
  /** The name of the exercise. */
  readonly name: string;
  readonly source: string;
}

/** The messages that the worker sends to the host. */
export type Message =
  /** The worker has loaded, and starts to run the code. */
  | { readonly kind: "started" }
  /** A line that the code printed. */
  | { readonly kind: "log"; readonly text: string }
  | { readonly kind: "outcome"; readonly outcome: Outcome }
  | { readonly kind: "ended" };

export interface Thread {
  terminate(): unknown;
}

/** The longest time that code may run, in seconds. */
export const SECONDS = 5;

/**
 * Starts a worker and collects the outcomes. If the code runs too long or the worker dies, adds a failed outcome with
 * the reason.
 * @param start starts the worker, forwards its messages, and calls `died` if the worker ends on its own
 * @param log receives what the code prints
 */
export function supervise(
  start: (receive: (message: Message) => void, died: (why: string) => void) => Thread,
  log: (text: string) => void = () => {},
): Promise<readonly Outcome[]> {
  return new Promise((resolve) => {
    const outcomes: Outcome[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = (message?: string): void => {
      clearTimeout(timer);
      thread.terminate();
      resolve(message ? [...outcomes, { title: "The code runs to its end.", passed: false, message }] : outcomes);
    };
    const thread = start((message) => {
      if (message.kind === "started")
        timer = setTimeout(
          () => end(`Your code ran for more than ${SECONDS} seconds. Look for a loop that never ends.`),
          1000 * SECONDS,
        );
      else if (message.kind === "outcome") outcomes.push(message.outcome);
      else if (message.kind === "ended") end();
      else log(message.text);
    }, end);
  });
}
