/** nabla/formats: weights and trainings in files. */
export { FormatError } from "./errors.ts";
export { fromPyTorch, type PyTorchOptions, toPyTorch } from "./pytorch.ts";
export {
  type Contents,
  type Entry,
  inspectSafetensors,
  readSafetensors,
  readSafetensorsStream,
  type StreamOptions,
  streamSafetensors,
  writeSafetensors,
} from "./safetensors.ts";
export { loadState, type Progress, saveState, type Training } from "./state.ts";
export type { Stored } from "./stored.ts";
