/** The entry point of nabla/gradients for Cloudflare Workers. */
import "./modules.ts";

export * from "../../gradients/index.ts";
