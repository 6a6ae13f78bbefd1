/** Whole training steps (forward, backward, Adam): nabla eager against pure JS, which must reach the same loss. */
import { EagerTraining } from "../eager.ts";
import { type Case, PURE, type Suite } from "../measure.ts";
import { PureTraining } from "../pure/training.ts";
import { requireLosses, STEPS, trainings } from "../training.ts";

function* cases(): Generator<Case> {
  for (const training of trainings) {
    const models = { [PURE]: new PureTraining(training), "nabla eager": new EagerTraining(training) };
    const losses = Object.entries(models).map(([impl, model]) => ({
      impl,
      own: Array.from({ length: STEPS }, () => model.step()),
    }));
    for (const { impl, own } of losses) requireLosses(`${training.name}, ${impl}`, own, losses[0]!.own);
    yield {
      name: training.name,
      contenders: Object.entries(models).map(([impl, model]) => ({
        impl,
        run: () => void model.step(),
        reset: () => model.reset(),
      })),
      note: `${training.name}: loss at step ${STEPS}: ${losses.map(({ impl, own }) => `${impl} ${own.at(-1)!.toPrecision(6)}`).join(", ")}`,
    };
    models["nabla eager"].dispose();
  }
}

export const step: Suite = { name: "step", cases };
