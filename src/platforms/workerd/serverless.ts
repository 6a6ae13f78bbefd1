/** The entry point of nabla/serverless for Cloudflare Workers. */
import "./modules.ts";

export * from "../../serverless/index.ts";
