// Exports every entry point that pages can use.
export * as formats from "../../dist/src/formats/index.js";
export * as gradients from "../../dist/src/gradients/index.js";
export * from "../../dist/src/index.js";
