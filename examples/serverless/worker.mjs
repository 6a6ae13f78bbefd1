// Cloudflare Workers: `npx wrangler dev worker.mjs --compatibility-date 2026-07-01 --compatibility-flags enable_request_signal`.
// The flag has a training's place be free as soon as its client leaves; without it, when its time is up.
import handler from "./handler.mjs";

export default { fetch: handler };
