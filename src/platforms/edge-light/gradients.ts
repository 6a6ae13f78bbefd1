/** The entry point of nabla/gradients for edge functions. */
import "./modules.ts";

export * from "../../gradients/index.ts";
