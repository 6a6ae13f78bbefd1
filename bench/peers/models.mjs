/**
 * The tasks of the suite "models": whole models with random weights. The weights and the data are written to files, so
 * that the other contenders can compute the same results.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SEED, tasks } from "../../dist/bench/models/index.js";
import { networks } from "../../dist/bench/networks.js";
import { manualSeed } from "../../dist/src/index.js";

/** The number of results that contenders compare after training, each of which is a loss. */
const RUNS = 2;
/** The largest difference between results, relative to the largest result. */
const TOLERANCE = 1e-3;

/**
 * Writes the elements of a model's parameters, and of the arguments, to FILE.bin, one after another, and their shapes
 * and types to FILE.json. Returns FILE. It is in a new folder in `root`, which is removed when this process exits.
 */
function writeModel({ make }, root) {
  const folder = mkdtempSync(join(root, "nabla-models-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "model");
  manualSeed(SEED);
  const { model, args, dispose } = make();
  const describe = ({ shape, dtype }) => ({ shape, dtype });
  const parameters = model.parameters();
  writeFileSync(`${file}.bin`, Buffer.concat([...parameters, ...args].map((x) => Buffer.from(x.data.slice().buffer))));
  writeFileSync(`${file}.json`, JSON.stringify({ parameters: parameters.map(describe), args: args.map(describe) }));
  dispose();
  return file;
}

/**
 * Inference and training of models, except the networks that the suite "step" trains.
 * @param root the folder for the models' files
 */
export function modelCases(root = tmpdir()) {
  const inStep = new Set(networks.map(({ name }) => `train: ${name}`));
  return tasks
    .filter(({ name }) => !inStep.has(name))
    .map((task) => {
      /** The files, which all contenders read. */
      let file;
      const open = () => {
        file ??= writeModel(task, root);
        return { name: task.name, file, runs: RUNS };
      };
      return { name: task.name, model: true, network: true, int8: task.int8 !== undefined, task: open };
    });
}

/** @throws Error if results differ from the expected ones by more than rounding */
export function requireResults(what, got, expected) {
  const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const at = expected.findIndex((v, i) => !(Math.abs(v - got[i]) <= TOLERANCE * largest));
  if (at >= 0 || got.length !== expected.length)
    throw new Error(`${what}: result ${at} must be ${expected[at]}, as in nabla, got ${got[at]}. The models differ.`);
}
