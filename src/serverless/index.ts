/** nabla/serverless: models as web functions that infer or train, and what brings them to each platform. */

export {
  type LambdaEvent,
  type LambdaResult,
  type LambdaStreamer,
  lambdaHandler,
  lambdaStream,
} from "./adapters/lambda.ts";
export { type NodeOptions, type NodeRequest, type NodeResponse, nodeListener } from "./adapters/node.ts";
export { combine } from "./core/combine.ts";
export type { Cors } from "./core/cors.ts";
export { isSameToken } from "./core/guard.ts";
export { type Access, type ObserveOptions, observe, type Refusal } from "./core/observe.ts";
export type { Handler, HandlerOptions } from "./core/routes.ts";
export type { Batching, Limits, TensorSpec } from "./core/schema.ts";
export { type InferenceOptions, inferenceHandler, type Model } from "./inference/inference.ts";
export type { Learner } from "./training/learner.ts";
export { type Store, type TrainingLimits, type TrainingOptions, trainingHandler } from "./training/training.ts";
