/** nabla/serverless: models as web functions that infer or train, and adapters that run them on each platform. */

export { lambdaHandler, lambdaStream } from "./adapters/lambda/handler.ts";
export type { LambdaEvent, LambdaResult, LambdaStreamer } from "./adapters/lambda/types.ts";
export { type NodeOptions, nodeListener } from "./adapters/node/listener.ts";
export type { NodeRequest, NodeResponse } from "./adapters/node/types.ts";
export { isSameToken } from "./core/auth.ts";
export { combine } from "./core/combine.ts";
export type { Cors } from "./core/cors.ts";
export type { Handler } from "./core/handler.ts";
export { type Access, type ObserveOptions, observe, type Refusal } from "./core/observe.ts";
export type { HandlerOptions } from "./core/routes.ts";
export type { Batching, Limits, TensorSpec } from "./core/schema.ts";
export { type InferenceOptions, inferenceHandler } from "./inference/inference.ts";
export type { Model } from "./inference/model.ts";
export type { Learner } from "./training/learner.ts";
export type { Store } from "./training/store.ts";
export { type TrainingLimits, type TrainingOptions, trainingHandler } from "./training/training.ts";
