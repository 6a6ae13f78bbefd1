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
    if (this.busy) this.close();
    this.worker ??= new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.busy = true;
    const started = performance.now();
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      this.busy = data.kind === "progress";
      if (data.kind === "progress") listener.onProgress(data.fraction, data.what);
      else if (data.kind === "result") listener.onResult(data.result, (performance.now() - started) / 1000);
      else listener.onError(data.message);
    };
    this.worker.onerror = (event) => {
      this.close();
      listener.onError(event.message || "The worker could not be started.");
    };
    this.worker.postMessage({ name, values } satisfies Request);
  }

  /** Ends what runs. Another run starts anew. */
  close(): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.busy = false;
  }
}
