/** Runs experiments in a worker, one at a time: a new run ends the one before it, by ending its worker. */
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
    // Messages of a worker that was ended may still be on their way.
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
    worker.onerror = ({ message }) => fail(message || "The worker could not be started.");
    worker.onmessageerror = () => fail("The worker's answer could not be read.");
    worker.postMessage({ name, values } satisfies Request);
  }

  /** Ends what runs; a worker that is idle stays for the next run. */
  stop(): void {
    if (this.busy) this.close();
  }

  /** Ends the worker. Another run starts anew. */
  close(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.busy = false;
  }
}
