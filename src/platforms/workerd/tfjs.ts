/** The entry point of nabla/tfjs for Cloudflare Workers. */
import "./modules.ts";

export * from "../../tfjs/index.ts";
