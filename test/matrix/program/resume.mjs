/** A training that is saved half way and resumed by other objects: the file's letters, and those of the parameters at the end. */
import { dispose, init, manualSeed } from "nabla";
import { loadState, saveState } from "nabla/formats";
import { hashOf, STEPS, start } from "./fingerprint.mjs";

/** @param options init's */
export async function resume(options) {
  await init(options);
  const first = start();
  first.train(STEPS / 2);
  const file = saveState({ ...first, step: STEPS / 2 });
  // What is resumed has been elsewhere.
  const second = start();
  manualSeed(99);
  second.train(3);
  const { step } = loadState(file, second);
  second.train(STEPS - step);
  const resumed = { file: hashOf(file), hash: second.fingerprint() };
  await dispose();
  return resumed;
}
