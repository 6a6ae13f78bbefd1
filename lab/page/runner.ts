/**
 * Runs experiments in one worker. For each experiment, only the latest values count: a newer request replaces a request
 * that has not started.
 */
import type { Drawing, Result } from "../experiment.ts";
import { nameWorker, supervise } from "./liveness.ts";
import type { Answer, Description, Request, Values } from "./worker.ts";

export interface Listener {
  onProgress(fraction: number, what: string): void;
  /** Receives the state of a training run. @param isPaused whether training has paused at this state */
  onDrawing(drawing: Drawing, fraction: number, isPaused: boolean): void;
  /** @param isLatest whether no request with newer values is running or waiting */
  onResult(result: Result, seconds: number, isLatest: boolean): void;
  onError(message: string): void;
}

/** The requests for one experiment. */
interface Line {
  readonly listener: Listener;
  /** The ID of the latest request that was sent to the worker. */
  id: number;
  /** Whether the worker is still working on that request. */
  isBusy: boolean;
  /** The request to send next. */
  next: { readonly values: Values; readonly steps?: number } | undefined;
}

export class Runner {
  private worker: Worker | undefined;
  private readonly lines = new Map<string, Line>();
  private requests = 0;
  private described: Promise<readonly Description[]> | undefined;

  /** The experiments' descriptions, which the worker sends when it has started. Rejects if the worker cannot start. */
  describe(): Promise<readonly Description[]> {
    this.described ??= new Promise((resolve, reject) => {
      const name = nameWorker();
      const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name });
      this.worker = worker;
      supervise(worker, name, (message) => {
        reject(new Error(message));
        this.fail(message);
      });
      worker.onmessage = ({ data }: MessageEvent<Answer>) => {
        if (data.kind === "ready") resolve(data.experiments);
        else this.receive(data);
      };
    });
    return this.described;
  }

  /**
   * Requests a run. A training run with older values ends after its next step; any other run finishes first.
   * @param steps the number of training steps after which to pause
   */
  async run({ name, isStream }: Description, values: Values, listener: Listener, steps?: number): Promise<void> {
    const line: Line = this.lines.get(name) ?? { listener, id: 0, isBusy: false, next: undefined };
    this.lines.set(name, line);
    line.next = { values, ...(steps !== undefined && { steps }) };
    if (line.isBusy && !isStream) return;
    // If the worker cannot start, fail() reports it to the listeners.
    await this.describe().catch(() => {});
    // The request may have been cancelled in the meantime.
    if (this.lines.get(name) === line) this.send(name, line);
  }

  /**
   * Ends a run, or drops a request that has not started. A later request with the same values resumes a training run
   * where it stopped.
   */
  cancel(name: string): void {
    this.lines.delete(name);
    this.worker?.postMessage({ kind: "cancel", name } satisfies Request);
  }

  private send(name: string, line: Line): void {
    if (!line.next || !this.worker) return;
    line.isBusy = true;
    line.id = ++this.requests;
    this.worker.postMessage({ kind: "run", name, id: line.id, ...line.next } satisfies Request);
    line.next = undefined;
  }

  private receive(data: Exclude<Answer, { kind: "ready" }>): void {
    const line = this.lines.get(data.name);
    // Ignore answers to older requests.
    if (line?.id !== data.id) return;
    const { listener } = line;
    const isOver = data.kind === "drawing" ? data.isPaused : data.kind !== "progress";
    if (isOver) {
      line.isBusy = false;
      if (line.next) this.send(data.name, line);
    }
    if (data.kind === "progress") listener.onProgress(data.fraction, data.what);
    else if (data.kind === "drawing") listener.onDrawing(data.drawing, data.fraction, data.isPaused);
    else if (data.kind === "result") listener.onResult(data.result, data.seconds, !line.isBusy);
    else listener.onError(data.message);
  }

  /** Reports a failure to all listeners that are waiting for a result. The next run starts another worker. */
  private fail(message: string): void {
    this.worker = undefined;
    this.described = undefined;
    const waiting = [...this.lines.values()].filter(({ isBusy, next }) => isBusy || next);
    this.lines.clear();
    for (const { listener } of waiting) listener.onError(message);
  }
}
