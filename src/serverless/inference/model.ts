/**
 * Loads the model of an inferenceHandler once, optionally warms it up, runs it without gradients, and checks its
 * outputs.
 */
import { full, info, nn, noGrad, OutOfMemoryError, Tensor, tensor, tidy, warmUp } from "nabla";
import { Error, TypeError } from "../../runtime/errors.ts";
import { describe, isModule } from "../../runtime/kinds.ts";
import { Lazy } from "../core/lazy.ts";
import { clientFault, synchronous } from "../core/model-errors.ts";
import { Problem, unavailable } from "../core/problems.ts";
import type { FullSpec } from "../core/schema.ts";
import { type Elements, showSpec } from "../core/tensors.ts";
import { withTimeout } from "../core/timeout.ts";

/**
 * A model for inference: a module, or a function of a tensor, such as a compiled function. It runs without gradients. A module runs in
 * evaluation mode, and its previous mode is restored afterwards.
 */
export type Model = nn.Module | ((x: Tensor) => Tensor);

interface ModelOptions {
  /** The handler's name in error messages. */
  readonly what: string;
  readonly load: () => Model | Promise<Model>;
  readonly input: FullSpec;
  readonly output: FullSpec | undefined;
  readonly notify: (error: unknown) => void;
  /** The maximum time that a request waits for the model to load. */
  readonly milliseconds: number;
  readonly warm: boolean;
  /** Batch sizes to run once at the end of the warm-up, so that a compiled model is recorded for them. */
  readonly batchSizes: readonly number[];
}

class WrongOutput extends Error {}

export class ServedModel {
  /**
   * Whether the last bits of an answer may depend on the other samples in its batch, because products with more rows
   * may use a different kernel.
   */
  dependsOnBatch = false;
  readonly #options: ModelOptions;
  readonly #model: Lazy<Model>;

  constructor(options: ModelOptions) {
    this.#options = options;
    const { notify } = options;
    this.#model = new Lazy(
      async () => {
        try {
          return await this.#loadAndWarm();
        } catch (error) {
          notify(error);
          throw error;
        }
      },
      (model) => this.#dispose(model),
    );
  }

  get isLoaded(): boolean {
    return this.#model.value !== undefined;
  }

  /** Waits until the model is loaded. @throws Problem 503 if loading fails or takes too long */
  async load(): Promise<void> {
    if (this.isLoaded) return;
    const timeoutError = (): Problem => unavailable("The model is still loading. Try again.", 5);
    try {
      await withTimeout(this.#model.get(), { milliseconds: this.#options.milliseconds, timeoutError });
    } catch (error) {
      throw error instanceof Problem ? error : unavailable("The model could not be loaded. Try again later.", 5);
    }
  }

  /** Runs the model, which must be loaded, and passes its output to `use`. Frees all tensors that the call creates. */
  run(elements: Elements, use: (output: Tensor) => void): void {
    this.#run(this.#model.value!, elements, use);
  }

  /** The problem to report for an error that `run` throws. */
  problemOf(error: unknown): Problem {
    const { input, notify } = this.#options;
    if (error instanceof Problem) return error;
    const fault = clientFault(error, { inputs: input });
    if (fault) return fault;
    notify(error);
    if (error instanceof OutOfMemoryError)
      return unavailable("There is not enough memory for this request. Send fewer samples.");
    const what =
      error instanceof WrongOutput
        ? "The model's outputs do not have the declared shape and type."
        : "The model failed on these inputs.";
    return new Problem(500, `${what} See the function's log.`);
  }

  async #loadAndWarm(): Promise<Model> {
    const { what, load, warm } = this.#options;
    const model: unknown = await load();
    if (!(model instanceof nn.Module || isFunction(model)))
      throw new TypeError(
        isModule(model)
          ? `${what}: load returned a module from another copy of nabla, which has its own memory. Run \`npm ls nabla\` to find duplicate installations, and keep one.`
          : `${what}: load must return a module or a function, got ${describe(model)}.`,
      );
    this.dependsOnBatch = !info().deterministic;
    if (warm && !this.isLoaded) await this.#warm(model);
    return model;
  }

  /** Warms up the model by running it repeatedly. Frees the model if a run fails. */
  async #warm(model: Model): Promise<void> {
    const { input, batchSizes } = this.#options;
    const [batch, ...sizes] = input.shape;
    if (!isKnown(sizes)) return;
    const run = (count: number): void => {
      const shape = [count, ...sizes];
      const x = full(shape, Math.min(Math.max(0, input.min), input.max), { dtype: input.dtype }).keep();
      const elements = { values: x.data, shape, dtype: input.dtype };
      x.dispose();
      this.#run(model, elements, () => {});
    };
    try {
      await warmUp(() => run(batch ?? 1));
      for (const size of batchSizes) run(size);
    } catch (error) {
      this.#dispose(model);
      throw error;
    }
  }

  #run(model: Model, { values, shape, dtype }: Elements, use: (output: Tensor) => void): void {
    const inTraining =
      model instanceof nn.Module ? [...model.namedModules()].filter(([, { training }]) => training) : [];
    for (const [, module] of inTraining) module.training = false;
    try {
      noGrad(() =>
        tidy(() => {
          const x = tensor(values, shape, { dtype });
          const y: unknown = model instanceof nn.Module ? model.forward(x) : model(x);
          use(this.#checkOutput(synchronous(`${this.#options.what}: the model`, y), x.shape[0]));
        }),
      );
    } finally {
      for (const [, module] of inTraining) module.training = true;
    }
  }

  /** Returns the model's output. @throws Error, which onError receives, if the output does not match the specs */
  #checkOutput(y: unknown, batch: number | undefined): Tensor {
    const { what, input, output } = this.#options;
    if (!(y instanceof Tensor)) throw new TypeError(`${what}: the model must return a tensor, got ${describe(y)}.`);
    const expected: FullSpec["shape"] = output?.shape ?? (input.shape[0] === null ? [null] : []);
    const sizes = output ? y.shape : y.shape.slice(0, expected.length);
    const fits =
      sizes.length === expected.length &&
      sizes.every((size, i) => size === (expected[i] ?? (i === 0 && input.shape[0] === null ? batch : size)));
    if (fits && (!output || y.dtype === output.dtype)) return y;
    const declared = output
      ? `${output.dtype} ${showSpec(output)}`
      : `a tensor whose first size is the batch, ${batch}`;
    throw new WrongOutput(`${what}: the model must return ${declared}, got ${y.dtype} [${y.shape.join(", ")}].`);
  }

  #dispose(model: Model): void {
    try {
      if (model instanceof nn.Module) model.dispose();
    } catch (error) {
      this.#options.notify(error);
    }
  }
}

const isFunction = (value: unknown): value is (x: Tensor) => Tensor => typeof value === "function";
const isKnown = (sizes: readonly (number | null)[]): sizes is readonly number[] => !sizes.includes(null);
