/**
 * inferenceHandler serves a trained model as a web function. The model is loaded once, and is the only thing that
 * requests share.
 */

import { check } from "../../runtime/arguments.ts";
import { Budget } from "../core/budget.ts";
import { answerType, type BodyType, bodyType } from "../core/content.ts";
import type { Handler } from "../core/handler.ts";
import { notifier } from "../core/notify.ts";
import { REQUEST_BYTES, receiveBody } from "../core/receive.ts";
import type { Answer, Reply } from "../core/reply.ts";
import type { HandlerRequest } from "../core/request.ts";
import { HANDLER, type HandlerOptions, serve } from "../core/routes.ts";
import {
  acceptArrays,
  type Batching,
  describeSpec,
  type FullSpec,
  type Limits,
  nestingOf,
  readBatching,
  readLimits,
  readSpec,
  type TensorSpec,
} from "../core/schema.ts";
import { type Elements, readTensors, rowWriter, type WriteRows } from "../core/tensors.ts";
import { Batcher, batchSizes } from "./batching.ts";
import { type Model, ServedModel } from "./model.ts";

/** The options for inferenceHandler. */
export interface InferenceOptions extends HandlerOptions {
  /**
   * Returns the model. Called on the first request that needs the model. Each request waits for the model for at most
   * `limits.milliseconds`. If loading takes longer, the model is still used once it has loaded. After a failure, the
   * next request calls `load` again, at most once a second. Required.
   */
  readonly load: () => Model | Promise<Model>;
  /** The tensor that the model takes. Required. */
  readonly input: TensorSpec;
  /** The tensor that the model returns. If it returns anything else, the response is 500, and onError is called. Default: any tensor. */
  readonly output?: TensorSpec;
  /**
   * Limits on what a request may cost. Defaults: batch 1024; milliseconds 10,000 for the body to arrive, and another
   * 10,000 for the model to load (a running model is not interrupted, but `batch` bounds its run time); concurrency 64.
   * For bytes and unfinished, see Limits.
   */
  readonly limits?: Partial<Limits>;
  /**
   * Combines waiting requests into one call to the model, which is faster under load. `true` selects the defaults of
   * Batching. Use it only for models that process each sample independently, as layers do in evaluation mode; a model
   * that averages over its batch does not. Samples of different shapes are not combined. Incomplete batches are padded,
   * so that a compiled model is recorded for at most 8 sizes. If a call fails, its requests run again in smaller
   * batches, so that only the requests that cause the error fail. The last bits of an answer may depend on the other
   * requests in its batch; after `init({ deterministic: true })` each request runs alone. Does not work in Cloudflare
   * Workers, where one request cannot wait for another. Default false.
   */
  readonly batching?: boolean | Partial<Batching>;
  /**
   * Runs the model repeatedly after it has loaded, for up to half a second (see nabla's warmUp), so that the first
   * requests are fast. The inputs are zeros or, if the spec excludes 0, the number between `min` and `max` that is
   * closest to 0. Has no effect if a dimension of the input's shape other than the batch dimension is null. Default
   * false.
   */
  readonly warm?: boolean;
}

const DEFAULTS = { bytes: 4 * 2 ** 20, batch: 1024, milliseconds: 10_000, concurrency: 64 };

/**
 * Serves a model over HTTP.
 *
 * - `POST /` with `{ "inputs": [[…], …] }` returns `{ "outputs": [[…], …], "shape": […] }`. If the inputs are one
 *   sample without the batch dimension, the outputs have no batch dimension either. If Content-Type is
 *   `application/vnd.safetensors` or `application/octet-stream`, the body must be a safetensors file with a tensor
 *   "inputs", and the response is a safetensors file with a tensor "outputs". The Accept header can ask for the other
 *   format. JSON can represent only finite numbers: if an output is NaN or infinite, the response is 422.
 * - `GET /health` returns `{ "status": "ok", "ready": … }`; `GET /health?ready` loads the model first.
 * - `GET /metadata` returns the name, input, output, limits, and nabla's version and build.
 *
 * Errors are `application/problem+json` with a status, a title, and a detail that says how to fix the request.
 *
 * ```ts
 * const handler = inferenceHandler({
 *   load: async () => modelFrom(await fetch(weights)),
 *   input: { shape: [null, 784], dtype: "float32" },
 *   output: { shape: [null, 10] },
 * });
 * ```
 * @param options the model, its input and its limits
 * @throws TypeError if an option is missing, unknown or invalid
 */
export function inferenceHandler(options: InferenceOptions): Handler {
  const what = "inferenceHandler";
  check(what, arguments, `{load!:function input:any output:any limits:any batching:any warm:boolean ${HANDLER}}`);
  const input = readSpec(`${what}: input`, options.input);
  const output = options.output && readSpec(`${what}: output`, options.output);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS, [input]);
  const batching = readBatching(what, options.batching, { input, limits });
  const model = new ServedModel({
    what,
    load: options.load,
    input,
    output,
    notify: notifier(options.onError),
    milliseconds: limits.milliseconds,
    warm: options.warm ?? false,
    batchSizes: batching ? batchSizes(batching.size) : [],
  });
  const parse = parser(input, limits);
  const infer = inferrer(model, batching);
  return serve(what, options, {
    read: reader(limits),
    async respond(body, slot) {
      try {
        const samples = parse(body);
        await model.load();
        return await infer(samples, body.answerType);
      } finally {
        slot.release();
      }
    },
    load: () => model.load(),
    isReady: () => model.isLoaded,
    limits,
    metadata: { input: describeSpec(input), ...(output && { output: describeSpec(output) }), limits },
  });
}

/** A request body, its content type, and the content type of the response. */
interface ReceivedBody {
  readonly type: BodyType;
  readonly answerType: BodyType;
  readonly bytes: Uint8Array;
}

function reader(limits: Limits): (request: HandlerRequest) => Promise<ReceivedBody> {
  const budget = new Budget(limits.unfinished + REQUEST_BYTES);
  return async (request) => {
    const type = bodyType(request);
    return { type, answerType: answerType(request, type), bytes: await receiveBody(request, limits, budget) };
  };
}

interface Samples {
  /** The elements, with a batch dimension if the input's spec has one. */
  readonly elements: Elements;
  /** Whether the request has one sample, without the batch dimension. */
  readonly single: boolean;
}

function parser(input: FullSpec, { batch }: Limits): (body: ReceivedBody) => Samples {
  const nesting = nestingOf([input], batch);
  return ({ type, bytes }) => {
    const body = readTensors(type, bytes, nesting, (json) => ({ arrays: acceptArrays(["inputs"], json) }));
    const { single, values, shape, dtype } = body.elements("inputs", input, batch);
    return { elements: { values, shape: single ? [1, ...shape] : shape, dtype }, single };
  };
}

/** Returns a function that runs the model on the samples of a request, alone or combined with other requests. */
function inferrer(model: ServedModel, batching: Batching | undefined) {
  const run = (elements: Elements, use: (write: WriteRows) => void): void =>
    model.run(elements, (y) => use(rowWriter("outputs", y)));
  const batcher = batching && new Batcher<WriteRows, Reply>(batching, run);

  return async ({ elements, single }: Samples, type: BodyType): Promise<Answer> => {
    try {
      if (batcher && model.dependsOnBatch)
        return await batcher.add(elements, (write, from, count) => write({ type, single, from, count }));
      let reply: Reply | undefined;
      model.run(elements, (y) => {
        reply = rowWriter("outputs", y)({ type, single, from: 0, count: y.shape[0] ?? 1 });
      });
      return reply!; // model.run has called the callback that sets `reply`
    } catch (error) {
      throw model.problemOf(error);
    }
  };
}
