/** The suites that every contender can take part in: lists of cases, whose `task` returns the request that opens the case. */
import { networkStart, networks } from "../../dist/bench/networks.js";
import { EPOCH, LR, startOf, trainingTasks } from "../../dist/bench/training.js";
import { shuffledOrder, uniform } from "../../dist/bench/values.js";
import { installedDirectory } from "../../dist/cli/mnist/data.js";
import { encode } from "./base64.mjs";
import { modelCases } from "./models.mjs";

/** Products of square matrices. */
const cubes = [64, 128, 256, 512].map((n) => ({
  name: `${n}³`,
  flops: 2 * n ** 3,
  task: () => ({ m: n, k: n, n, a: encode(uniform(n * n, -1, 1, 1)), b: encode(uniform(n * n, -1, 1, 2)) }),
}));
/** Training steps. */
const steps = trainingTasks.map((training) => ({
  name: training.name,
  task: () => ({
    ...training,
    lr: LR,
    start: Object.fromEntries(Object.entries(startOf(training)).map(([key, values]) => [key, encode(values)])),
  }),
}));
const epochs = [
  {
    name: `MNIST ${EPOCH.inputs}-${EPOCH.hidden}-${EPOCH.outputs} B=${EPOCH.batch}`,
    epoch: true,
    task: () => ({
      ...EPOCH,
      lr: LR,
      folder: installedDirectory(),
      order: encode(shuffledOrder(60_000)),
      start: Object.fromEntries(Object.entries(startOf(EPOCH)).map(([key, values]) => [key, encode(values)])),
    }),
  },
];
for (const network of networks) {
  steps.push({
    name: network.name,
    network: true,
    task: () => {
      const { x, labels, params } = networkStart(network);
      const shaped = params.map(({ shape, values }) => ({ shape, values: encode(values) }));
      return { ...network, lr: LR, start: { x: encode(x), labels: encode(labels) }, params: shaped };
    },
  });
}
/** Programs in TensorFlow.js's API (programs.mjs). All backends run the same ones, and must agree on the losses of the first two runs. */
const programNames = [
  "fit: dense 784-512-10 B=128",
  "fit: dense 784-128-10 B=32",
  "fit: LSTM 28→128 T=28 B=32",
  "fit: CNN 8-16 28×28 B=32",
  "fit: XOR 2-8-1 B=4",
  "minimize: XOR 2-8-1 B=4",
  "predict: MobileNetV2 224×224 B=1",
  "predict: ResNet-18 224×224 B=1",
];
const tfjsPrograms = programNames.map((name) => ({
  name,
  tfjs: true,
  network: true,
  task: () => ({ name, runs: 2 }),
}));
/** The cases of each suite, keyed by the suite's name. */
export const suites = { matmul: cubes, step: steps, models: modelCases(), epoch: epochs, tfjs: tfjsPrograms };
