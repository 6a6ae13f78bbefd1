/** A trained model as a web function: tensors in, tensors out. The model is loaded once; requests share nothing else. */
import { full, nn, noGrad, OutOfMemoryError, type Tensor, tensor, tidy, warmUp } from "nabla";
import { type Answer, type Asked, Reply } from "./asked.ts";
import { answerType, bodyType, type Elements, readTensors, showSpec, writeTensor } from "./bodies.ts";
import { faultOf, synchronous } from "./faults.ts";
import { readBody, within } from "./limits.ts";
import { Problem, unavailable } from "./problems.ts";
import { type Handler, type HandlerOptions, routes, telling } from "./routes.ts";
import { acceptArrays, type FullSpec, type Limits, readLimits, readSpec, type TensorSpec } from "./schema.ts";

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

/** Milliseconds between a load that failed and the next. */
const REST = 1000;
/** Milliseconds after which a load is taken for dead: Workers stop it with the request that began it. Twice as many each time. */
const PATIENCE = 60_000;

/** What is made once, at first need; tried again where that failed. */
class Once<T> {
  value: T | undefined;
  #coming: Promise<T> | undefined;
  /** When, at the earliest, it is made again. */
  #next = 0;
  #patience = PATIENCE;
  readonly #make: () => Promise<T>;
  readonly #drop: (made: T) => void;
  /** `drop` frees what is made though there is another by then. */
  constructor(make: () => Promise<T>, drop: (made: T) => void) {
    this.#make = make;
    this.#drop = drop;
  }

  get(): Promise<T> {
    if (!this.#coming || Date.now() >= this.#next) this.#coming = this.#begin();
    return this.#coming;
  }
  #begin(): Promise<T> {
    this.#next = Date.now() + this.#patience;
    this.#patience *= 2;
    const coming = this.#make().then(
      (made) => {
        // One that was taken for dead may come after all.
        if (this.value !== undefined && this.value !== made) this.#drop(made);
        this.value ??= made;
        return this.value;
      },
      (error) => {
        // Who asks before the next try is told of this one.
        if (this.#coming === coming) this.#next = Date.now() + REST;
        this.#patience = PATIENCE;
        throw error;
      },
    );
    return coming;
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
  const tell = telling(options.onError);
  const drop = (ready: Ready): void => {
    try {
      if (ready instanceof nn.Module) ready.dispose();
    } catch (error) {
      tell(error);
    }
  };
  const model = new Once(async () => {
    try {
      const loaded = await options.load();
      if (!(loaded instanceof nn.Module || typeof loaded === "function"))
        throw new TypeError(`${what}: load gave neither a module nor a function.`);
      const ready = loaded instanceof nn.Module ? loaded : { forward: loaded };
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
    const shape = [batch ?? 1, ...(sizes as number[])];
    const values = full(shape, Math.min(Math.max(0, input.min), input.max), { dtype: input.dtype }).keep();
    const elements = { values: values.data, shape, dtype: input.dtype };
    values.dispose();
    try {
      await warmUp(() => infer(ready, elements, false, () => new Reply("", {})));
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
    ready: Ready,
    { values, shape, dtype }: Elements,
    single: boolean,
    write: (outputs: Tensor) => Reply,
  ): Reply {
    const inTraining =
      ready instanceof nn.Module ? [...ready.namedModules()].filter(([, { training }]) => training) : [];
    for (const [, module] of inTraining) module.training = false;
    let reply: Reply | undefined;
    try {
      noGrad(() =>
        tidy(() => {
          const x = tensor(values, single ? [1, ...shape] : shape, { dtype });
          const y = synchronous(`${what}: the model`, ready.forward(x)) as Tensor;
          requireOutput(y, x.shape[0]);
          reply = write(single ? y.reshape(y.shape.slice(1)) : y);
        }),
      );
    } finally {
      for (const [, module] of inTraining) module.training = true;
    }
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
    async work(request, place) {
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
