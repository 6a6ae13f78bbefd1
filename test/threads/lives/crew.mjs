/**
 * What the scripts here share: nabla as built, the workers that it starts, and a product whose right value is known. A script
 * names its lives in a table; `node script.mjs name options` runs one and prints what it returns as JSON, its last line.
 */
import { createRequire } from "node:module";

import { helps, until } from "./work.mjs";

export { helps, Product, train, until } from "./work.mjs";

const threads = createRequire(import.meta.url)("node:worker_threads");
export const { Worker } = threads;

/** The workers that nabla has started, oldest first, with the orders of each. */
export const workers = [];
/** What is done to them: `source` is what their program becomes. */
export const spoil = { source: (source) => source };

threads.Worker = class extends Worker {
  orders;
  alive = true;
  constructor(source, options) {
    super(spoil.source(source, workers.length), options);
    this.orders = options.workerData;
    this.once("exit", () => (this.alive = false));
    workers.push(this);
  }
};
/** Has nabla start its workers as `Class` says. */
export const replaceWorker = (Class) => (threads.Worker = Class);

export const alive = () => workers.filter((worker) => worker.alive);

/**
 * Whether, within ten seconds, `count` workers live, each of which has helped with a `call`, and the `dying` one is dead. On a busy
 * machine a worker may come too late for any one call.
 */
export function allHelp(count, call, dying) {
  const helped = new Set();
  return until(() => {
    for (const worker of alive()) if (helps(worker, call)) helped.add(worker);
    const left = alive();
    return !dying?.alive && left.length === count && left.every((worker) => helped.has(worker));
  });
}

/** nabla, loaded when it is asked for: after what it is to find has been changed. */
export const load = () => import("../../../dist/src/index.js");

/** Does nothing for so long, without giving the event loop a turn. */
export function spin(milliseconds) {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

/** An error as the tests look at it. */
export const told = ({ name, message }) => `${name}: ${message}`;

/** Tells the parent what came of it, and when. */
export const tell = (value) => process.stdout.write(`${JSON.stringify({ value, at: Date.now() })}\n`);

/** Runs the life that the command line names. */
export async function live(lives) {
  const [name, options = "{}"] = process.argv.slice(2);
  const value = await lives[name](JSON.parse(options));
  if (value !== undefined) tell(value);
}
