/** The worker thread that checks a reader's code. */
import { parentPort, workerData } from "node:worker_threads";
import { serve } from "../../lab/practice/serve.ts";
import type { Task } from "../../lab/practice/supervise.ts";

await serve(workerData as Task, (message) => parentPort!.postMessage(message));
