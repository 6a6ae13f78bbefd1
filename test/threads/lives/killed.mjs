/**
 * nabla runs in a worker thread, whose own workers are started by the main thread for it: so they can be ended at any moment of a
 * call, unbeknown to nabla's thread. The main thread ends one so many milliseconds after each call has begun.
 */
import { EventEmitter } from "node:events";
import { isMainThread, parentPort, Worker as Thread, workerData } from "node:worker_threads";
import { alive, allHelp, live, load, Product, replaceWorker, spin, told, until, Worker, workers } from "./crew.mjs";

/** Stands in nabla's thread for a worker that the main thread has started. */
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

/** The main thread: starts workers for `thread`, and ends them. */
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

/** nabla's thread: calls, during each of which a worker is ended, and what came of them. */
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
        outcome.results.push(told(error));
        // Memory that the call gave back is another's: nobody writes to it any more.
        const next = nabla.zeros([768, 768]);
        spin(30);
        outcome.dirty += next.data.reduce((count, value) => count + Number(value !== 0), 0);
        next.dispose();
      }
      outcome.longest = Math.max(outcome.longest, performance.now() - start);
      // The main thread may have been late; then the next call is hit.
    } while (!(await until(() => !victim.alive, 100)));
    outcome.kept += nabla.memory().tensors - tensors;
    outcome.recovered &&= await recovers();
    outcome.results.push(product.isRight() ? "right" : "wrong");
    await nabla.dispose();
  }
  parentPort.postMessage({ outcome });
  parentPort.close();
}

/** nabla's thread, at one call after the other until it is ended. */
async function call({ threads }) {
  const nabla = await load();
  await nabla.init({ threads });
  const product = new Product(nabla, 256);
  for (let i = 0; ; i++) {
    product.run();
    if (i === 100) parentPort.postMessage({ outcome: { called: true } });
  }
}

/** Starts nabla's thread, and waits for what it tells. */
function begin(options) {
  const thread = new Thread(new URL(import.meta.url), { workerData: options });
  const outcome = new Promise((resolve, reject) => {
    thread.on("message", (message) => message.outcome && resolve(message.outcome));
    thread.on("error", reject);
  });
  return { thread, outcome };
}

if (isMainThread) {
  await live({
    calls(options) {
      const { thread, outcome } = begin(options);
      attend(thread);
      return outcome;
    },
    /** nabla's thread is ended in the midst of a call, with the workers that it has started itself. */
    async owner() {
      const { thread, outcome } = begin({ threads: 3, forever: true });
      const told = await outcome;
      await thread.terminate();
      return told;
    },
  });
} else await (workerData.forever ? call : serve)(workerData);
