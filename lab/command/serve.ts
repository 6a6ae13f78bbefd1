/** `npx nabla serve MODEL`: a model as a web function on Node, until it is told to stop. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { init } from "nabla";
import { type Handler, type InferenceOptions, inferenceHandler, nodeListener } from "nabla/serverless";
import { whole } from "../../examples/mnist/numbers.ts";
import { threadsOption } from "./options.ts";
import { print } from "./terminal.ts";

interface Options {
  readonly port: number;
  readonly host: string;
  readonly token?: string;
  readonly threads?: number | "auto";
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
    .addOption(threadsOption().default(undefined, "as the model chooses, else 1"))
    .option("--grace <seconds>", "how long requests may go on when it is stopped", whole(0, 3600), 10)
    .addHelpText(
      "after",
      "\nCtrl-C (SIGINT) or SIGTERM stops listening, lets requests under way end, and exits with 0; a second one ends at once.",
    )
    .allowExcessArguments(false)
    .action(serve);
}

async function serve(model: string, { port, host, threads, grace, token }: Options): Promise<void> {
  // Before the model: it may make tensors at once.
  if (threads !== undefined) await init({ threads });
  const handler = await load(model, token ?? (process.env.NABLA_TOKEN || undefined));
  const listener = nodeListener(handler);
  let stops = false;
  const server = createServer((request, response) => {
    // Connections that are kept alive would bring more requests.
    if (stops) response.setHeader("connection", "close");
    response.once("close", () => stops && server.closeIdleConnections());
    listener(request, response);
  });
  await new Promise<void>((ready, failed) => {
    server.once("error", failed).listen(port, host, ready);
  });
  const { port: chosen } = server.address() as AddressInfo;
  const stopped = signalled().then(() => {
    stops = true;
    return closed(server, grace);
  });
  print(`Serving ${model} at http://${host.includes(":") ? `[${host}]` : host}:${chosen}`);
  await stopped;
  // Whatever the model still waits for: its server is no more.
  process.exit(0);
}

/** The handler that a module exports. @throws Error where it exports something else */
async function load(model: string, token: string | undefined): Promise<Handler> {
  const { default: exported } = await moduleOf(model);
  if (typeof exported === "object" && exported !== null) {
    if ("load" in exported) return ready(model, exported as InferenceOptions, token);
    if ("fetch" in exported && typeof exported.fetch === "function") return own(exported.fetch as Handler, token);
  }
  if (typeof exported === "function") return own(exported as Handler, token);
  throw new Error(
    `${model} has no default export that can be served: export what inferenceHandler takes, a handler, or { fetch: handler }.`,
  );
}

async function moduleOf(model: string): Promise<{ default?: unknown }> {
  try {
    return (await import(pathToFileURL(resolve(model)).href)) as { default?: unknown };
  } catch (error) {
    const where = error instanceof SyntaxError ? `. \`node ${model}\` shows where` : "";
    throw new Error(`${model} cannot be loaded: ${why(error)}${where}`, { cause: error });
  }
}

/** What went wrong in a module. */
function why(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isTypeScript = (error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_FILE_EXTENSION";
  return isTypeScript
    ? `${error.message}. TypeScript runs in Node 22.18 and newer; else build it first.`
    : error.message;
}

/** The handler of a model that has been loaded, however long that takes, and called until it is fast. @throws Error if it cannot be loaded */
async function ready(model: string, options: InferenceOptions, token: string | undefined): Promise<Handler> {
  if (options.authorize && token !== undefined)
    throw new Error(`${model} has an authorize of its own: leave --token and NABLA_TOKEN out.`);
  const authorize = token === undefined ? {} : { authorize: (given: string | undefined) => given === token };
  let handler: Handler;
  let failed = false;
  const onError = (error: unknown): unknown => {
    failed = true;
    return (options.onError ?? console.error)(error);
  };
  try {
    handler = inferenceHandler({ warm: true, ...options, ...authorize, onError });
  } catch (error) {
    throw new Error(`${model}: ${why(error)}`, { cause: error });
  }
  const below = options.path === "/" ? "" : (options.path ?? "");
  for (;;) {
    // Each time it is asked, it waits as long as a request may take.
    const { ok, status } = await handler(new Request(`http://localhost${below}/health?ready`));
    if (ok) return handler;
    // Why, the handler has said.
    if (failed) throw new Error(`${model}: the model could not be loaded.`);
    if (status !== 503) throw new Error(`${model}: its own path, ${below}/health, cannot be reached.`);
  }
}

/** A handler that was made already. */
function own(handler: Handler, token: string | undefined): Handler {
  if (token !== undefined)
    throw new Error(
      "--token and NABLA_TOKEN are for models; a handler has its own { authorize }. Leave them out, or export the options.",
    );
  return handler;
}

/** Settles at the first signal to stop; the second finds no listener, and ends the process. */
function signalled(): Promise<void> {
  const signals = ["SIGINT", "SIGTERM"] as const;
  return new Promise((resolve) => {
    const stop = (): void => {
      for (const signal of signals) process.removeListener(signal, stop);
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
  });
}

/** Settles when the server's requests have ended, or had `grace` seconds to. */
async function closed(server: Server, grace: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeIdleConnections();
    }),
    new Promise<void>((late) => {
      timer = setTimeout(late, 1000 * grace);
    }),
  ]);
  clearTimeout(timer);
}
