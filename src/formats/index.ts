/** nabla/formats: reads and writes weights and training states as safetensors files, and converts PyTorch state dicts. */
export { FormatError } from "./errors.ts";
export { type LoadFileOptions, loadFile, type SaveOptions, saveFile } from "./file.ts";
export { fromPyTorch, type PyTorchOptions, toPyTorch } from "./pytorch.ts";
export {
  type Contents,
  type Entry,
  inspectSafetensors,
  type ReadOptions,
  readSafetensors,
  readSafetensorsStream,
  type StreamOptions,
  type VerifyOptions,
} from "./safetensors.ts";
export { type LoadOptions, loadState, type Progress, saveState, type Training } from "./state.ts";
export type { Overflow, Stored } from "./stored.ts";
export { streamSafetensors, type WriteOptions, writeSafetensors } from "./write.ts";
