/**
 * Saves states without end until it is killed: `node saving.mjs path first keep`. The step alone determines each state, so the test
 * can make the same bytes again.
 */
import { pathToFileURL } from "node:url";
import { manualSeed, nn } from "nabla";
import { saveFile, saveState } from "nabla/formats";

/** The training's state at this step: half a megabyte of numbers. */
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
