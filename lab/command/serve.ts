/** `npx nabla serve MODEL`: a model as a web function on Node, until it is told to stop. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { init } from "nabla";
import { type Handler, type InferenceOptions, inferenceHandler, nodeListener } from "nabla/serverless";
import { threadsOption, whole } from "./options.ts";
import { print } from "./terminal.ts";

interface Options {
  readonly port: number;
  readonly host: string;
  readonly token?: string;
  readonly threads: number | "auto";
  readonly grace: number;
}

/** Adds the command. */
export function addServe(program: Command): void {
  program
    .command("serve")
    .description("Serves a model over HTTP.")
    .argument(
      "<model>",
      "a module whose default export is what inferenceHandler takes ({ load, input, … }), a handler, or { fetch: handler }",
    )
    .option("-p, --port <n>", "where to listen; 0 takes a free one", whole(0, 65_535), 8000)
    .option("--host <name>", "the address to listen at; 0.0.0.0 for all", "127.0.0.1")
    .option("--token <token>", "what clients must bear, as Authorization: Bearer; also NABLA_TOKEN")
    .addOption(threadsOption())
    .option("--grace <seconds>", "how long requests may go on when it is stopped", whole(0, 3600), 10)
    .addHelpText(
      "after",
      "\nCtrl-C (SIGINT) or SIGTERM stops listening, lets requests under way end, and exits with 0; a second one ends at once.",
    )
    .allowExcessArguments(false)
    .action(serve);
}

async function serve(model: string, { port, host, threads, grace, token = process.env.NABLA_TOKEN }: Options) {
  await init({ threads });
  const handler = await load(model, token);
  const server = createServer(nodeListener(handler));
  await new Promise<void>((ready, failed) => {
    server.once("error", failed).listen(port, host, ready);
  });
  const stopped = untilStopped(server, grace);
  const { port: chosen } = server.address() as AddressInfo;
  print(`Serving ${model} at http://${host.includes(":") ? `[${host}]` : host}:${chosen}`);
  await stopped;
}

/** The handler that a module exports. @throws Error where it exports something else */
async function load(model: string, token: string | undefined): Promise<Handler> {
  const { default: exported } = (await import(pathToFileURL(resolve(model)).href)) as { default?: unknown };
  const authorize = token === undefined ? {} : { authorize: (given: string | undefined) => given === token };
  if (typeof exported === "object" && exported !== null) {
    if ("load" in exported) return ready(exported as InferenceOptions, authorize);
    if ("fetch" in exported && typeof exported.fetch === "function") return own(exported.fetch as Handler, token);
  }
  if (typeof exported === "function") return own(exported as Handler, token);
  throw new Error(
    `${model} has no default export that can be served: export what inferenceHandler takes, a handler, or { fetch: handler }.`,
  );
}

/** The handler of a model that has been loaded, and called until it is fast. @throws Error if it cannot be loaded */
async function ready(options: InferenceOptions, authorize: Pick<InferenceOptions, "authorize">): Promise<Handler> {
  const handler = inferenceHandler({ warm: true, ...options, ...authorize });
  const below = options.path === "/" ? "" : (options.path ?? "");
  const { ok } = await handler(new Request(`http://localhost${below}/health?ready`));
  // Why, the handler has said.
  if (!ok) throw new Error("the model could not be loaded.");
  return handler;
}

/** A handler that was made already. */
function own(handler: Handler, token: string | undefined): Handler {
  if (token !== undefined)
    throw new Error(
      "--token is for models; a handler has its own { authorize }. Leave --token out, or export the options.",
    );
  return handler;
}

/** Settles when the server has been stopped and its requests have ended, or had `grace` seconds to. */
function untilStopped(server: Server, grace: number): Promise<void> {
  return new Promise((resolve) => {
    const stop = (): void => {
      // The second signal finds no listener, and ends the process.
      for (const signal of ["SIGINT", "SIGTERM"]) process.removeListener(signal, stop);
      const timer = setTimeout(() => server.closeAllConnections(), 1000 * grace);
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      server.closeIdleConnections();
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stop);
  });
}
