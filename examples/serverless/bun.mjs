// Bun: `bun bun.mjs`. Listens on $PORT, or 3000.
import handler from "./handler.mjs";

const { url } = Bun.serve({ fetch: handler });
console.log(url.href);
