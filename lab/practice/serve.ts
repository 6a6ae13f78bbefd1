/**
 * Runs in the worker that `supervise` starts: checks the code of a task, and posts the outcomes and what the code
 * prints.
 */
import { exercises } from "./index.ts";
import { check } from "./run.ts";
import type { Message, Task } from "./supervise.ts";

/** The largest number of console.log lines to post, so that a loop that prints cannot fill the page's memory. */
const LINES = 100;

/**
 * Formats a value for console.log. An object that cannot be converted to text, such as a cyclic one, is shown as its
 * type, such as "[object Object]".
 */
function asText(value: unknown): string {
  if (typeof value === "string") return value;
  try {
    const text = String(value);
    return /^\[object|^$/.test(text) || Array.isArray(value) ? JSON.stringify(value) : text;
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** Checks the code, and posts the outcomes and what the code prints with console.log. */
export async function serve({ name, source }: Task, post: (message: Message) => void): Promise<void> {
  const exercise = exercises.find((one) => one.name === name)!;
  let lines = 0;
  const log = (...values: readonly unknown[]): void => {
    lines++;
    if (lines <= LINES) post({ kind: "log", text: values.map(asText).join(" ") });
    else if (lines === LINES + 1) post({ kind: "log", text: `… (only the first ${LINES} lines are shown)` });
  };
  Object.assign(console, { log, info: log, warn: log, error: log, debug: log });
  post({ kind: "started" });
  await check(exercise, source, (outcome) => post({ kind: "outcome", outcome }));
  post({ kind: "ended" });
}
