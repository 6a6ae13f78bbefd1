/** The entry point of nabla/formats for edge functions. */
import "./modules.ts";

export * from "../../formats/index.ts";
