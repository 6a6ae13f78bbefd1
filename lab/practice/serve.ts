/** The worker's side of `supervise`: checks the code of a task, and posts what happens. */
import { exercises } from "./index.ts";
import { check } from "./run.ts";
import type { Message, Task } from "./supervise.ts";

const asText = (value: unknown): string => {
  if (typeof value === "string") return value;
  const text = String(value);
  return /^\[object|^$/.test(text) || Array.isArray(value) ? JSON.stringify(value) : text;
};

/** Checks the code. What it prints with console.log is posted too. */
export async function serve({ name, source }: Task, post: (message: Message) => void): Promise<void> {
  const exercise = exercises.find((one) => one.name === name)!;
  const log = (...values: readonly unknown[]): void => post({ kind: "log", text: values.map(asText).join(" ") });
  Object.assign(console, { log, info: log, warn: log, error: log, debug: log });
  post({ kind: "started" });
  await check(exercise, source, (outcome) => post({ kind: "outcome", outcome }));
  post({ kind: "ended" });
}
