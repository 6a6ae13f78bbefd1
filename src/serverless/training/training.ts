/**
 * Training as a web function: examples in, progress out as server-sent events. Every request trains a model of its own, from stored
 * weights if there are any; they are replaced once, at the end, by a training that was not broken off.
 */
import { OutOfMemoryError } from "nabla";
import { loadState, saveState } from "nabla/formats";
import { check } from "../../runtime/arguments.ts";
import { RangeError, TypeError } from "../../runtime/errors.ts";
import type { Asked } from "../core/asked.ts";
import { accepted, type BodyType, bodyType, type Elements, readTensors } from "../core/bodies.ts";
import { REQUEST_BYTES, readBody } from "../core/body.ts";
import { Budget } from "../core/budget.ts";
import { events, type Send } from "../core/events.ts";
import { faultOf } from "../core/faults.ts";
import { left, type Place, within } from "../core/limits.ts";
import { Problem, unavailable } from "../core/problems.ts";
import { HANDLER, type Handler, type HandlerOptions, routes } from "../core/routes.ts";
import {
  acceptArrays,
  acceptCourse,
  COURSE,
  isObject,
  type Limits,
  nestingOf,
  readLimits,
  readSpec,
  type TensorSpec,
} from "../core/schema.ts";
import { Pace } from "../core/slices.ts";
import { telling } from "../core/telling.ts";
import { described } from "../inference/inference.ts";
import { type Examples, Run } from "../inference/run.ts";
import { type Constants, constantsOf, findNonFinite } from "./finite.ts";
import { free, type Learner, requireLearner } from "./learner.ts";

/** Where weights are kept between requests: a file, an object store, a key-value store. */
export interface Store {
  /** What was saved last; undefined before. */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces it, whole: what saveState of nabla/formats gives. */
  save(state: Uint8Array): Promise<void>;
}

/** What a training may cost. `batch` bounds the examples of a request. */
export interface TrainingLimits extends Limits {
  /** Passes over the examples in a request. */
  readonly epochs: number;
  /** Examples in a step. Nothing else is answered during a step, so that it should take a few milliseconds. */
  readonly batchSize: number;
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
   * What a request may cost. Default: batch 65,536 examples; batchSize 256; epochs 1000; milliseconds 60,000, for the whole of it;
   * concurrency 1; bytes and unfinished as Limits says.
   */
  readonly limits?: Partial<TrainingLimits>;
}

const DEFAULTS: Omit<TrainingLimits, "unfinished"> = {
  bytes: 2 ** 24,
  batch: 65_536,
  batchSize: 256,
  milliseconds: 60_000,
  concurrency: 1,
  epochs: 1000,
};

/** Milliseconds between two events of progress, at least. */
const PROGRESS_EVERY = 50;

/** A body that has arrived. */
interface Arrived {
  /** When the request came. */
  readonly began: number;
  readonly type: BodyType;
  readonly bytes: Uint8Array;
}

/** A training that goes on from what was stored. */
interface Begun {
  readonly learner: Learner;
  /** What its state holds that is not finite by design. */
  readonly constants: Constants;
  /** Steps that were taken before. */
  readonly step: number;
  /** The learning rates that it is stored with. */
  readonly rates: readonly number[];
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
 * Training goes in slices of 10 ms, or one step if that takes longer: other requests are answered between them. A client that leaves
 * ends its training. If it leaves before the new state is being stored, nothing is saved. Nothing is saved either after an error, after
 * the time limit, or if a parameter, a buffer or the optimizer's state is no longer finite. Trainings at the same time each begin with
 * what is stored and save their own whole state: the last one stays. `GET /health` and `GET /metadata` are those of inferenceHandler.
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
  check(what, arguments, `{create!:function store:any input:any target:any limits:any ${HANDLER}}`);
  const { create, store } = options;
  const input = readSpec(`${what}: input`, options.input);
  const target = readSpec(`${what}: target`, options.target);
  for (const [name, { shape }] of Object.entries({ input, target }))
    if (shape[0] !== null) throw new TypeError(`${what}: ${name}: the first size must be null, for the examples.`);
  const limits = readLimits(`${what}: limits`, options.limits, DEFAULTS, [input, target]);
  const nesting = nestingOf([input, target], limits.batch);
  const budget = new Budget(limits.unfinished + REQUEST_BYTES);
  const tell = telling(options.onError);

  const read = async (request: Asked): Promise<Arrived> => {
    const began = performance.now();
    const type = bodyType(request);
    accepted(request, ["text/event-stream"]);
    return { began, type, bytes: await readBody(request, limits, budget, request.signal) };
  };

  const parse = ({ type, bytes }: Arrived): Examples => {
    const body = readTensors(type, bytes, nesting, (json) => {
      const { epochs, batchSize, shuffle, lr, ...arrays } = isObject(json) ? json : {};
      const named = acceptArrays(["inputs", "targets"], isObject(json) ? arrays : json);
      return { arrays: named, options: { epochs, batchSize, shuffle, lr } };
    });
    const examples = (name: string, spec: typeof input): Elements => {
      const { single, ...elements } = body.elements(name, spec, limits.batch);
      if (single) throw new Problem(422, `"${name}" is one example. Send an array of examples.`);
      // JSON has no NaN and no infinities; files have.
      const wrong = type === "application/json" ? -1 : elements.values.findIndex((value) => value - value !== 0);
      if (wrong >= 0) {
        const at = Math.floor((wrong * elements.shape[0]!) / elements.values.length);
        throw new Problem(422, `"${name}[${at}]" holds ${elements.values[wrong]}. Send finite numbers.`);
      }
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
      const constants = constantsOf(learner);
      const { step } = stored ? loadState(stored, { model, optimizer, random: false }) : { step: 0 };
      const wrong = findNonFinite(learner, constants);
      if (wrong) {
        const [whose, remedy] = stored
          ? ["the stored state", "Restore an earlier one"]
          : ["create", "Fix its initialization"];
        tell(
          new RangeError(`${what}: ${whose} has ${wrong.value} in ${wrong.place}: it cannot be trained. ${remedy}.`),
        );
        throw new Problem(500, "The weights to begin with are not finite. The function's log says which.");
      }
      const rates = optimizer.paramGroups.map(({ lr }) => lr);
      if (course.lr !== undefined) optimizer.lr = course.lr;
      model.train();
      return { learner, constants, step, rates };
    } catch (error) {
      free(learner, tell);
      throw error;
    }
  };

  const work = async (arrived: Arrived, place: Place, request: Asked): Promise<Response> => {
    const { began } = arrived;
    const { signal } = request;
    /** Milliseconds that there are yet. */
    const remaining = (): number => Math.max(1, began + limits.milliseconds - performance.now());
    const examples = parse(arrived);
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
    run = new Run(learner, examples);

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
      const wrong = findNonFinite(learner, begun.constants);
      if (wrong)
        throw new Problem(
          422,
          `The training diverged: ${wrong.place} became ${wrong.value}. Nothing was saved. Ask for a smaller lr, or scale the inputs.`,
        );
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
    read,
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
