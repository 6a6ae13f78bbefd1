/** nabla/serverless in Workers. */
import "./modules.ts";

export * from "../../serverless/index.ts";
