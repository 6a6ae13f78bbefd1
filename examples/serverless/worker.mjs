// Cloudflare Workers: `npx wrangler dev worker.mjs`.
import handler from "./handler.mjs";

export default { fetch: handler };
