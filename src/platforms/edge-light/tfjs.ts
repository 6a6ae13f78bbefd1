/** The entry point of nabla/tfjs for edge functions. */
import "./modules.ts";

export * from "../../tfjs/index.ts";
