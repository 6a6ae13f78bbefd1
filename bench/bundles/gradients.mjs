// Exports the main entry point and nabla/gradients.
export * as gradients from "../../dist/src/gradients/index.js";
export * from "../../dist/src/index.js";
