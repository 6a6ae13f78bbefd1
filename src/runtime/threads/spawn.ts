/** Starting a worker: Node's, Deno's and Bun's (worker_threads), or the web's. */
import { nodeModule } from "../nodeModule.ts";
import { type Orders, type Report, serve } from "./serve.ts";

/** A worker that was started. */
export interface Thread {
  /** Whether it runs no more. Where that cannot be told at once, false. */
  isDead(): boolean;
  /** Ends it at once, whatever it does. */
  terminate(): void;
}

export interface Events {
  report(report: Report): void;
  /** It runs no more, for good or ill. */
  gone(why: string): void;
}

/** What nabla uses of node:worker_threads. */
interface NodeWorker {
  on(event: string, listener: (value: never) => void): void;
  unref(): void;
  terminate(): Promise<number>;
  readonly performance?: { eventLoopUtilization?(): { readonly idle: number } };
}
interface WorkerThreads {
  readonly Worker: new (source: string, options: object) => NodeWorker;
}

/**
 * Starts a worker with its orders. It does not keep the process alive once it is ready.
 * @throws Error where workers are refused
 */
export async function spawn(orders: Orders, events: Events): Promise<Thread> {
  const threads = await nodeModule<WorkerThreads>("worker_threads");
  return threads ? spawnNode(threads, orders, events) : spawnWeb(orders, events);
}

function spawnNode({ Worker }: WorkerThreads, orders: Orders, events: Events): Thread {
  const source = `const { parentPort, workerData } = require("node:worker_threads");
    (${serve})(workerData, (report) => parentPort.postMessage(report));`;
  const worker = new Worker(source, { eval: true, workerData: orders, execArgv: [], name: "nabla" });
  let ended = false;
  const utilization = hasUtilization() ? () => worker.performance?.eventLoopUtilization?.() : () => undefined;
  worker.on("message", (report: Report) => {
    if (report === "ready") {
      worker.unref();
      // What is not read while it lives cannot be read when it is dead.
      utilization();
    }
    events.report(report);
  });
  let why = "";
  let terminated = false;
  worker.on("error", (error: Error) => {
    why = String(error);
  });
  worker.on("exit", (code: number) => {
    ended = true;
    events.gone(why || (code === 1 || terminated ? "it was terminated" : `it exited with code ${code}`));
  });
  return {
    // A loop that has been stopped tells −1, before the event comes.
    isDead: () => ended || utilization()?.idle === -1,
    terminate() {
      terminated = true;
      void worker.terminate();
    },
  };
}

/** Whether worker.performance tells how busy a loop was: Bun warns instead. */
function hasUtilization(): boolean {
  const { process } = globalThis as { process?: { versions?: { bun?: string } } };
  return !process?.versions?.bun;
}

function spawnWeb(orders: Orders, events: Events): Thread {
  let worker: Worker | undefined;
  let begun = false;
  let ended = false;
  const end = (why: string): void => {
    if (!ended) events.gone(why);
    ended = true;
  };
  const start = (make: () => Worker, otherwise: (why: string) => void): void => {
    try {
      worker = make();
      worker.postMessage(orders);
    } catch (error) {
      otherwise(String(error));
      return;
    }
    worker.onmessage = ({ data }: MessageEvent<Report>) => {
      begun = true;
      events.report(data);
      if (data !== "ready") end(data === "left" ? "it was told to" : data.error);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker?.terminate();
      const why = event.message || "its script could not be loaded";
      if (begun) end(why);
      else otherwise(why);
    };
  };
  const fromText = (): void => {
    const text = `onmessage = ({ data }) => { (${serve})(data, (report) => postMessage(report)); close(); };`;
    // Not a data: URL, whose origin is nobody's: memory cannot be shared with it.
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    start(() => new Worker(url), end);
    // By then it has been fetched, or never will be.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };
  // Bundlers know a worker's file by exactly this. Those that do not leave its name, which is not to be that of a file of their user's.
  start(() => new Worker(new URL("./nabla-worker.js", import.meta.url), { type: "module" }), fromText);
  return {
    isDead: () => ended,
    terminate: () => {
      worker?.terminate();
      end("it was terminated");
    },
  };
}
