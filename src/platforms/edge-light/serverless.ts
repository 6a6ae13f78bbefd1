/** The entry point of nabla/serverless for edge functions. */
import "./modules.ts";

export * from "../../serverless/index.ts";
