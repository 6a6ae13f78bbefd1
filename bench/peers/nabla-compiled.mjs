/** nabla's compiled functions, in the build and with the number of threads that the command line names. */
import { SEED, tasks } from "../../dist/bench/models/index.js";
import { NablaEpoch, NablaNetwork, NablaTraining } from "../../dist/bench/nabla.js";
import { info, init, manualSeed } from "../../dist/src/index.js";

/** The kinds of networks that this contender can train, in addition to MLPs. */
export const networks = ["cnn", "lstm", "gru", "transformer"];

/** @param build undefined for the fastest that this runtime supports */
export async function open(build, threads) {
  await init({ build, threads });
  if (info().threads !== threads) throw new Error(`nabla runs on ${info().threads} threads: ${info().reason}`);
  return `nabla ${info().build}, compiled`;
}

export function step(training) {
  const model = training.params ? new NablaNetwork(training, "compiled") : new NablaTraining(training, "compiled");
  return { reset: () => model.reset(), run: () => model.step(), close: () => model.dispose() };
}

export async function epoch({ folder, order, ...training }) {
  // Pages cannot load this module, and do not run epochs.
  const { loadMnist } = await import("../../dist/cli/mnist/data.js");
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
