/** Runs experiments in a worker, one at a time. A new run terminates the worker of the previous one. */
import type { Result } from "../experiment.ts";
import type { Answer, Request } from "./worker.ts";

export interface Listener {
  onProgress(fraction: number, what: string): void;
  onResult(result: Result, seconds: number): void;
  onError(message: string): void;
}

export class Runner {
  private worker: Worker | undefined;
  private busy = false;

  run(name: string, values: Request["values"], listener: Listener): void {
    this.stop();
    this.worker ??= new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.busy = true;
    const { worker } = this;
    // A terminated worker may still have messages in the queue.
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (worker !== this.worker) return;
      this.busy = data.kind === "progress";
      if (data.kind === "progress") listener.onProgress(data.fraction, data.what);
      else if (data.kind === "result") listener.onResult(data.result, data.seconds);
      else listener.onError(data.message);
    };
    const fail = (message: string): void => {
      if (worker !== this.worker) return;
      this.close();
      listener.onError(message);
    };
    worker.onerror = ({ message }) => fail(message || "The worker could not start.");
    worker.onmessageerror = () => fail("The worker's message could not be read.");
    worker.postMessage({ name, values } satisfies Request);
  }

  /** Stops the current run. An idle worker is kept for the next run. */
  stop(): void {
    if (this.busy) this.close();
  }

  /** Terminates the worker. The next run starts a new one. */
  close(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.busy = false;
  }
}
