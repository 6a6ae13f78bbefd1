/** Runs experiments in one worker. The latest values win: a request that has not started is replaced by a newer one. */
import type { Result } from "../experiment.ts";
import type { Answer, Description, Request, Values } from "./worker.ts";

export interface Listener {
  onProgress(fraction: number, what: string): void;
  onResult(result: Result, seconds: number): void;
  onError(message: string): void;
}

/** The requests of one experiment. */
interface Line {
  readonly listener: Listener;
  /** The number of the latest request that the worker has. */
  id: number;
  /** Whether the worker has a request. */
  isBusy: boolean;
  /** The values to run next. */
  next: Values | undefined;
}

export class Runner {
  private worker: Worker | undefined;
  private readonly lines = new Map<string, Line>();
  private requests = 0;
  private described: Promise<readonly Description[]> | undefined;

  /** The experiments' descriptions, which the worker sends when it has started. Rejects if it cannot start. */
  describe(): Promise<readonly Description[]> {
    this.described ??= new Promise((resolve, reject) => {
      const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
      this.worker = worker;
      const fail = (message: string): void => {
        reject(new Error(message));
        if (worker === this.worker) this.fail(message);
      };
      worker.onmessage = ({ data }: MessageEvent<Answer>) => {
        if (data.kind === "ready") resolve(data.experiments);
        else this.receive(data);
      };
      worker.onerror = ({ message }) => fail(message || "The worker could not start.");
      worker.onmessageerror = () => fail("The worker's message could not be read.");
    });
    return this.described;
  }

  /** Requests a run. A long run ends early if newer values arrive; a short one is finished first. */
  async run({ name, long }: Description, values: Values, listener: Listener): Promise<void> {
    const line: Line = this.lines.get(name) ?? { listener, id: 0, isBusy: false, next: undefined };
    this.lines.set(name, line);
    line.next = values;
    if (line.isBusy && !long) return;
    await this.describe().catch(() => {}); // fail() has told the listeners
    // It may have been cancelled in the meantime.
    if (this.lines.get(name) === line) this.send(name, line);
  }

  /** Ends a long run, or forgets a request that has not started. */
  cancel(name: string): void {
    this.lines.delete(name);
    this.worker?.postMessage({ kind: "cancel", name } satisfies Request);
  }

  private send(name: string, line: Line): void {
    if (!line.next || !this.worker) return;
    line.isBusy = true;
    line.id = ++this.requests;
    this.worker.postMessage({ kind: "run", name, id: line.id, values: line.next } satisfies Request);
    line.next = undefined;
  }

  private receive(data: Exclude<Answer, { kind: "ready" }>): void {
    const line = this.lines.get(data.name);
    // An older request may still have ended.
    if (line?.id !== data.id) return;
    if (data.kind === "progress") {
      line.listener.onProgress(data.fraction, data.what);
      return;
    }
    line.isBusy = false;
    if (line.next) this.send(data.name, line);
    if (data.kind === "result") line.listener.onResult(data.result, data.seconds);
    else line.listener.onError(data.message);
  }

  /** Reports a failure to everyone who waits. The next run starts another worker. */
  private fail(message: string): void {
    this.worker?.terminate();
    this.worker = undefined;
    this.described = undefined;
    const waiting = [...this.lines.values()].filter(({ isBusy, next }) => isBusy || next);
    this.lines.clear();
    for (const { listener } of waiting) listener.onError(message);
  }
}
