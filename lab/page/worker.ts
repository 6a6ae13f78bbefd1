/**
 * The worker that experiments run in, so that the page never freezes. It runs one request at a time. A newer request of the same
 * experiment ends a long run at its next report of progress.
 */
import { type Context, newCache, type Parameters, type Result } from "../experiment.ts";
import { experiments } from "../experiments/index.ts";
import { loadDigits } from "./digits.ts";

export type Values = Readonly<Record<string, string | number>>;
export type Request =
  | { readonly kind: "run"; readonly name: string; readonly id: number; readonly values: Values }
  | { readonly kind: "cancel"; readonly name: string };

/** The part of an experiment that the page shows. */
export interface Description {
  readonly name: string;
  readonly title: string;
  readonly parameters: Parameters;
  readonly functions: readonly string[];
  readonly long: boolean;
}
export type Answer =
  | { readonly kind: "ready"; readonly experiments: readonly Description[] }
  | {
      readonly kind: "progress";
      readonly name: string;
      readonly id: number;
      readonly fraction: number;
      readonly what: string;
    }
  | {
      readonly kind: "result";
      readonly name: string;
      readonly id: number;
      readonly result: Result;
      readonly seconds: number;
    }
  | { readonly kind: "error"; readonly name: string; readonly id: number; readonly message: string };

/** The time between two reports of progress, in milliseconds. */
const INTERVAL = 40;

class Superseded extends Error {}

const answer = (message: Answer): void => postMessage(message);
const caches = new Map<string, Context["cached"]>();
/** The latest request of each experiment, in the order of arrival. */
const waiting = new Map<string, Extract<Request, { kind: "run" }>>();
let isRunning = false;

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  waiting.delete(data.name);
  if (data.kind === "cancel") return;
  waiting.set(data.name, data);
  if (!isRunning) void runAll();
});

async function runAll(): Promise<void> {
  isRunning = true;
  for (let next = waiting.values().next().value; next; next = waiting.values().next().value) await run(next);
  isRunning = false;
}

async function run(request: Extract<Request, { kind: "run" }>): Promise<void> {
  const { name, id, values } = request;
  let reported = performance.now();
  try {
    const experiment = experiments.find((one) => one.name === name)!;
    const cached = caches.get(name) ?? newCache();
    caches.set(name, cached);
    const started = performance.now();
    const result = await experiment.run(values, {
      async progress(fraction, what = "") {
        const now = performance.now();
        if (now - reported < INTERVAL) return;
        reported = now;
        answer({ kind: "progress", name, id, fraction, what });
        // Lets newer requests arrive.
        await new Promise((resolve) => setTimeout(resolve));
        if (waiting.get(name) !== request) throw new Superseded();
      },
      digits: loadDigits,
      cached,
    });
    answer({ kind: "result", name, id, result, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    if (!(error instanceof Superseded))
      answer({ kind: "error", name, id, message: error instanceof Error ? error.message : String(error) });
  } finally {
    if (waiting.get(name) === request) waiting.delete(name);
  }
}

answer({
  kind: "ready",
  experiments: experiments.map(({ name, title, parameters, functions, long = false }) => ({
    name,
    title,
    parameters,
    functions,
    long,
  })),
});
