/** nabla/serverless in edge functions. */
import "./modules.ts";

export * from "../../serverless/index.ts";
