/** The file of a worker, for pages: bundlers follow it, and a strict content security policy allows it. */
import { type Orders, serve } from "./serve.ts";

// What a worker has of its own; the types here are a page's.
const worker = globalThis as unknown as {
  onmessage: (event: { readonly data: Orders }) => void;
  postMessage(message: unknown): void;
  close(): void;
};
worker.onmessage = ({ data }) => {
  serve(data, (report) => worker.postMessage(report));
  worker.close();
};
