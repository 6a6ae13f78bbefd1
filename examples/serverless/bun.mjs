// Bun: `bun bun.mjs`. Listens on port $PORT, or 3000 by default.
import handler from "./handler.mjs";

const { url } = Bun.serve({ fetch: handler });
console.log(url.href);
