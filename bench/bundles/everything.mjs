// All that the package has for pages.
export * as formats from "../../dist/src/formats/index.js";
export * as gradients from "../../dist/src/gradients/index.js";
export * from "../../dist/src/index.js";
