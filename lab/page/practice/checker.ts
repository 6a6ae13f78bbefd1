/** Checks code in a new worker, which ends after the check, or after 5 seconds if the code runs longer. */
import type { Outcome } from "../../practice/run.ts";
import { type Message, supervise, type Task } from "../../practice/supervise.ts";

/** Runs the checks. `log` receives what the code prints. */
export const checkCode = (task: Task, log: (text: string) => void): Promise<readonly Outcome[]> =>
  supervise((receive, died) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.postMessage(task);
    worker.onmessage = ({ data }: MessageEvent<Message>) => receive(data);
    worker.onerror = ({ message }) =>
      died(message || "The worker could not start. Check your connection, and try again.");
    return worker;
  }, log);
