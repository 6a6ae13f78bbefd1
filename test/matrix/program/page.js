/** The functions that tests call on a page. */
import { fingerprint } from "./fingerprint.mjs";

/** Trains in a worker that the page starts. */
function runInWorker(options) {
  const worker = new Worker(new URL("./training.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(options);
  });
}

/**
 * Trains on the page's main thread, in a task that the page starts: a task that the testing tool starts may evaluate strings
 * even if the page may not.
 */
async function run(options) {
  await new Promise((resolve) => setTimeout(resolve));
  return fingerprint(options);
}

/** Whether the page may evaluate strings as code. */
function evaluates() {
  try {
    return new Function("return true")();
  } catch {
    return false;
  }
}

Object.assign(globalThis, { run, runInWorker, canEvaluate: evaluates() });
