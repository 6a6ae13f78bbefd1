/** A trained model as a web function: tensors in, tensors out. The model is loaded once; requests share nothing else. */

import { full, info, nn, noGrad, OutOfMemoryError, type Tensor, tensor, tidy, warmUp } from "nabla";
import { check } from "../../runtime/arguments.ts";
import { Error, TypeError } from "../../runtime/errors.ts";
import { describe, isModule } from "../../runtime/kinds.ts";
import type { Answer, Asked, Reply } from "../core/asked.ts";
import { answerType, type BodyType, bodyType, type Elements, readTensors, rowsOf, showSpec } from "../core/bodies.ts";
import { REQUEST_BYTES, readBody } from "../core/body.ts";
import { Budget } from "../core/budget.ts";
import { faultOf, synchronous } from "../core/faults.ts";
import { within } from "../core/limits.ts";
import { Once } from "../core/once.ts";
import { Problem, unavailable } from "../core/problems.ts";
import { HANDLER, type Handler, type HandlerOptions, routes } from "../core/routes.ts";
import {
  acceptArrays,
  type Batching,
  type FullSpec,
  type Limits,
  nestingOf,
  readBatching,
  readLimits,
  readSpec,
  type TensorSpec,
} from "../core/schema.ts";
import { telling } from "../core/telling.ts";
import { Batcher, callSizes } from "./batching.ts";

/**
 * What infers: a module, or a function such as compile gives. It is called without gradients; modules in evaluation mode, which are
 * afterwards in the mode that they were in.
 */
export type Model = nn.Module | ((x: Tensor) => Tensor);

export interface InferenceOptions extends HandlerOptions {
  /**
   * Gives the model. Called at the first request that needs it; requests meanwhile wait, as long as `limits` say, and what comes later
   * than that is used all the same. Called again if it failed, once a second at most.
   */
  readonly load: () => Model | Promise<Model>;
  /** What the model takes. */
  readonly input: TensorSpec;
  /** What the model gives. Where it gives another, the answer is 500, and onError hears of it. Default: anything. */
  readonly output?: TensorSpec;
  /**
   * What a request may cost. Default: batch 1024; milliseconds 10,000, for its body to arrive and for the model to load (a call of the
   * model is not interrupted: its time is bounded by the batch); concurrency 64; bytes and unfinished as Limits says.
   */
  readonly limits?: Partial<Limits>;
  /**
   * Joins requests that wait into one call of the model, which is faster if there are many: `true` for the defaults of Batching. Only for
   * models that treat each sample alone: layers do in evaluation mode, but not a model that takes a mean over its batch. Samples of
   * different shapes are not joined. Partial batches are padded with copies of a sample, so that a compiled model is recorded for 8
   * sizes at most. If a call fails, its requests are run apart, so that only those at fault fail. The last bits of an answer may depend
   * on the others in its call; after `init({ deterministic: true })` each request runs alone. Not for Cloudflare Workers, where
   * one request cannot wait for another. Default false.
   */
  readonly batching?: boolean | Partial<Batching>;
  /**
   * Whether the model, once loaded, is called until it is fast (nabla's warmUp, half a second at most), so that no client waits for the
   * engine's first tiers. On zeros, or on `min`, and so only where the input's sizes are known but for the batch. Default false.
   */
  readonly warm?: boolean;
}

const DEFAULTS: Omit<Limits, "unfinished"> = { bytes: 4 * 2 ** 20, batch: 1024, milliseconds: 10_000, concurrency: 64 };

/**
 * A web function that runs a model.
 *
 * - `POST /` with `{ "inputs": [[…], …] }` answers `{ "outputs": [[…], …], "shape": […] }`; one sample without the dimension of the
 *   batch is answered in kind. With Content-Type `application/vnd.safetensors` or `application/octet-stream` the body is a safetensors
 *   file with a tensor "inputs", and so is the answer, with "outputs". Accept may ask for the other. JSON carries finite numbers only:
 *   where outputs are not, the answer is 422 and names the remedy, which is safetensors.
 * - `GET /health` answers `{ "status": "ok", "ready": … }`; with `?ready` it loads the model first.
 * - `GET /metadata` answers name, input, output, limits, and which nabla it is.
 *
 * Errors are `application/problem+json` with a status, a title, and a detail that names the remedy.
 *
 * ```ts
 * const handler = inferenceHandler({
 *   load: async () => restored(await fetch(weights)),
 *   input: { shape: [null, 784], dtype: "float32" },
 *   output: { shape: [null, 10] },
 * });
 * ```
 * @throws TypeError where an option is not what it should be
 */
export function inferenceHandler(options: InferenceOptions): Handler {
  const what = "inferenceHandler";
  check(what, arguments, `{load!:function input:any output:any limits:any batching:any warm:boolean ${HANDLER}}`);
  const input = readSpec(`${what}: input`, options.input);
  const output = options.output && readSpec(`${what}: output`, options.output);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS, [input]);
  const nesting = nestingOf([input], limits.batch);
  const budget = new Budget(limits.unfinished + REQUEST_BYTES);
  const batching = readBatching(what, options.batching, { input, limits });
  const tell = telling(options.onError);
  const drop = (ready: Ready): void => {
    try {
      if (ready instanceof nn.Module) ready.dispose();
    } catch (error) {
      tell(error);
    }
  };
  let joins = false;
  const model = new Once(async () => {
    try {
      const loaded = await options.load();
      if (!(loaded instanceof nn.Module || typeof loaded === "function"))
        throw new TypeError(
          isModule(loaded)
            ? `${what}: load returned a module of another copy of nabla, which has its own memory. Use one copy: check for two installed versions with npm ls nabla.`
            : `${what}: load must return a module or a function, got ${describe(loaded)}.`,
        );
      const ready = loaded instanceof nn.Module ? loaded : { forward: loaded };
      // The number of rows decides by which kernel a product is made: its last bits may depend on it.
      joins = !info().deterministic;
      if (options.warm && !model.value) await warm(ready);
      return ready;
    } catch (error) {
      tell(error);
      throw error;
    }
  }, drop);

  /** Frees a model that fails. */
  async function warm(ready: Ready): Promise<void> {
    const [batch, ...sizes] = input.shape;
    if (sizes.includes(null)) return;
    const call = (count: number): void => {
      const shape = [count, ...(sizes as number[])];
      const values = full(shape, Math.min(Math.max(0, input.min), input.max), { dtype: input.dtype }).keep();
      const elements = { values: values.data, shape, dtype: input.dtype };
      values.dispose();
      infer(ready, elements, () => {});
    };
    try {
      await warmUp(() => call(batch ?? 1));
      if (batching) for (const size of callSizes(batching.size)) call(size);
    } catch (error) {
      drop(ready);
      throw error;
    }
  }

  const loaded = async () => {
    const late = (): Problem => unavailable("The model is still being loaded. Try again.", 5);
    try {
      return model.value ?? (await within(model.get(), limits.milliseconds, late));
    } catch (error) {
      if (error instanceof Problem) throw error;
      throw unavailable("The model could not be loaded. Try again later.", 5);
    }
  };

  const read = async (request: Asked): Promise<Arrived> => {
    const type = bodyType(request);
    return { type, answered: answerType(request, type), bytes: await readBody(request, limits, budget) };
  };

  const work = async ({ type, answered, bytes }: Arrived): Promise<Answer> => {
    const body = readTensors(type, bytes, nesting, (json) => ({ arrays: acceptArrays(["inputs"], json) }));
    const { single, values, shape, dtype } = body.elements("inputs", input, limits.batch);
    const elements = { values, shape: single ? [1, ...shape] : shape, dtype };
    const ready = await loaded();
    try {
      if (batcher && joins)
        return await batcher.add(elements, (write, from, count) => write(answered, single, from, count));
      let reply: Reply | undefined;
      infer(ready, elements, (y) => {
        reply = rowsOf("outputs", y)(answered, single, 0, y.shape[0] ?? 1);
      });
      return reply!;
    } catch (error) {
      throw told(error);
    }
  };
  /** The model is loaded when something is added. */
  const batcher =
    batching &&
    new Batcher<ReturnType<typeof rowsOf>, Reply>(batching, (elements, use) =>
      infer(model.value!, elements, (y) => use(rowsOf("outputs", y))),
    );

  /** Runs the model on what was sent. Everything it makes is freed. */
  function infer(ready: Ready, { values, shape, dtype }: Elements, use: (outputs: Tensor) => void): void {
    const inTraining =
      ready instanceof nn.Module ? [...ready.namedModules()].filter(([, { training }]) => training) : [];
    for (const [, module] of inTraining) module.training = false;
    try {
      noGrad(() =>
        tidy(() => {
          const x = tensor(values, shape, { dtype });
          const y = synchronous(`${what}: the model`, ready.forward(x)) as Tensor;
          requireOutput(y, x.shape[0]);
          use(y);
        }),
      );
    } finally {
      for (const [, module] of inTraining) module.training = true;
    }
  }

  /** @throws Error, for onError, where the model did not give what was promised */
  function requireOutput(y: Tensor, batch: number | undefined): void {
    if (typeof y?.dtype !== "string" || !Array.isArray(y.shape))
      throw new TypeError(`${what}: the model gave ${typeof y}, but must give one tensor.`);
    const expected: FullSpec["shape"] = output?.shape ?? (input.shape[0] === null ? [null] : []);
    const sizes = output ? y.shape : y.shape.slice(0, expected.length);
    const fits =
      sizes.length === expected.length &&
      sizes.every((size, i) => size === (expected[i] ?? (i === 0 && input.shape[0] === null ? batch : size)));
    if (fits && (!output || y.dtype === output.dtype)) return;
    const promised = output ? `${output.dtype} ${showSpec(output)}` : `a first dimension of ${batch}, the batch`;
    throw new WrongOutput(`${what}: the model gave ${y.dtype} [${y.shape.join(", ")}], but must give ${promised}.`);
  }

  /** An error of the model, as its client may know it. */
  function told(error: unknown): unknown {
    if (error instanceof Problem) return error;
    const fault = faultOf(error, { inputs: input });
    if (fault) return fault;
    tell(error);
    if (error instanceof OutOfMemoryError)
      return unavailable("There is not enough memory for that. Send fewer samples.");
    return new Problem(
      500,
      error instanceof WrongOutput
        ? "The model's outputs are not of the shape and type that this function promises. Its log says more."
        : "The model failed at these inputs. The function's log says why.",
    );
  }

  return routes(what, {
    ...options,
    limits,
    read,
    async work(arrived, place) {
      try {
        return await work(arrived);
      } finally {
        place.leave();
      }
    },
    ready: loaded,
    isReady: () => model.value !== undefined,
    metadata: { input: described(input), ...(output && { output: described(output) }), limits },
  });
}

/** A body that has arrived. */
interface Arrived {
  readonly type: BodyType;
  /** How its answer is written. */
  readonly answered: BodyType;
  readonly bytes: Uint8Array;
}

/** A model, in one form. */
interface Ready {
  forward(x: Tensor): unknown;
}

class WrongOutput extends Error {}

/** A spec as /metadata shows it: infinite ranges are none. */
export const described = ({ shape, dtype, min, max }: FullSpec): TensorSpec => ({
  shape,
  dtype,
  ...(Number.isFinite(min) && { min }),
  ...(Number.isFinite(max) && { max }),
});
