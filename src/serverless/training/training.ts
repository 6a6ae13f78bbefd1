/**
 * trainingHandler offers training as a web function. Each request trains its own model, starting from the stored
 * weights if there are any. The stored weights are replaced once, at the end, if training succeeds.
 */
import { check } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { Budget } from "../core/budget.ts";
import { type BodyType, bodyType, negotiate } from "../core/content.ts";
import { eventStream } from "../core/event-stream.ts";
import type { Handler } from "../core/handler.ts";
import { notifier } from "../core/notify.ts";
import { REQUEST_BYTES, receiveBody } from "../core/receive.ts";
import type { HandlerRequest } from "../core/request.ts";
import { HANDLER, type HandlerOptions, serve } from "../core/routes.ts";
import { describeSpec, type Limits, readLimits, readSpec, type TensorSpec } from "../core/schema.ts";
import { exampleReader } from "./examples.ts";
import type { Learner } from "./learner.ts";
import { type Trainer, TrainingSession } from "./session.ts";
import type { Store } from "./store.ts";

/** Limits on what a training request may cost. `batch` limits the number of examples. */
export interface TrainingLimits extends Limits {
  /** The maximum number of passes over the examples per request. Default 1000. */
  readonly epochs: number;
  /**
   * The maximum number of examples per step. No other request is processed during a step, so it should take a few
   * milliseconds. Default 256.
   */
  readonly batchSize: number;
}

/** The options for trainingHandler. */
export interface TrainingOptions extends HandlerOptions {
  /** Returns a model, its optimizer and its loss for one request. All three must be synchronous. Required. */
  readonly create: () => Learner | Promise<Learner>;
  /** The tensor that the model takes. The first size must be null, for the examples. Required. */
  readonly input: TensorSpec;
  /** The tensor that the model should return. The first size must be null. Give labels a `min` and a `max`. Required. */
  readonly target: TensorSpec;
  /** Keeps the weights between requests. Default: each request starts from the initial weights, and its result is discarded. */
  readonly store?: Store;
  /**
   * Limits on what a request may cost. Defaults: batch 65,536 examples; batchSize 256; epochs 1000; milliseconds 60,000
   * for the whole request; concurrency 1. For bytes and unfinished, see Limits.
   */
  readonly limits?: Partial<TrainingLimits>;
}

const DEFAULTS = {
  bytes: 2 ** 24,
  batch: 65_536,
  batchSize: 256,
  milliseconds: 60_000,
  concurrency: 1,
  epochs: 1000,
};

/**
 * Trains a model over HTTP.
 *
 * `POST /` with `{ "inputs": […], "targets": […], "epochs"?, "batchSize"?, "shuffle"?, "lr"? }` (defaults: 1, 32, true, and the
 * optimizer's rate), or with a safetensors file that has tensors "inputs" and "targets" and the options in its metadata, returns
 * text/event-stream:
 *
 * - `progress` with `{ epoch, step, steps, loss }`, at most 20 times a second; loss is the mean over the epoch so far;
 * - at the end, `done` with `{ loss, steps, milliseconds }` once the state is stored, or `error` with a problem.
 *
 * Training runs in slices of 10 ms, or of one step if that takes longer; other requests are processed between slices.
 * Training stops if the client disconnects. Nothing is stored if the client disconnects before the end, if there is an
 * error, if the time limit is reached, or if a parameter, a buffer or the optimizer's state is no longer finite.
 * Concurrent requests all start from the stored state and each store a complete state, so the last one to finish wins.
 * `GET /health` and `GET /metadata` work as they do for inferenceHandler.
 *
 * ```ts
 * const handler = trainingHandler({
 *   create() {
 *     const model = new nn.Linear(2, 1);
 *     return { model, optimizer: new optim.Adam(model.parameters()), loss: losses.mse };
 *   },
 *   input: { shape: [null, 2] },
 *   target: { shape: [null, 1] },
 * });
 * ```
 * @param options the learner, its tensors, the store and the limits
 * @throws TypeError if an option is missing, unknown or invalid
 */
export function trainingHandler(options: TrainingOptions): Handler {
  const what = "trainingHandler";
  check(what, arguments, `{create!:function store:any input:any target:any limits:any ${HANDLER}}`);
  const input = readSpec(`${what}: input`, options.input);
  const target = readSpec(`${what}: target`, options.target);
  for (const [name, { shape }] of Object.entries({ input, target }))
    if (shape[0] !== null)
      throw new TypeError(`${what}: ${name}.shape[0] must be null, for any number of examples, got ${shape[0]}.`);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS, [input, target]);
  const { create, store } = options;
  const notify = notifier(options.onError);
  const { milliseconds } = limits;
  const trainer: Trainer = { what, create, store, input, target, notify, milliseconds };
  const parse = exampleReader({ input, target }, limits);

  return serve(what, options, {
    read: reader(limits),
    async respond({ started, type, bytes }, slot, request) {
      const { signal } = request;
      const session = await TrainingSession.start(trainer, { examples: parse(type, bytes), started, slot, signal });
      return eventStream(request, {
        run: (send, isDisconnected) => session.train(send, isDisconnected),
        problemOf: (error) => session.problemOf(error),
        end: () => slot.release(),
      });
    },
    load: async () => {},
    isReady: () => true,
    limits,
    metadata: { input: describeSpec(input), target: describeSpec(target), limits },
  });
}

interface ReceivedBody {
  /** The time at which the request arrived, in milliseconds. */
  readonly started: number;
  readonly type: BodyType;
  readonly bytes: Uint8Array;
}

function reader(limits: Limits): (request: HandlerRequest) => Promise<ReceivedBody> {
  const budget = new Budget(limits.unfinished + REQUEST_BYTES);
  return async (request) => {
    const started = performance.now();
    const type = bodyType(request);
    negotiate(request, ["text/event-stream"]);
    return { started, type, bytes: await receiveBody(request, limits, budget, request.signal) };
  };
}
