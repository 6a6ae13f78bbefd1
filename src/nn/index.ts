/** Layers and initializers, such as `nn.Linear` and `nn.init.xavierUniform`. */
export { checkpoint } from "../autograd/checkpoint.ts";
export * from "./attention.ts";
export { KeyValueCache } from "./cache.ts";
export * from "./conv.ts";
export * from "./embedding.ts";
export * from "./fuse.ts";
export * as init from "./init.ts";
export * from "./layers.ts";
export {
  type LoadStateDictOptions,
  Module,
  parameter,
  type StateDict,
  type StateDictMismatch,
} from "./module.ts";
export * from "./norm.ts";
export * from "./pool.ts";
export * from "./positional.ts";
export * from "./quantize.ts";
export * from "./recurrent.ts";
export * from "./resize.ts";
export * from "./sequential.ts";
export * from "./spectral.ts";
export * from "./transformer.ts";
