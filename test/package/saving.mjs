/**
 * `node saving.mjs path first keep` saves one state after another until it is killed. The step alone determines the state, so the test
 * can compute the same bytes.
 */
import { pathToFileURL } from "node:url";
import { manualSeed, nn } from "nabla";
import { saveFile, saveState } from "nabla/formats";

/** The state of a training run at this step: half a megabyte of numbers. */
export function stateAt(step) {
  manualSeed(step);
  const model = new nn.Linear(256, 512);
  const state = saveState({ model, step });
  for (const parameter of model.parameters()) parameter.dispose();
  return state;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, first, keep] = process.argv.slice(2);
  for (let step = Number(first); ; step++) {
    await saveFile(path, stateAt(step), { keep: Number(keep) });
    if (step === Number(first)) console.log("saving");
  }
}
