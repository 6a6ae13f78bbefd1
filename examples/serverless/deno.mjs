// Deno: `deno run --allow-net --allow-env=PORT,TRAIN_TOKEN,TRAIN_TOKEN_FILE deno.mjs`. Listens on port $PORT, or 8000 by default.
import handler from "./handler.mjs";

Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000) }, handler);
