// Cloudflare Workers: `npx wrangler dev worker.mjs --compatibility-date 2026-07-01 --compatibility-flags enable_request_signal`.
// If a client disconnects during training, the flag makes the handler free the client's slot immediately; without the flag, the slot is
// freed after the time limit. The token is a secret: `npx wrangler secret put TRAIN_TOKEN`.
import { functions } from "./functions.mjs";

let handler;
export default { fetch: (request, env) => (handler ??= functions(env.TRAIN_TOKEN))(request) };
