// Node: `TRAIN_TOKEN=… node node.mjs`. `npx nabla serve handler.mjs` does the same, with graceful shutdown.
import { createServer } from "node:http";
import { nodeListener } from "nabla/serverless";
import handler from "./handler.mjs";

const server = createServer(nodeListener(handler)).listen(process.env.PORT ?? 8000, () => {
  console.log(`http://localhost:${server.address().port}`);
});
