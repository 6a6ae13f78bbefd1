// Cloudflare Workers: `npx wrangler dev worker.mjs --compatibility-date 2026-07-01 --compatibility-flags enable_request_signal`.
// If a client disconnects during training, its slot is freed immediately with the flag, and after the time limit without it. The token is
// a secret: `npx wrangler secret put TRAIN_TOKEN`.
import { functions } from "./functions.mjs";

let handler;
export default { fetch: (request, env) => (handler ??= functions(env.TRAIN_TOKEN))(request) };
