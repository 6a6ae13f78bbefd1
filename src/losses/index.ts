/** Losses, composed of tensor ops. Names, arguments, defaults and formulas are those of torch.nn.functional. */
export * from "./classification.ts";
export * from "./margin.ts";
export * from "./probability.ts";
export type { LossOptions } from "./reduction.ts";
export * from "./regression.ts";
