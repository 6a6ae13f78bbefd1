/** nabla through its public API, in the build that the command line names. */

import { NablaNetwork, NablaTraining } from "../../dist/bench/nabla.js";
import { init, tensor, tidy } from "../../dist/src/index.js";

/** The kinds of networks that this contender can train, in addition to MLPs. */
export const networks = ["cnn", "lstm", "gru", "transformer"];

export async function open(build) {
  await init({ build });
  return `nabla ${build}`;
}

export function matmul({ m, k, n, a, b }) {
  const [left, right] = [tensor(a, [m, k]), tensor(b, [k, n])];
  return {
    run: () => tidy(() => void left.matmul(right)),
    result: () => tidy(() => left.matmul(right).data),
    close() {
      left.dispose();
      right.dispose();
    },
  };
}

export function step(training) {
  const model = training.params ? new NablaNetwork(training, "eager") : new NablaTraining(training, "eager");
  return { reset: () => model.reset(), run: () => model.step(), close: () => model.dispose() };
}
