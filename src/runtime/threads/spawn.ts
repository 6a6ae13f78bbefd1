/** Starts a worker: with worker_threads in Node, Deno and Bun, with `Worker` on the web. */
import { nodeModule } from "../nodeModule.ts";
import { runWorker, type WorkerInit, type WorkerMessage } from "./worker.ts";

/** A started worker. */
export interface Thread {
  /** Whether the worker has ended. False if the runtime cannot tell synchronously. */
  isDead(): boolean;
  /** Stops the worker immediately. */
  terminate(): void;
}

export interface ThreadEvents {
  message(message: WorkerMessage): void;
  /** Called when the worker has ended, for any reason. */
  exit(reason: string): void;
}

/** The part of node:worker_threads that nabla uses. */
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
 * Starts a worker. Once the worker is ready, it does not keep the process alive.
 * @throws Error if the runtime does not allow workers
 */
export async function spawn(init: WorkerInit, events: ThreadEvents): Promise<Thread> {
  const threads = await nodeModule<WorkerThreads>("worker_threads");
  return threads ? spawnNode(threads, init, events) : spawnWeb(init, events);
}

function spawnNode({ Worker }: WorkerThreads, init: WorkerInit, events: ThreadEvents): Thread {
  const source = `const { parentPort, workerData } = require("node:worker_threads");
    (${runWorker})(workerData, (message) => parentPort.postMessage(message));`;
  const worker = new Worker(source, { eval: true, workerData: init, execArgv: [], name: "nabla" });
  let ended = false;
  const utilization = hasUtilization() ? () => worker.performance?.eventLoopUtilization?.() : () => undefined;
  worker.on("message", (message: WorkerMessage) => {
    if (message === "ready") {
      worker.unref();
      // Read the utilization once while the worker is alive; otherwise, later reads return undefined.
      utilization();
    }
    events.message(message);
  });
  let failure = "";
  let terminated = false;
  worker.on("error", (error: Error) => {
    failure = String(error);
  });
  worker.on("exit", (code: number) => {
    ended = true;
    events.exit(failure || (code === 1 || terminated ? "it was terminated" : `it exited with code ${code}`));
  });
  return {
    // A stopped event loop reports an idle time of −1 before the exit event arrives.
    isDead: () => ended || utilization()?.idle === -1,
    terminate() {
      terminated = true;
      void worker.terminate();
    },
  };
}

/**
 * Whether worker.performance reports the utilization of the worker's event loop. In Bun, reading this property prints a
 * warning instead.
 */
function hasUtilization(): boolean {
  const { process } = globalThis as { process?: { versions?: { bun?: string } } };
  return !process?.versions?.bun;
}

function spawnWeb(init: WorkerInit, events: ThreadEvents): Thread {
  let worker: Worker | undefined;
  let started = false;
  let ended = false;
  const end = (reason: string): void => {
    if (!ended) events.exit(reason);
    ended = true;
  };
  const start = (make: () => Worker, fallback: (reason: string) => void): void => {
    try {
      worker = make();
      worker.postMessage(init);
    } catch (error) {
      fallback(String(error));
      return;
    }
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      started = true;
      events.message(data);
      if (data !== "ready") end(data === "stopped" ? "it was stopped" : data.error);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker?.terminate();
      const reason = event.message || "its script could not be loaded";
      if (started) end(reason);
      else fallback(reason);
    };
  };
  const startFromText = (): void => {
    const text = `onmessage = ({ data }) => { (${runWorker})(data, (message) => postMessage(message)); close(); };`;
    // This cannot be a data: URL, because the origin of such a URL is opaque, and memory cannot be shared with it.
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    start(() => new Worker(url), end);
    // By then, the worker either has fetched the script or never will.
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };
  // Most bundlers recognize exactly this expression. Other bundlers keep the file name, so the name must not clash with a user's
  // file.
  start(() => new Worker(new URL("./nabla-worker.js", import.meta.url), { type: "module" }), startFromText);
  return {
    isDead: () => ended,
    terminate: () => {
      worker?.terminate();
      end("it was terminated");
    },
  };
}
