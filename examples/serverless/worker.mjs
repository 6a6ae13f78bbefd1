// Cloudflare Workers: `npx wrangler dev worker.mjs --compatibility-date 2026-07-01 --compatibility-flags enable_request_signal`.
// With the flag, a training whose client disconnects frees its slot at once; without it, after its time limit. The token is a secret:
// `npx wrangler secret put TRAIN_TOKEN`.
import { functions } from "./functions.mjs";

let handler;
export default { fetch: (request, env) => (handler ??= functions(env.TRAIN_TOKEN))(request) };
