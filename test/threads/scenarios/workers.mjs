/**
 * Code that the scripts share: the built package, the workers that it starts, and a product with a known value. A script has
 * a table of scenarios; `node script.mjs name options` runs one and prints its result as JSON on the last line.
 */
import { createRequire } from "node:module";

import { helps, until } from "./work.mjs";

export { helps, Product, train, until } from "./work.mjs";

const threads = createRequire(import.meta.url)("node:worker_threads");
export const { Worker } = threads;

/** The workers that nabla started, oldest first. A worker's `orders` is the data that it started with. */
export const workers = [];
/** `source` rewrites the program of each new worker. */
export const override = { source: (source) => source };

threads.Worker = class extends Worker {
  orders;
  alive = true;
  constructor(source, options) {
    super(override.source(source, workers.length), options);
    this.orders = options.workerData;
    this.once("exit", () => (this.alive = false));
    workers.push(this);
  }
};
/** Replaces the Worker class that nabla uses. */
export const replaceWorker = (Class) => (threads.Worker = Class);

export const alive = () => workers.filter((worker) => worker.alive);

/**
 * Whether, within ten seconds, exactly `count` workers are alive, each has helped with a `call`, and the `dying` worker is dead. Makes
 * several calls if needed, because on a busy machine a worker may be too late for one of them.
 */
export function allHelp(count, call, dying) {
  const helped = new Set();
  return until(() => {
    for (const worker of alive()) if (helps(worker, call)) helped.add(worker);
    const left = alive();
    return !dying?.alive && left.length === count && left.every((worker) => helped.has(worker));
  });
}

/** Loads nabla. To change the environment in which nabla starts, change it before this call. */
export const load = () => import("../../../dist/src/index.js");

/** Blocks the event loop for the given time. */
export function spin(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

/** An error as text. */
export const textOf = ({ name, message }) => `${name}: ${message}`;

/** Reports a value and the time to the parent process. */
export const report = (value) => process.stdout.write(`${JSON.stringify({ value, at: Date.now() })}\n`);

/** Runs the scenario that the command line names. */
export async function runScenario(scenarios) {
  const [name, options = "{}"] = process.argv.slice(2);
  const value = await scenarios[name](JSON.parse(options));
  if (value !== undefined) report(value);
}
