/** The entry point of nabla for edge functions. */
import "./modules.ts";

export * from "../../index.ts";
