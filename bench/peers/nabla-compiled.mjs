/** nabla's compiled functions, in the build that the command line names. */
import { tasks } from "../../dist/bench/models/index.js";
import { NablaEpoch, NablaNetwork, NablaTraining } from "../../dist/bench/nabla.js";
import { loadMnist } from "../../dist/cli/mnist/data.js";
import { init, manualSeed } from "../../dist/src/index.js";
import { SEED } from "./models.mjs";

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

/** Runs or trains a model whose weights and data the seed determines, as in models.mjs. */
export function models({ name }) {
  manualSeed(SEED);
  const { run, args, dispose } = tasks.find((task) => task.name === name).make();
  if (name.startsWith("train")) return { reset() {}, run: () => run(...args).item(), close: dispose };
  return { run: () => run(...args), result: () => run(...args).data, close: dispose };
}
