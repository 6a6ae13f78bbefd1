/**
 * Runs experiments in a worker, so that the page never freezes. The worker runs one request at a time. If a newer
 * request for the same experiment has arrived, a run ends at its next progress report; an experiment that trains
 * reports after every step.
 */
import type { Drawing, Parameters, Result, Training } from "../experiment.ts";
import { experiments } from "../experiments/index.ts";
import { loadDigits } from "./digits.ts";
import { showLife } from "./liveness.ts";

export type Values = Readonly<Record<string, string | number>>;
export type Request =
  | {
      readonly kind: "run";
      readonly name: string;
      readonly id: number;
      readonly values: Values;
      /** The number of training steps after which to pause. Default: no limit. */
      readonly steps?: number;
    }
  | { readonly kind: "cancel"; readonly name: string };

/** The part of an experiment that the page shows. */
export interface Description {
  readonly name: string;
  readonly title: string;
  readonly parameters: Parameters;
  readonly functions: readonly string[];
  readonly isStream: boolean;
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
      readonly kind: "drawing";
      readonly name: string;
      readonly id: number;
      readonly drawing: Drawing;
      readonly fraction: number;
      /** Whether the training run pauses after this drawing. */
      readonly isPaused: boolean;
    }
  | {
      readonly kind: "result";
      readonly name: string;
      readonly id: number;
      readonly result: Result;
      readonly seconds: number;
    }
  | { readonly kind: "error"; readonly name: string; readonly id: number; readonly message: string };

/** The shortest time between two reports of progress, in milliseconds. */
const INTERVAL = 40;
/**
 * How long a training run computes, in milliseconds, before it pauses to let requests arrive. Browsers may extend each
 * pause to 4 ms.
 */
const LISTEN = 25;
/**
 * The shortest time between two drawings of a training run, in milliseconds, and the largest share of the run's time
 * that drawing may take.
 */
const BETWEEN_DRAWINGS = 100;
const DRAWING_SHARE = 0.25;

/** Thrown to end a run whose result nobody is waiting for. */
class Ended extends Error {}

const answer = (message: Answer): void => postMessage(message);
/** Each experiment's training runs, keyed by the experiment's name. */
const trainings = new Map<string, Map<string, Training>>();
/** The latest request for each experiment, in the order of arrival. */
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
  // Take the latest request first, because it comes from the figure that came into view last.
  for (let next = [...waiting.values()].at(-1); next; next = [...waiting.values()].at(-1)) await run(next);
  isRunning = false;
}

async function run(request: Extract<Request, { kind: "run" }>): Promise<void> {
  const { name, id, values } = request;
  const started = performance.now();
  let reported = started;
  let listened = started;
  let left = request.steps ?? Number.POSITIVE_INFINITY;
  /** The time at which to draw the training run again. If the request limits the steps, only the last step is drawn. */
  let drawNext = request.steps === undefined ? started : Number.POSITIVE_INFINITY;
  try {
    const experiment = experiments.find((one) => one.name === name)!;
    const own = trainings.get(name) ?? new Map<string, Training>();
    trainings.set(name, own);
    const result = await experiment.run(values, {
      async progress(fraction, what = "", draw) {
        const now = performance.now();
        const isPaused = draw !== undefined && fraction < 1 && left-- <= 0;
        if (isPaused || (draw && fraction > 0 && fraction < 1 && now >= drawNext)) {
          answer({ kind: "drawing", name, id, drawing: draw(), fraction, isPaused });
          const after = performance.now();
          drawNext = Math.max(now + BETWEEN_DRAWINGS, after + (after - now) * (1 / DRAWING_SHARE - 1));
          reported = now;
        } else if (now - reported >= INTERVAL) {
          answer({ kind: "progress", name, id, fraction, what });
          reported = now;
        }
        if (isPaused) throw new Ended();
        if (now - listened >= LISTEN) {
          await new Promise((resolve) => setTimeout(resolve));
          listened = performance.now();
        }
        if (waiting.get(name) !== request) throw new Ended();
      },
      digits: loadDigits,
      trainings: own,
    });
    answer({ kind: "result", name, id, result, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    if (!(error instanceof Ended))
      answer({ kind: "error", name, id, message: error instanceof Error ? error.message : String(error) });
  } finally {
    if (waiting.get(name) === request) waiting.delete(name);
  }
}

await showLife();
answer({
  kind: "ready",
  experiments: experiments.map(({ name, title, parameters, functions, isStream = false }) => ({
    name,
    title,
    parameters,
    functions,
    isStream,
  })),
});
