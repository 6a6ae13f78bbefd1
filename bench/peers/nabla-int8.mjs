/** Compiled copies of nabla's models with int8 weights. */
import { SEED, tasks } from "../../dist/bench/models/index.js";
import { manualSeed, nn } from "../../dist/src/index.js";
import { open as openCompiled } from "./nabla-compiled.mjs";

export const open = async (...options) => `${await openCompiled(...options)}, int8`;

export async function models({ name }) {
  const { make, int8 } = tasks.find((task) => task.name === name);
  manualSeed(SEED);
  const { model, args, dispose } = make();
  const small = int8(await nn.quantize(model), ...args);
  const close = () => {
    small.dispose();
    dispose();
  };
  return { run: () => small.run(...args), result: () => small.run(...args).data, close };
}
