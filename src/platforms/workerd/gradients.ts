/** nabla/gradients in Workers. */
import "./modules.ts";

export * from "../../gradients/index.ts";
