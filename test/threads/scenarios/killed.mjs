/**
 * nabla runs in a worker thread, and the main thread starts nabla's workers. This lets the main thread terminate a worker at any moment
 * during a call, `after` milliseconds after the call starts.
 */
import { EventEmitter } from "node:events";
import { isMainThread, parentPort, Worker as Thread, workerData } from "node:worker_threads";
import {
  alive,
  allHelp,
  load,
  Product,
  replaceWorker,
  runScenario,
  spin,
  textOf,
  until,
  Worker,
  workers,
} from "./workers.mjs";

/** A proxy in nabla's thread for a worker that the main thread started. */
class Relayed extends EventEmitter {
  alive = true;
  #ended = new Int32Array(new SharedArrayBuffer(4));
  performance = { eventLoopUtilization: () => ({ idle: Atomics.load(this.#ended, 0) ? -1 : 0 }) };
  constructor(source, { workerData: orders }) {
    super();
    this.orders = orders;
    this.index = workers.length;
    this.once("exit", () => (this.alive = false));
    workers.push(this);
    parentPort.postMessage({ start: this.index, source, orders, ended: this.#ended });
  }
  ref() {}
  unref() {}
  terminate(after = 0) {
    parentPort.postMessage({ end: this.index, after });
  }
}

/** Runs in the main thread: starts and terminates workers for `thread`. */
function attend(thread) {
  const started = [];
  thread.on("message", ({ start, source, orders, ended, end, after }) => {
    if (start !== undefined) {
      const worker = new Worker(source, { eval: true, workerData: orders });
      const pass = (event) => (value) => thread.postMessage({ index: start, event, value });
      worker.on("message", pass("message")).on("error", pass("error"));
      worker.on("exit", (code) => {
        Atomics.store(ended, 0, 1);
        pass("exit")(code);
      });
      started[start] = worker;
    } else if (end !== undefined) {
      spin(after);
      started[end].terminate();
    }
  });
}

/** Runs in nabla's thread: makes calls during which a worker is terminated, and reports their outcome. */
async function serve({ threads, delays }) {
  replaceWorker(Relayed);
  parentPort.on("message", ({ index, event, value }) => workers[index].emit(event, value));
  const nabla = await load();
  const outcome = { results: [], longest: 0, recovered: true, kept: 0, dirty: 0 };
  for (const delay of delays) {
    await nabla.init({ threads });
    const product = new Product(nabla, 768);
    const recovers = () => allHelp(threads - 1, () => product.run());
    outcome.recovered &&= await recovers();
    const [victim] = alive();
    const { tensors } = nabla.memory();
    victim.terminate(delay);
    do {
      const start = performance.now();
      try {
        outcome.results.push(product.isRight() ? "right" : "wrong");
      } catch (error) {
        outcome.results.push(textOf(error));
        // No worker may write to the memory that the failed call freed.
        const next = nabla.zeros([768, 768]);
        spin(30);
        outcome.dirty += next.data.reduce((count, value) => count + Number(value !== 0), 0);
        next.dispose();
      }
      outcome.longest = Math.max(outcome.longest, performance.now() - start);
      // If the main thread was late, the worker dies during the next call.
    } while (!(await until(() => !victim.alive, 100)));
    outcome.kept += nabla.memory().tensors - tensors;
    outcome.recovered &&= await recovers();
    outcome.results.push(product.isRight() ? "right" : "wrong");
    await nabla.dispose();
  }
  parentPort.postMessage({ outcome });
  parentPort.close();
}

/** Runs in nabla's thread: makes calls until the thread is terminated. */
async function call({ threads }) {
  const nabla = await load();
  await nabla.init({ threads });
  const product = new Product(nabla, 256);
  for (let i = 0; ; i++) {
    product.run();
    if (i === 100) parentPort.postMessage({ outcome: { called: true } });
  }
}

/** Starts nabla's thread. `outcome` resolves to the thread's report. */
function begin(options) {
  const thread = new Thread(new URL(import.meta.url), { workerData: options });
  const outcome = new Promise((resolve, reject) => {
    thread.on("message", (message) => message.outcome && resolve(message.outcome));
    thread.on("error", reject);
  });
  return { thread, outcome };
}

if (isMainThread) {
  await runScenario({
    calls(options) {
      const { thread, outcome } = begin(options);
      attend(thread);
      return outcome;
    },
    /** nabla's thread, which started its own workers, is terminated during a call. */
    async owner() {
      const { thread, outcome } = begin({ threads: 3, forever: true });
      const report = await outcome;
      await thread.terminate();
      return report;
    },
  });
} else await (workerData.forever ? call : serve)(workerData);
