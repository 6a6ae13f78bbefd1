/** The entry point of nabla for Cloudflare Workers. */
import "./modules.ts";

export * from "../../index.ts";
