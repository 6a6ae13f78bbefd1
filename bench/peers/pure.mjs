/** Pure JavaScript, with the same code as in `npm run bench`. */
import { product } from "../../dist/bench/pure/matmul.js";
import { PureTraining } from "../../dist/bench/pure/training.js";

export async function open() {
  return "pure JS";
}

export function matmul({ m, k, n, a, b }) {
  const c = new Float32Array(m * n);
  const run = () => product(c, a, b, m, k, n);
  const result = () => {
    run();
    return c;
  };
  return { run, result, close() {} };
}

export function step(training) {
  const model = new PureTraining(training);
  return { reset: () => model.reset(), run: () => model.step(), close() {} };
}
