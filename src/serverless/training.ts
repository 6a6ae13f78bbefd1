/**
 * Training as a web function: examples in, progress out as server-sent events. Every request trains a model of its own, from stored
 * weights if there are any; they are replaced once, at the end, by a training that was not broken off.
 */
import { compile, type nn, OutOfMemoryError, type optim, type Tensor, tensor, tidy } from "nabla";
import { loadState, saveState } from "nabla/formats";
import type { Asked } from "./asked.ts";
import { accepted, bodyType, type Elements, readTensors } from "./bodies.ts";
import { events, type Send } from "./events.ts";
import { faultOf, hasOpenRange, synchronous } from "./faults.ts";
import { described } from "./inference.ts";
import { left, type Place, readBody, within } from "./limits.ts";
import { Problem, unavailable } from "./problems.ts";
import { type Handler, type HandlerOptions, routes, telling } from "./routes.ts";
import {
  acceptArrays,
  acceptCourse,
  COURSE,
  type Course,
  type FullSpec,
  isObject,
  type Limits,
  readLimits,
  readSpec,
  type TensorSpec,
} from "./schema.ts";
import { Pace } from "./slices.ts";

/** What a request trains: its own, made anew. */
export interface Learner {
  /** Disposed at the end, as the optimizer is. */
  readonly model: nn.Module;
  // biome-ignore lint/suspicious/noExplicitAny: any optimizer, whatever its options
  readonly optimizer: optim.Optimizer<any, any>;
  /** The loss of a batch, one number: such as losses.mse. */
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
  /** Whether steps are compiled, which is faster. Default true; false for a model that reads values while it computes. */
  readonly compiled?: boolean;
  /** Frees what else was made for it. */
  dispose?(): void;
}

/** Where weights are kept between requests: a file, an object store, a key-value store. */
export interface Store {
  /** What was saved last; undefined before. */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces it, whole: what saveState of nabla/formats gives. */
  save(state: Uint8Array): Promise<void>;
}

/** Of these, `batch` bounds the examples of a request, and `batchSize` only as those do: a step takes them all where a client asks. */
export interface TrainingLimits extends Limits {
  /** Passes over the examples in a request. */
  readonly epochs: number;
}

export interface TrainingOptions extends HandlerOptions {
  /** Makes a model, its optimizer and its loss, for one request. Synchronous, all three. */
  readonly create: () => Learner | Promise<Learner>;
  /** What the model takes: the first size is null, the examples. */
  readonly input: TensorSpec;
  /** What it is to give: the first size is null. Labels have a `min` and a `max`. */
  readonly target: TensorSpec;
  /** Where trainings begin and end. Default: each begins anew, and is forgotten. */
  readonly store?: Store;
  /**
   * What a request may cost. Default: bytes 16 MiB; batch 65,536 examples; epochs 1000; milliseconds 60,000, for the whole of it;
   * concurrency 1.
   */
  readonly limits?: Partial<TrainingLimits>;
}

const DEFAULTS: TrainingLimits = { bytes: 2 ** 24, batch: 65_536, milliseconds: 60_000, concurrency: 1, epochs: 1000 };

/** Milliseconds between two events of progress, at least. */
const PROGRESS_EVERY = 50;

/** What goes on from what was stored. */
interface Begun {
  readonly learner: Learner;
  /** Steps that were taken before. */
  readonly step: number;
  /** The learning rates that it is stored with. */
  readonly rates: readonly number[];
}

/** Examples of a request. */
interface Examples {
  readonly inputs: Elements;
  readonly targets: Elements;
  readonly course: Course;
}

/**
 * A web function that trains.
 *
 * `POST /` with `{ "inputs": […], "targets": […], "epochs"?, "batchSize"?, "shuffle"?, "lr"? }` (defaults 1, 32, true, and the
 * optimizer's), or a safetensors file with tensors "inputs" and "targets" and the options in its metadata, answers text/event-stream:
 *
 * - `progress` with `{ epoch, step, steps, loss }`, at most 20 a second; loss is the mean over the epoch so far;
 * - at the end `done` with `{ loss, steps, milliseconds }`, after the store has the new state; or `error` with a problem.
 *
 * Training goes in slices of 10 ms, or one step where that takes longer: other requests are answered between them, and a client that
 * leaves ends it. If it leaves before what was learnt is being stored, nothing is saved, as after an error or the time limit. Of trainings at the same time each begins with what is stored and saves its own
 * whole state: the last one stays. `GET /health` and `GET /metadata` as inferenceHandler has them.
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
 * @throws TypeError where an option is not what it should be
 */
export function trainingHandler(options: TrainingOptions): Handler {
  const what = "trainingHandler";
  const { create, store } = options;
  if (typeof create !== "function")
    throw new TypeError(`${what}: "create" must be a function that gives { model, optimizer, loss }.`);
  const input = readSpec(`${what}: input`, options.input);
  const target = readSpec(`${what}: target`, options.target);
  for (const [name, { shape }] of Object.entries({ input, target }))
    if (shape[0] !== null) throw new TypeError(`${what}: ${name}: the first size must be null, for the examples.`);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS);
  const tell = telling(options.onError);

  const read = async (request: Asked): Promise<Examples> => {
    const type = bodyType(request);
    accepted(request, ["text/event-stream"]);
    const body = readTensors(type, await readBody(request, limits, request.signal), (json) => {
      const { epochs, batchSize, shuffle, lr, ...arrays } = isObject(json) ? json : {};
      const named = acceptArrays(["inputs", "targets"], isObject(json) ? arrays : json);
      return { arrays: named, options: { epochs, batchSize, shuffle, lr } };
    });
    const examples = (name: string, spec: typeof input): Elements => {
      const { single, ...elements } = body.elements(name, spec, limits.batch);
      if (single) throw new Problem(422, `"${name}" is one example. Send an array of examples, be it of one.`);
      return elements;
    };
    const [inputs, targets] = [examples("inputs", input), examples("targets", target)];
    const [n, m] = [inputs.shape[0]!, targets.shape[0]!];
    if (n !== m) throw new Problem(422, `There are ${n} inputs, but ${m} targets. Send one target for each input.`);
    return { inputs, targets, course: acceptCourse(courseOf(body.options), limits) };
  };

  /** A learner that goes on from what is stored. */
  const begin = async ({ course }: Examples, signal: AbortSignal): Promise<Begun> => {
    const stored = await (async () => store?.load())().catch((error) => {
      tell(error);
      throw unavailable("The stored weights could not be read. Try again later.", 5);
    });
    if (signal.aborted) throw left();
    const learner = await create();
    try {
      requireLearner(what, learner);
      const { model, optimizer } = learner;
      const { step } = stored ? loadState(stored, { model, optimizer, random: false }) : { step: 0 };
      const rates = optimizer.paramGroups.map(({ lr }) => lr);
      if (course.lr !== undefined) optimizer.lr = course.lr;
      model.train();
      return { learner, step, rates };
    } catch (error) {
      free(learner, tell);
      throw error;
    }
  };

  const work = async (request: Asked, place: Place): Promise<Response> => {
    const began = performance.now();
    const { signal } = request;
    /** Milliseconds that there are yet. */
    const remaining = (): number => Math.max(1, began + limits.milliseconds - performance.now());
    const examples = await read(request);
    const beginning = begin(examples, signal);
    const late = (): Problem => unavailable("The training could not be begun in time. Try again.", 5);
    const begun = await within(beginning, remaining(), late, signal).catch((error) => {
      // What comes all the same is not wanted any more.
      beginning.then(({ learner }) => free(learner, tell)).catch(() => {});
      throw error;
    });
    const { learner } = begun;
    let run: Run | undefined;
    place.onLeave = () => {
      try {
        run?.dispose();
      } catch (error) {
        tell(error);
      }
      free(learner, tell);
    };
    if (place.isLeft) throw late();
    run = new Run(learner, examples, target);

    /** Trains to the end. @returns the last event; undefined where the client has left */
    const train = async (
      run: Run,
      send: Send,
      isGone: () => boolean,
    ): Promise<readonly [string, object] | undefined> => {
      const pace = new Pace();
      let told = Number.NEGATIVE_INFINITY;
      while (!run.isDone) {
        await pace.slice(() => run.step());
        if (isGone()) return undefined;
        const now = performance.now();
        if (now - began > limits.milliseconds) throw run.overtime(limits.milliseconds);
        if (run.isDone || now - told < PROGRESS_EVERY) continue;
        send("progress", run.progress());
        told = now;
      }
      send("progress", run.progress());
      const { steps, loss } = run.progress();
      await save(begun, steps, remaining());
      return ["done", { loss, steps, milliseconds: Math.round(performance.now() - began) }];
    };
    const failed = (error: unknown): Problem => {
      if (error instanceof Problem) return error;
      const fault = faultOf(error, { inputs: input, targets: target });
      if (fault) return fault;
      tell(error);
      return error instanceof OutOfMemoryError
        ? unavailable("There is not enough memory for that. Ask for smaller batches.")
        : new Problem(500, "The training failed. The function's log says why.");
    };
    const running = run;
    return events(
      request,
      (send, isGone) => train(running, send, isGone),
      failed,
      () => place.leave(),
    );
  };

  const save = async (
    { learner: { model, optimizer }, step, rates }: Begun,
    steps: number,
    milliseconds: number,
  ): Promise<void> => {
    if (!store) return;
    // A request's own rate is not the next one's.
    for (const [i, group] of optimizer.paramGroups.entries()) group.lr = rates[i]!;
    const state = saveState({ model, optimizer, step: step + steps });
    const late = (): Problem =>
      unavailable("The training has ended, but was not stored in time. Look before you try again.", 5);
    await within((async () => store.save(state))(), milliseconds, late).catch((error) => {
      if (error instanceof Problem) throw error;
      tell(error);
      throw unavailable("The training has ended, but could not be stored. Try again later.", 5);
    });
  };

  return routes(what, {
    ...options,
    limits,
    work,
    ready: async () => {},
    isReady: () => true,
    metadata: { input: described(input), target: described(target), limits },
  });
}

/** The options that were given; as text in a file's metadata, which may hold other things too. */
function courseOf(options: Readonly<Record<string, unknown>>): object {
  const given = COURSE.filter((key) => Object.hasOwn(options, key) && options[key] !== undefined);
  const value = (key: string): unknown => {
    const sent = options[key];
    if (typeof sent !== "string") return sent;
    try {
      return JSON.parse(sent) as unknown;
    } catch {
      return sent;
    }
  };
  return Object.fromEntries(given.map((key) => [key, value(key)]));
}

/** @throws TypeError that says what create did not give */
function requireLearner(what: string, learner: Partial<Learner> | undefined): void {
  const { model, optimizer, loss } = learner ?? {};
  const lacks = Object.entries({
    model: typeof model?.forward === "function",
    optimizer: typeof optimizer?.minimize === "function",
    loss: typeof loss === "function",
  }).find(([, isThere]) => !isThere);
  if (lacks) throw new TypeError(`${what}: create gave no "${lacks[0]}". It must give { model, optimizer, loss }.`);
}

/** Frees all that there is of a learner, whatever becomes of the rest. */
function free(learner: Partial<Learner> | undefined, tell: (error: unknown) => void): void {
  const parts = [() => learner?.optimizer?.dispose?.(), () => learner?.model?.dispose?.(), () => learner?.dispose?.()];
  for (const dispose of parts)
    try {
      dispose();
    } catch (error) {
      tell(error);
    }
}

/** A training: batches of examples in an order that each epoch draws, one step at a time. */
class Run {
  readonly #order: Uint32Array;
  readonly #batches: number;
  readonly #steps: number;
  readonly #update: (x: Tensor, y: Tensor) => Tensor;
  readonly #examples: Examples;
  readonly #target: FullSpec;
  #step = 0;
  #sum = 0;
  #free = (): void => {};

  constructor({ model, optimizer, loss, compiled = true }: Learner, examples: Examples, target: FullSpec) {
    const n = examples.inputs.shape[0]!;
    this.#examples = examples;
    this.#target = target;
    this.#order = Uint32Array.from({ length: n }, (_, i) => i);
    this.#batches = Math.ceil(n / examples.course.batchSize);
    this.#steps = this.#batches * examples.course.epochs;
    const update = (x: Tensor, y: Tensor): Tensor =>
      optimizer.minimize(() => {
        const output = synchronous("trainingHandler: the model", model.forward(x));
        return synchronous("trainingHandler: the loss", loss(output, y));
      });
    if (compiled) {
      const program = compile(update, { name: "trainingHandler" });
      this.#update = program;
      this.#free = () => program.dispose();
    } else this.#update = update;
  }

  get isDone(): boolean {
    return this.#step === this.#steps;
  }

  /** @throws Problem 422 where the loss is no longer a number */
  step(): boolean {
    const { inputs, targets, course } = this.#examples;
    const batch = this.#step % this.#batches;
    if (batch === 0) {
      this.#sum = 0;
      if (course.shuffle) shuffle(this.#order);
    }
    const rows = this.#order.subarray(batch * course.batchSize, (batch + 1) * course.batchSize);
    const loss = tidy(() => this.#update(gather(inputs, rows), gather(targets, rows)).item());
    this.#step++;
    this.#sum += loss;
    if (!Number.isFinite(loss)) {
      // Compiled steps do not look at labels.
      const labels = hasOpenRange(this.#target)
        ? "Send labels that the model has classes for. If they are, ask"
        : "Ask";
      const remedy = `${labels} for a smaller lr, or scale the inputs.`;
      throw new Problem(422, `The loss became ${loss} at step ${this.#step}. Nothing was saved. ${remedy}`);
    }
    return !this.isDone;
  }

  progress(): { epoch: number; step: number; steps: number; loss: number } {
    const [step, steps, last] = [this.#step, this.#steps, this.#step - 1];
    return { epoch: Math.floor(last / this.#batches) + 1, step, steps, loss: this.#sum / ((last % this.#batches) + 1) };
  }

  overtime(milliseconds: number): Problem {
    return new Problem(
      422,
      `The training did not end within ${milliseconds} ms, but was at step ${this.#step} of ${this.#steps}. Nothing was saved. ` +
        "Ask for fewer epochs, or send fewer examples.",
    );
  }

  dispose(): void {
    this.#free();
  }
}

/** Fisher and Yates: every order is as likely. */
function shuffle(order: Uint32Array): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}

/** Examples by number, as a tensor. */
function gather({ values, shape, dtype }: Elements, rows: Uint32Array): Tensor {
  const size = values.length / shape[0]!;
  const chosen = new (values.constructor as Float32ArrayConstructor)(rows.length * size);
  rows.forEach((row, i) => chosen.set(values.subarray(row * size, (row + 1) * size), i * size));
  return tensor(chosen, [rows.length, ...shape.slice(1)], { dtype });
}
