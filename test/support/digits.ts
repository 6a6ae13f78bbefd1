/** The lab's digits, available without a build: the first digits of MNIST, as packed by tools/cli.mjs. */
import { firstDigits, loadMnist } from "../../cli/mnist/data.ts";
import type { Context } from "../../lab/experiment.ts";

let loaded: ReturnType<Context["digits"]> | undefined;

export const digits: Context["digits"] = () =>
  (loaded ??= loadMnist().then(({ train, test }) => ({
    train: firstDigits(train, 6000),
    test: firstDigits(test, 1000),
  })));

/** The context for experiments in tests. It keeps no training runs, so each run starts from the beginning. */
export const context: Context = { progress: async () => {}, digits };
