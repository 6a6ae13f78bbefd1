/** The entry point of nabla/formats for Cloudflare Workers. */
import "./modules.ts";

export * from "../../formats/index.ts";
