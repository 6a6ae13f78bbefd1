/**
 * Defines an experiment that trains step by step. The page draws the experiment during training, and can pause and
 * resume it. The command and the tests run it to the end.
 */
import type {
  AnyExperiment,
  Context,
  Definition,
  Drawing,
  Parameters,
  Result,
  Training,
  Values,
} from "./experiment.ts";

/** The number of training runs per experiment that are kept so that later calls can continue them. */
const KEPT = 4;

type MaybePromise<T> = T | Promise<T>;

export interface Stream<P extends Parameters, K extends keyof P, S> extends Definition<P> {
  /**
   * The parameters that the state depends on. The other parameters only change what is drawn and measured. Default: all
   * parameters.
   */
  readonly dependsOn?: readonly K[];
  /** The state before the first step. */
  init(values: Pick<Values<P>, K>, context: Context): MaybePromise<S>;
  /**
   * Takes one step and returns the fraction of all steps that have been taken: 1 after the last. Other experiments may
   * run between two steps, so a step that draws random numbers needs a generator of its own. Omit `step` if `init` does
   * all the work.
   */
  step?(state: S): number;
  /** Draws the state. Drawing must be fast, because it happens many times during training. */
  draw?(state: S, values: Values<P>): Drawing;
  /** Called after the last step: returns the findings, and whatever takes too long to draw during training. */
  measure(state: S, values: Values<P>, context: Context): MaybePromise<Partial<Drawing> & Pick<Result, "findings">>;
  /** Disposes of the state's tensors. */
  dispose?(state: S): void;
}

/**
 * Defines an experiment by its steps. The experiment's `run` takes the remaining steps, and reports progress after each
 * of them.
 */
export function stream<const P extends Parameters, const K extends keyof P, S>(
  definition: Stream<P, K, S>,
): AnyExperiment {
  const { parameters, dependsOn = Object.keys(parameters), init, step, draw, measure, dispose, ...rest } = definition;
  return {
    ...rest,
    parameters,
    isStream: step !== undefined,
    async run(given, context) {
      // The caller has checked the values against these parameters.
      const values = given as Values<P>;
      const own = Object.fromEntries(dependsOn.map((key) => [key, given[key as string]])) as Pick<Values<P>, K>;
      const { trainings = new Map<string, Training>() } = context;
      const key = JSON.stringify(own);
      // `trainings` holds only runs of this experiment, so the state has type S.
      const training = trainings.get(key) ?? { state: await init(own, context), done: step ? 0 : 1 };
      const state = training.state as S;
      const keep = (): void => {
        trainings.delete(key);
        trainings.set(key, training);
        const [oldest, last] = trainings.entries().next().value!;
        if (trainings.size > KEPT && trainings.delete(oldest)) dispose?.(last.state as S);
      };
      const show = draw && ((): Drawing => draw(state, values));
      try {
        keep();
        if (step) await context.progress(training.done, "", show);
        while (step && training.done < 1) {
          trainings.delete(key); // a step that throws leaves the state unusable
          training.done = step(state);
          keep();
          await context.progress(training.done, "training", show);
        }
        return { plots: [], ...show?.(), ...(await measure(state, values, context)) };
      } finally {
        if (!context.trainings) dispose?.(state);
      }
    },
  };
}
