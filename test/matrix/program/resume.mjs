/** Saves a training run halfway and resumes it with new objects. */
import { dispose, init, manualSeed } from "nabla";
import { loadState, saveState } from "nabla/formats";
import { hashOf, STEPS, start } from "./fingerprint.mjs";

/** Hashes of the file and of the parameters at the end. @param options the options of init() */
export async function resume(options) {
  await init(options);
  const first = start();
  first.train(STEPS / 2);
  const file = saveState({ ...first, step: STEPS / 2 });
  // Change the state of the new objects and of the random generator before the restore.
  const second = start();
  manualSeed(99);
  second.train(3);
  const { step } = loadState(file, second);
  second.train(STEPS - step);
  const resumed = { file: hashOf(file), hash: second.fingerprint() };
  await dispose();
  return resumed;
}
