/** nabla/tfjs in Workers. */
import "./modules.ts";

export * from "../../tfjs/index.ts";
