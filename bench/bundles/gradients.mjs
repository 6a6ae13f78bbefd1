// The main entry and nabla/gradients together, for `npm run size` to bundle.
export * as gradients from "../dist/src/gradients/index.js";
export * from "../dist/src/index.js";
