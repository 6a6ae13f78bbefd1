/** A trained model as a web function: tensors in, tensors out. The model is loaded once; requests share nothing else. */
import { full, nn, noGrad, OutOfMemoryError, ShapeError, type Tensor, tensor, tidy, warmUp } from "nabla";
import { type Answer, type Asked, Reply } from "./asked.ts";
import { answerType, bodyType, type Elements, readTensors, showSpec, writeTensor } from "./bodies.ts";
import { Places, readBody, within } from "./limits.ts";
import { Problem, unavailable } from "./problems.ts";
import { type Handler, type HandlerOptions, routes, telling } from "./routes.ts";
import { acceptArrays, type FullSpec, type Limits, readLimits, readSpec, type TensorSpec } from "./schema.ts";

/** What infers: a module, or a function such as compile gives. It is called without gradients, modules in evaluation mode. */
export type Model = nn.Module | ((x: Tensor) => Tensor);

export interface InferenceOptions extends HandlerOptions {
  /** Gives the model. Called at the first request that needs it, and again if it failed; requests meanwhile wait. */
  readonly load: () => Model | Promise<Model>;
  /** What the model takes. */
  readonly input: TensorSpec;
  /** What the model gives. Where it gives another, the answer is 500, and onError hears of it. Default: anything. */
  readonly output?: TensorSpec;
  /**
   * What a request may cost. Default: bytes 4 MiB; batch 1024; milliseconds 10,000, for its body to arrive and for the model to load
   * (the model's own call is not interrupted: its time is bounded by the batch); concurrency 64.
   */
  readonly limits?: Partial<Limits>;
  /**
   * Whether the model, once loaded, is called until it is fast (nabla's warmUp, half a second at most), so that no client waits for the
   * engine's first tiers. On zeros, or on `min`, and so only where the input's sizes are known but for the batch. Default false.
   */
  readonly warm?: boolean;
}

const DEFAULTS: Limits = { bytes: 4 * 2 ** 20, batch: 1024, milliseconds: 10_000, concurrency: 64 };

/** What is made once, at first need; tried again where that failed. */
class Once<T> {
  value: T | undefined;
  #coming: Promise<T> | undefined;
  readonly #make: () => T | Promise<T>;
  constructor(make: () => T | Promise<T>) {
    this.#make = make;
  }

  get(): Promise<T> {
    this.#coming ??= this.#begin();
    return this.#coming;
  }
  #begin(): Promise<T> {
    const coming = (async () => this.#make())().then(
      // One that was given up may come after all.
      (made) => (this.value ??= made),
      (error) => {
        if (this.#coming === coming) this.forget();
        throw error;
      },
    );
    return coming;
  }
  /** Gives up what is being made: the next who asks has it made anew. */
  forget(): void {
    this.#coming = undefined;
  }
}

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
  if (typeof options.load !== "function")
    throw new TypeError(`${what}: "load" must be a function that gives the model.`);
  const input = readSpec(`${what}: input`, options.input);
  const output = options.output && readSpec(`${what}: output`, options.output);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS);
  const places = new Places(limits);
  const tell = telling(options.onError);
  const model = new Once(async () => {
    const loaded = await options.load();
    if (!(loaded instanceof nn.Module || typeof loaded === "function"))
      throw new TypeError(`${what}: load gave neither a module nor a function.`);
    const ready = loaded instanceof nn.Module ? loaded : { forward: loaded };
    if (options.warm) await warm(ready);
    return ready;
  });

  async function warm(ready: { forward(x: Tensor): unknown }): Promise<void> {
    const [batch, ...sizes] = input.shape;
    if (sizes.includes(null)) return;
    const shape = [batch ?? 1, ...(sizes as number[])];
    const values = full(shape, Math.min(Math.max(0, input.min), input.max), { dtype: input.dtype }).keep();
    const elements = { values: values.data, shape, dtype: input.dtype };
    values.dispose();
    await warmUp(() => infer(ready, elements, false, () => new Reply("", {})));
  }

  const loaded = async () => {
    const late = (): Problem => {
      model.forget();
      return unavailable("The model is still being loaded. Try again.", 5);
    };
    try {
      return model.value ?? (await within(model.get(), limits.milliseconds, late));
    } catch (error) {
      if (error instanceof Problem) throw error;
      tell(error);
      throw unavailable("The model could not be loaded. Try again later.", 5);
    }
  };

  const work = async (request: Asked): Promise<Answer> => {
    const type = bodyType(request);
    const answered = answerType(request, type);
    const bytes = await readBody(request, limits);
    const body = readTensors(type, bytes, (json) => ({ arrays: acceptArrays(["inputs"], json) }));
    const { single, ...elements } = body.elements("inputs", input, limits.batch);
    const ready = await loaded();
    try {
      return infer(ready, elements, single, (outputs) => writeTensor(answered, "outputs", outputs));
    } catch (error) {
      throw told(error);
    }
  };

  /** Runs the model on what was sent. Everything it makes is freed. */
  function infer(
    ready: { forward(x: Tensor): unknown },
    { values, shape, dtype }: Elements,
    single: boolean,
    write: (outputs: Tensor) => Reply,
  ): Reply {
    if (ready instanceof nn.Module && ready.training) ready.eval();
    let reply: Reply | undefined;
    noGrad(() =>
      tidy(() => {
        const x = tensor(values, single ? [1, ...shape] : shape, { dtype });
        const y = ready.forward(x);
        requireOutput(y as Tensor, x.shape[0]);
        reply = write(single ? (y as Tensor).reshape((y as Tensor).shape.slice(1)) : (y as Tensor));
      }),
    );
    return reply!;
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
    // Sizes that the spec leaves open are the client's choice.
    if (error instanceof ShapeError && input.shape.indexOf(null, 1) > 0)
      return new Problem(422, "The model takes no inputs of these sizes. Send others.");
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
    async work(request) {
      const place = places.take();
      try {
        return await work(request);
      } finally {
        place.leave();
      }
    },
    ready: loaded,
    isReady: () => model.value !== undefined,
    metadata: { input: described(input), ...(output && { output: described(output) }), limits },
  });
}

class WrongOutput extends Error {}

/** A spec as /metadata shows it: infinite ranges are none. */
export const described = ({ shape, dtype, min, max }: FullSpec): TensorSpec => ({
  shape,
  dtype,
  ...(Number.isFinite(min) && { min }),
  ...(Number.isFinite(max) && { max }),
});
