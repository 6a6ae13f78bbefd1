/**
 * The playground's worker. It trains in short slices, so that it can pause, step and read drawings at any time, and reports its state about
 * ten times per second.
 */
import { PIXELS } from "../../../cli/mnist/packed.ts";
import { loadDigits } from "../digits.ts";
import { showLife } from "../liveness.ts";
import { type Diagnosis, diagnosisOf } from "./diagnosis.ts";
import { type Explanation, explain } from "./explain.ts";
import { BATCH, type LayerGradient, Learner } from "./network.ts";
import type { OptimizerName, Question, Settings } from "./settings.ts";

export type Request =
  /** Creates a network. `run` identifies this network in the states that the worker reports. */
  | { readonly kind: "start"; readonly run: number; readonly settings: Settings }
  | { readonly kind: "tune"; readonly optimizer: OptimizerName; readonly lr: number }
  | { readonly kind: "train" | "pause" | "step" }
  | { readonly kind: "read"; readonly drawing: Float32Array; readonly question: Question }
  /** Requests a test digit. `request` identifies the request in the answer. */
  | { readonly kind: "example"; readonly digit: number; readonly request: number };

/** The network's state. */
export interface State {
  readonly run: number;
  /** The number of mini-batches seen. */
  readonly step: number;
  readonly isTraining: boolean;
  /** Whether training paused by itself, after EPOCHS passes over the digits. */
  readonly isDone: boolean;
  /** The loss of each mini-batch since the last report. */
  readonly losses: readonly number[];
  /** The fraction of 1,000 test digits that the network reads correctly. */
  readonly accuracy: number;
  readonly layers: readonly LayerGradient[];
  readonly diagnosis: Diagnosis;
}

export type Message =
  | { readonly kind: "state"; readonly state: State }
  | { readonly kind: "explanation"; readonly drawing: Float32Array; readonly explanation: Explanation }
  | { readonly kind: "example"; readonly drawing: Float32Array; readonly request: number }
  | { readonly kind: "error"; readonly message: string };

/**
 * Training pauses after this many passes over the digits, so that it does not use the processor forever if a page is
 * left open.
 */
const EPOCHS = 40;
/** How long the network trains between two pauses for messages, and between two reports, in milliseconds. */
const SLICE = 25;
const REPORT = 100;

const send = (message: Message): void => postMessage(message);
/** Lets the event loop deliver messages. */
const nextTask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

let learner: Learner | undefined;
let run = 0;
/** The ID of the current training loop. Increasing the ID ends the loop. */
let session = 0;
let isTraining = false;
let losses: number[] = [];
/** Whether an error was reported. This worker then ignores all messages, because the page starts another one. */
let hasFailed = false;
/**
 * For each digit, the number of examples requested so far. This number selects the next example, so that successive
 * requests get different ones.
 */
const requested = new Array<number>(10).fill(0);

function pause(): void {
  isTraining = false;
  session++;
}

function report(network: Learner, isDone = false): void {
  const { layers, measured } = network.gradients();
  const diagnosis = diagnosisOf(measured);
  if (diagnosis.kind === "diverged") pause();
  const accuracy = network.accuracy();
  send({
    kind: "state",
    state: { run, step: network.steps, isTraining, isDone, losses, accuracy, layers, diagnosis },
  });
  losses = [];
}

/** Trains the current network until it is paused, replaced or done. */
async function train(network: Learner): Promise<void> {
  const mine = ++session;
  const last = EPOCHS * Math.floor(network.digits.train.count / BATCH);
  let reported = Number.NEGATIVE_INFINITY;
  while (mine === session) {
    const start = performance.now();
    let left = last - (network.steps % last);
    for (; left > 1 && performance.now() - start < SLICE; left--) losses.push(network.step(false));
    if (left === 1 || performance.now() - reported >= REPORT) {
      losses.push(network.step(true));
      if (left === 1) pause();
      report(network, left === 1);
      reported = performance.now();
    }
    await nextTask();
  }
}

async function exampleOf(digit: number): Promise<Float32Array> {
  const { pixels, labels } = (await loadDigits()).test;
  const places = [...labels.keys()].filter((i) => labels[i] === digit);
  const at = places[requested[digit]!++ % places.length]! * PIXELS;
  return Float32Array.from(pixels.subarray(at, at + PIXELS), (v) => v / 255);
}

async function handle(request: Request): Promise<void> {
  switch (request.kind) {
    case "start": {
      pause();
      ({ run } = request);
      losses = [];
      learner?.dispose();
      learner = undefined;
      learner = new Learner(await loadDigits(), request.settings);
      return report(learner);
    }
    case "tune":
      return learner!.tune(request.optimizer, request.lr);
    case "train":
      if (isTraining) return;
      isTraining = true;
      // Do not await the training, which would delay all later messages.
      void train(learner!).catch(fail);
      return;
    case "pause":
      if (!isTraining) return;
      pause();
      return report(learner!);
    case "step":
      pause();
      losses.push(learner!.step(true));
      return report(learner!);
    case "read": {
      const { drawing, question } = request;
      return send({ kind: "explanation", drawing, explanation: explain(learner!.model, drawing, question) });
    }
    case "example":
      return send({ kind: "example", drawing: await exampleOf(request.digit), request: request.request });
  }
}

/** Stops training and reports the error. The page then starts another worker. */
function fail(error: unknown): void {
  pause();
  hasFailed = true;
  send({ kind: "error", message: error instanceof Error ? error.message : String(error) });
}

/** Handles requests one after the other, in the order of arrival. */
let queue = showLife();
addEventListener("message", ({ data }: MessageEvent<Request>) => {
  queue = queue.then(() => (hasFailed ? undefined : handle(data))).catch(fail);
});
