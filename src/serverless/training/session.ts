/** One training request from start to end: restores a learner, trains it in slices, and stores its new state. */
import { OutOfMemoryError } from "nabla";
import { loadState, saveState } from "nabla/formats";
import { RangeError } from "../../runtime/errors.ts";
import type { Event, Send } from "../core/event-stream.ts";
import { clientFault } from "../core/model-errors.ts";
import type { Notify } from "../core/notify.ts";
import { Problem, unavailable } from "../core/problems.ts";
import type { FullSpec } from "../core/schema.ts";
import { Slicer } from "../core/slices.ts";
import type { Slot } from "../core/slots.ts";
import { disconnectError, withTimeout } from "../core/timeout.ts";
import type { Examples } from "./examples.ts";
import { type Constants, constantsOf, findNonFinite } from "./finite.ts";
import { free, type Learner, requireLearner } from "./learner.ts";
import { divergedError, TrainingRun } from "./run.ts";
import type { Store } from "./store.ts";

/** The data that all sessions of a handler share. */
export interface Trainer {
  /** The handler's name in error messages. */
  readonly what: string;
  readonly create: () => Learner | Promise<Learner>;
  readonly store: Store | undefined;
  readonly input: FullSpec;
  readonly target: FullSpec;
  readonly notify: Notify;
  readonly milliseconds: number;
}

/** The minimum time between two progress events, in milliseconds. */
const PROGRESS_INTERVAL = 50;

/** A learner with the stored state, ready to be trained. */
interface Restored {
  readonly learner: Learner;
  /** The buffers and options of the learner that already contained NaN or infinities before training. */
  readonly constants: Constants;
  /** The number of steps taken by earlier requests. */
  readonly step: number;
  /** The optimizer's own learning rates, which are stored instead of the request's. */
  readonly rates: readonly number[];
}

export class TrainingSession {
  readonly #trainer: Trainer;
  /** The time at which the request arrived, in milliseconds. */
  readonly #started: number;
  readonly #restored: Restored;
  readonly #run: TrainingRun;

  private constructor(trainer: Trainer, started: number, restored: Restored, examples: Examples) {
    this.#trainer = trainer;
    this.#started = started;
    this.#restored = restored;
    this.#run = new TrainingRun(restored.learner, examples);
  }

  /**
   * Starts a session. Its learner is freed when the slot is released.
   * @throws Problem 503 if training does not start in time or the stored weights cannot be read, 500 if the initial weights are
   * not finite, 400 if the client disconnects
   */
  static async start(
    trainer: Trainer,
    { examples, started, slot, signal }: { examples: Examples; started: number; slot: Slot; signal: AbortSignal },
  ): Promise<TrainingSession> {
    const timeoutError = (): Problem => unavailable("Training did not start in time. Try again.", 5);
    const milliseconds = remainingTime(trainer, started);
    const restoring = restore(trainer, examples.parameters.lr, signal);
    const restored = await withTimeout(restoring, { milliseconds, timeoutError, signal }).catch((error) => {
      // If the learner is created after the wait has ended, free it.
      restoring.then(({ learner }) => free(learner, trainer.notify)).catch(() => {});
      throw error;
    });
    let session: TrainingSession | undefined;
    slot.onRelease = () => {
      if (session) session.#dispose();
      free(restored.learner, trainer.notify);
    };
    if (slot.isReleased) throw timeoutError();
    session = new TrainingSession(trainer, started, restored, examples);
    return session;
  }

  /** Trains to the end. @returns the last event; undefined if the client has disconnected */
  async train(send: Send, isDisconnected: () => boolean): Promise<Event | undefined> {
    const { milliseconds } = this.#trainer;
    const run = this.#run;
    const slicer = new Slicer();
    let sent = Number.NEGATIVE_INFINITY;
    while (!run.isDone) {
      await slicer.slice(() => run.step());
      if (isDisconnected()) return undefined;
      const now = performance.now();
      if (now - this.#started > milliseconds) throw run.timeLimitError(milliseconds);
      if (run.isDone || now - sent < PROGRESS_INTERVAL) continue;
      send(["progress", run.progress()]);
      sent = now;
    }
    const progress = run.progress();
    send(["progress", progress]);
    await this.#save(progress.steps);
    const { loss, steps } = progress;
    return ["done", { loss, steps, milliseconds: Math.round(performance.now() - this.#started) }];
  }

  /** The problem to report for an error that `train` throws. */
  problemOf(error: unknown): Problem {
    const { input, target, notify } = this.#trainer;
    if (error instanceof Problem) return error;
    const fault = clientFault(error, { inputs: input, targets: target });
    if (fault) return fault;
    notify(error);
    return error instanceof OutOfMemoryError
      ? unavailable("There is not enough memory to train. Use smaller batches.")
      : new Problem(500, "Training failed. See the function's log.");
  }

  /** @throws Problem 422 if the state is not finite, 503 if it cannot be stored */
  async #save(steps: number): Promise<void> {
    const { learner, constants, step, rates } = this.#restored;
    const wrong = findNonFinite(learner, constants);
    if (wrong) throw divergedError(`Training diverged: ${wrong.place} became ${wrong.value}.`);
    const { store, notify } = this.#trainer;
    if (!store) return;
    const { model, optimizer } = learner;
    for (const [i, group] of optimizer.paramGroups.entries()) group.lr = rates[i]!;
    const state = saveState({ model, optimizer, step: step + steps });
    const timeoutError = (): Problem =>
      unavailable(
        "Training finished, but storing the state timed out. Check the stored state before you try again.",
        5,
      );
    const milliseconds = remainingTime(this.#trainer, this.#started);
    await withTimeout((async () => store.save(state))(), { milliseconds, timeoutError }).catch((error) => {
      if (error instanceof Problem) throw error;
      notify(error);
      throw unavailable("Training finished, but the state could not be stored. Try again later.", 5);
    });
  }

  #dispose(): void {
    try {
      this.#run.dispose();
    } catch (error) {
      this.#trainer.notify(error);
    }
  }
}

/** The time left for the request, in milliseconds. */
const remainingTime = ({ milliseconds }: Trainer, started: number): number =>
  Math.max(1, started + milliseconds - performance.now());

/** Creates a learner with the stored state. @param lr the learning rate of the request; undefined for the optimizer's own */
async function restore(trainer: Trainer, lr: number | undefined, signal: AbortSignal): Promise<Restored> {
  const { what, create, store, notify } = trainer;
  const stored = await (async () => store?.load())().catch((error) => {
    notify(error);
    throw unavailable("The stored weights could not be read. Try again later.", 5);
  });
  if (signal.aborted) throw disconnectError();
  const learner = await create();
  try {
    requireLearner(what, learner);
    const { model, optimizer } = learner;
    const constants = constantsOf(learner);
    const { step } = stored ? loadState(stored, { model, optimizer, random: false }) : { step: 0 };
    const wrong = findNonFinite(learner, constants);
    if (wrong) {
      const where = `has ${wrong.value} in ${wrong.place}, so training cannot start.`;
      notify(
        new RangeError(
          stored
            ? `${what}: the stored state ${where} Restore an earlier state.`
            : `${what}: the learner that create returned ${where} Fix its initialization.`,
        ),
      );
      throw new Problem(500, "The initial weights are not finite. See the function's log.");
    }
    const rates = optimizer.paramGroups.map((group) => group.lr);
    if (lr !== undefined) optimizer.lr = lr;
    model.train();
    return { learner, constants, step, rates };
  } catch (error) {
    free(learner, notify);
    throw error;
  }
}
