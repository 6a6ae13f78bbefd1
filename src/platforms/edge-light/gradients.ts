/** nabla/gradients in edge functions. */
import "./modules.ts";

export * from "../../gradients/index.ts";
