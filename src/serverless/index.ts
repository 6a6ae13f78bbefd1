/** nabla/serverless: models as web functions that infer or train, and what brings them to each platform. */
export { combine } from "./combine.ts";
export type { Cors } from "./cors.ts";
export { isSameToken } from "./guard.ts";
export { type InferenceOptions, inferenceHandler, type Model } from "./inference.ts";
export { type LambdaEvent, type LambdaResult, type LambdaStreamer, lambdaHandler, lambdaStream } from "./lambda.ts";
export type { Learner } from "./learner.ts";
export { type NodeOptions, type NodeRequest, type NodeResponse, nodeListener } from "./node.ts";
export { type Access, type ObserveOptions, observe, type Refusal } from "./observe.ts";
export type { Handler, HandlerOptions } from "./routes.ts";
export type { Batching, Limits, TensorSpec } from "./schema.ts";
export { type Store, type TrainingLimits, type TrainingOptions, trainingHandler } from "./training.ts";
