/** Checks a reader's code in a worker thread, so that it cannot block or end the command. */
import { Worker } from "node:worker_threads";
import type { Outcome } from "../../lab/practice/run.ts";
import { type Message, supervise, type Task } from "../../lab/practice/supervise.ts";

/** The memory, in MB, that the code may use for JavaScript values. */
const MEGABYTES = 256;

/**
 * Runs the checks in a worker, and returns their outcomes. At run time, this file is in dist/bin, next to
 * practice-worker.js.
 */
export function checkIsolated(task: Task, log: (text: string) => void): Promise<readonly Outcome[]> {
  return supervise((receive, died) => {
    const worker = new Worker(new URL("./practice-worker.js", import.meta.url), {
      workerData: task,
      resourceLimits: { maxOldGenerationSizeMb: MEGABYTES },
    });
    worker.on("message", (message: Message) => receive(message));
    worker.on("error", (error: NodeJS.ErrnoException) =>
      died(
        error.code === "ERR_WORKER_OUT_OF_MEMORY"
          ? `Your code used more than ${MEGABYTES} MB. Look for a list that grows without end.`
          : `The worker failed: ${error.message}`,
      ),
    );
    worker.on("exit", () =>
      died("Your code ended the run before all checks. Remove process.exit and top-level `await`."),
    );
    return worker;
  }, log);
}
