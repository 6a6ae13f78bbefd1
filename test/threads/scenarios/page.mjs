/**
 * Starts nabla on a page or in a worker that the page starts, and reports the outcome. `run` and `runInWorker` are globals of the page.
 */
import * as nabla from "../../../dist/src/index.js";
import { helps, Product, train, until } from "./work.mjs";

/** The byte offset of `inside` in the control block (assembly/opcodes.ts: Control). */
const INSIDE = 256;

/** The workers that nabla started, each with the message that started it (`orders`). */
const workers = [];
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message) {
  if (message.mark) workers.push({ worker: this, orders: message });
  return post.call(this, message);
};

/** Whether one of nabla's workers helps with the product. */
const isHelped = (product) => until(() => workers.some((worker) => helps(worker, () => product.run())));

/** Simulates a worker that fails during a call. Reports the call's error and the results of the next calls. */
async function lose(product) {
  const [{ worker, orders }] = workers;
  const { memory, control, mark } = orders;
  worker.terminate();
  // Wait until the worker has ended: Chromium gives it two seconds to do so.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, mark / 4, 2);
  Atomics.add(words, (control + INSIDE) / 4, 1);
  let error = "";
  try {
    product.run();
  } catch (thrown) {
    error = `${thrown.name}: ${thrown.message}`;
  }
  workers.length = 0;
  const right = product.isRight();
  const recovered = await isHelped(product);
  return { error, right, recovered, started: workers.length, reason: nabla.info().reason };
}

/** Starts nabla, computes, trains, and disposes nabla, `times` times. If `lost` is true, a worker fails each time. */
async function run({ threads, times, lost }) {
  const reports = [];
  for (let i = 0; i < times; i++) {
    workers.length = 0;
    await nabla.init({ threads });
    const info = nabla.info();
    const product = new Product(nabla, 256);
    const right = [1, 2, 3].every(() => product.isRight());
    const loss = train(nabla);
    const helped = info.threads > 1 && (await isHelped(product));
    const loses = lost ? await lose(product) : undefined;
    await nabla.dispose();
    reports.push({ threads: info.threads, reason: info.reason, right, loss, helped, loses });
  }
  return reports;
}

/** Calls `run` in a worker, so that nabla's workers are nested. */
function runInWorker(options) {
  const worker = new Worker(new URL("page.mjs", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(options);
  });
}

if (typeof document === "undefined") addEventListener("message", async ({ data }) => postMessage(await run(data)));
else Object.assign(globalThis, { run, runInWorker });
