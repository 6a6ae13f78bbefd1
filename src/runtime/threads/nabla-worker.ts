/** The script of a worker on web pages. Bundlers find this file, and a strict content security policy allows it. */
import { runWorker, type WorkerInit } from "./worker.ts";

// The types of this project describe a page's global scope, not a worker's.
const worker = globalThis as unknown as {
  onmessage: (event: { readonly data: WorkerInit }) => void;
  postMessage(message: unknown): void;
  close(): void;
};
worker.onmessage = ({ data }) => {
  runWorker(data, (message) => worker.postMessage(message));
  worker.close();
};
