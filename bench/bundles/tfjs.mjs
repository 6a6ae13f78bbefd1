// Exports the main entry point and nabla/tfjs, without TensorFlow.js.
export * from "../../dist/src/index.js";
export * as tfjs from "../../dist/src/tfjs/index.js";
