/** nabla/tfjs in edge functions. */
import "./modules.ts";

export * from "../../tfjs/index.ts";
