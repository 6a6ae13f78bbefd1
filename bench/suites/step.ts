/** Whole training steps (forward, backward, Adam): nabla eager and compiled against pure JS, which must reach the same loss. */
import { type Case, PURE, type Suite } from "../measure.ts";
import { NablaTraining } from "../nabla.ts";
import { PureTraining } from "../pure/training.ts";
import { requireLosses, STEPS, trainings } from "../training.ts";

function* cases(): Generator<Case> {
  for (const training of trainings) {
    const own = { eager: new NablaTraining(training, "eager"), compiled: new NablaTraining(training, "compiled") };
    const models = { [PURE]: new PureTraining(training), "nabla eager": own.eager, "nabla compiled": own.compiled };
    const losses = Object.entries(models).map(([impl, model]) => ({
      impl,
      steps: Array.from({ length: STEPS }, () => model.step()),
    }));
    for (const { impl, steps } of losses) requireLosses(`${training.name}, ${impl}`, steps, losses[0]!.steps);
    yield {
      name: training.name,
      contenders: Object.entries(models).map(([impl, model]) => ({
        impl,
        run: () => void model.step(),
        reset: () => model.reset(),
      })),
      note: `${training.name}: loss at step ${STEPS}: ${losses.map(({ impl, steps }) => `${impl} ${steps.at(-1)!.toPrecision(6)}`).join(", ")}`,
    };
    for (const model of Object.values(own)) model.dispose();
  }
}

export const step: Suite = { name: "step", cases };
