/** nabla's compiled training steps, in the build that the command line names. */
import { NablaEpoch, NablaNetwork, NablaTraining } from "../../dist/bench/nabla.js";
import { loadMnist } from "../../dist/cli/mnist/data.js";
import { init } from "../../dist/src/index.js";

/** The kinds of networks that this contender can train, in addition to MLPs. */
export const networks = ["cnn", "lstm", "gru", "transformer"];

export async function open(build) {
  await init({ build });
  return `nabla ${build}, compiled`;
}

export function step(training) {
  const model = training.params ? new NablaNetwork(training, "compiled") : new NablaTraining(training, "compiled");
  return { reset: () => model.reset(), run: () => model.step(), close: () => model.dispose() };
}

export async function epoch({ folder, order, ...training }) {
  const model = new NablaEpoch(training, (await loadMnist(folder)).train, order);
  return { reset: () => model.reset(), run: () => model.run(), close: () => model.dispose() };
}
