/** The page's side of the worker: asks it for the exercises, and checks code in a new one that ends after 5 seconds. */
import type { Outcome } from "../../practice/run.ts";
import { type Message, supervise, type Task } from "../../practice/supervise.ts";
import type { Request, Shown } from "./worker.ts";

const start = (request: Request): Worker => {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker.postMessage(request);
  return worker;
};

const NOT_STARTED = "The worker could not start. Check your connection, and try again.";

/** The exercises, without their checks. @throws Error if the worker does not start */
export function listExercises(): Promise<readonly Shown[]> {
  return new Promise((resolve, reject) => {
    const worker = start("list");
    worker.onmessage = ({ data }: MessageEvent<readonly Shown[]>) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = () => {
      worker.terminate();
      reject(new Error(NOT_STARTED));
    };
  });
}

/** Runs the checks. `log` receives what the code prints. */
export const checkCode = (task: Task, log: (text: string) => void): Promise<readonly Outcome[]> =>
  supervise((receive, died) => {
    const worker = start(task);
    worker.onmessage = ({ data }: MessageEvent<Message>) => receive(data);
    worker.onerror = ({ message }) => died(message || NOT_STARTED);
    return worker;
  }, log);
