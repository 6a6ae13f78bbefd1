/** `npx nabla serve <model>`: serves a model over HTTP until it receives a signal to stop. */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { init } from "nabla";
import {
  type Handler,
  type InferenceOptions,
  inferenceHandler,
  nodeListener,
  type ObserveOptions,
  observe,
} from "nabla/serverless";
import { whole } from "./mnist/numbers.ts";
import { threadsOption } from "./options.ts";
import { stopRequested } from "./signals.ts";
import { print } from "./terminal.ts";

interface Options {
  readonly port: number;
  readonly host: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly threads?: number | "auto";
  readonly grace: number;
  readonly maxConnections?: number;
  readonly batch?: number | true;
  readonly cors?: readonly string[];
  readonly metrics?: true;
  readonly requestIds?: true;
  readonly accessLog?: true;
}

/** Adds the command. */
export function addServe(program: Command): void {
  program
    .command("serve")
    .description("Serve a model over HTTP.")
    .argument(
      "<model>",
      "a module whose default export is the options of inferenceHandler ({ load, input, … }), a handler, or { fetch: handler }",
    )
    .option("-p, --port <n>", "port to listen on; 0 for any free port", whole(0, 65_535), 8000)
    .option("--host <name>", "address to listen on; 0.0.0.0 for all interfaces", "127.0.0.1")
    .option("--token <token>", "token that clients must send as Authorization: Bearer (env: NABLA_TOKEN)")
    .option(
      "--token-file <file>",
      "read the token from a file, so that it is not visible in the process list (env: NABLA_TOKEN_FILE)",
    )
    .addOption(threadsOption().default(undefined, "the model's choice, otherwise 1"))
    .option(
      "--batch [ms]",
      "combine waiting requests into batches, and wait up to this many milliseconds for more (default: 0)",
      whole(0, 10_000),
    )
    .option("--max-connections <n>", "maximum number of open connections; the server closes any others", whole(1))
    .option("--cors <origin...>", 'origins allowed to call the server from web pages, or "*"')
    .option("--metrics", "serve Prometheus metrics at /metrics; requires the token if there is one")
    .option("--request-ids", "add X-Request-Id to responses")
    .option("--access-log", "print one line of JSON per request")
    .option("--grace <seconds>", "time that running requests have to finish after a stop signal", whole(0, 3600), 10)
    .addHelpText(
      "after",
      `
On Ctrl-C (SIGINT), SIGTERM or SIGHUP, the server stops listening, lets running
requests finish, and exits with code 0. A second signal ends it immediately. If
npx or npm started the server, it also stops when they end. The exit code is 1
if the model cannot be served.`,
    )
    .allowExcessArguments(false)
    .action(serve);
}

/**
 * The time limits for a request's headers and for the whole request, and the interval between checks, in milliseconds.
 * The handler's own time limits for bodies are shorter.
 */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: 120_000, connectionsCheckingInterval: 2000 };

async function serve(model: string, options: Options): Promise<void> {
  const { port, host, threads, grace, maxConnections } = options;
  const stop = stopRequested();
  let isListening = false;
  // Until the server listens, no request can be in progress, so a stop signal ends the process immediately.
  void stop.then(() => isListening || process.exit(0));
  // Call init before the module is imported, because the module may create tensors, which starts the engine.
  if (threads !== undefined) await init({ threads });
  const token = tokenOf(options);
  const handler = await load(model, token, options);
  const listener = nodeListener(handler);
  let isStopping = false;
  const server = createServer(TIMEOUTS, (request, response) => {
    // Close each connection after its response. Otherwise, a keep-alive connection would deliver more requests.
    if (isStopping) response.setHeader("connection", "close");
    response.once("close", () => isStopping && server.closeIdleConnections());
    listener(request, response);
  });
  if (maxConnections !== undefined) server.maxConnections = maxConnections;
  await new Promise<void>((ready, failed) => {
    server.once("error", failed).listen(port, host, ready);
  });
  isListening = true;
  const { port: chosen } = server.address() as AddressInfo;
  print(`Serving ${model} at http://${host.includes(":") ? `[${host}]` : host}:${chosen}`);
  if (!token && !isLocal(host))
    console.warn(
      `nabla: no token is set, so anyone who can reach ${host} can use this server. Set --token-file, or omit --host.`,
    );
  await stop;
  isStopping = true;
  await waitForClose(server, grace);
  // Exit explicitly, because the model may still have open timers or sockets.
  process.exit(0);
}

const isLocal = (host: string): boolean => /^(localhost|127(\.\d+){3}|(::ffff:)?127(\.\d+){3}|::1)$/i.test(host);

/**
 * The token from the options or the environment. @throws Error if both options are given, or if the token's file is
 * empty or cannot be read
 */
function tokenOf({ token, tokenFile }: Options): string | undefined {
  if (token !== undefined && tokenFile !== undefined)
    throw new Error("--token and --token-file cannot be combined. Remove one of them.");
  const { NABLA_TOKEN, NABLA_TOKEN_FILE } = process.env;
  if (token !== undefined) return token;
  const file = tokenFile ?? (NABLA_TOKEN ? undefined : NABLA_TOKEN_FILE || undefined);
  if (file === undefined) return NABLA_TOKEN || undefined;
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Error(`cannot read the token file: ${messageOf(error)}`, { cause: error });
  }
  if (!text) throw new Error(`the token file ${file} is empty. Write the token into the file.`);
  return text;
}

/** The options that `observe` receives. */
const observeOptions = ({ cors, metrics, requestIds, accessLog }: Options): ObserveOptions => ({
  ...(cors && { cors: { origins: cors.includes("*") ? "*" : cors } }),
  ...(metrics && { metrics }),
  ...(requestIds && { requestIds }),
  ...(accessLog && { accessLog: (access) => print(JSON.stringify(access)) }),
});

/**
 * Imports a module, and returns the handler that it exports, or creates a handler from the options that it exports.
 * @throws Error if the module exports something else
 */
async function load(model: string, token: string | undefined, options: Options): Promise<Handler> {
  const { default: exported } = await importModule(model);
  if (typeof exported === "object" && exported !== null) {
    if ("load" in exported) return loadModel(model, exported as InferenceOptions, token, options);
    if ("fetch" in exported && typeof exported.fetch === "function")
      return wrap(exported.fetch as Handler, token, options);
  }
  if (typeof exported === "function") return wrap(exported as Handler, token, options);
  throw new Error(
    `${model} has no default export that can be served. Export the options of inferenceHandler, a handler, or { fetch: handler }.`,
  );
}

async function importModule(model: string): Promise<{ default?: unknown }> {
  try {
    return (await import(pathToFileURL(resolve(model)).href)) as { default?: unknown };
  } catch (error) {
    const hint = error instanceof SyntaxError ? `. Run \`node ${model}\` to see where` : "";
    throw new Error(`cannot load ${model}: ${messageOf(error)}${hint}`, { cause: error });
  }
}

/** An error's message, with a hint for TypeScript modules. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isTypeScript = (error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_FILE_EXTENSION";
  return isTypeScript
    ? `${error.message}. Use Node 22.18 or newer to run TypeScript, or compile the file first.`
    : error.message;
}

/** Loads and warms up the model, and returns a handler for it. @throws Error if the model cannot be loaded */
async function loadModel(
  model: string,
  exported: InferenceOptions,
  token: string | undefined,
  options: Options,
): Promise<Handler> {
  if ((exported.authorize || Object.hasOwn(exported, "token")) && token !== undefined)
    throw new Error(`${model} has its own token or authorize option. Remove --token, --token-file and NABLA_TOKEN.`);
  const { batch } = options;
  const given: Partial<InferenceOptions> = {
    ...observeOptions(options),
    ...(token !== undefined && { token }),
    ...(batch !== undefined && { batching: { ...batchingOf(exported), ...(batch !== true && { wait: batch }) } }),
  };
  let handler: Handler;
  let failed = false;
  const onError = (error: unknown): unknown => {
    failed = true;
    return (exported.onError ?? console.error)(error);
  };
  try {
    handler = inferenceHandler({ warm: true, ...exported, ...given, onError });
  } catch (error) {
    throw new Error(`${model}: ${messageOf(error)}`, { cause: error });
  }
  const below = exported.path === "/" ? "" : (exported.path ?? "");
  for (;;) {
    // The status is 503 if the model takes longer to load than the handler's time limit. In that case, wait again.
    const { ok, status } = await handler(new Request(`http://localhost${below}/health?ready`));
    if (ok) return handler;
    // onError has reported the reason.
    if (failed) throw new Error(`${model}: the model could not be loaded.`);
    if (status !== 503)
      throw new Error(`${model}: ${below}/health answered with status ${status}. Check the path option.`);
  }
}

/** The batching options that a module exports. */
const batchingOf = ({ batching }: InferenceOptions) => (typeof batching === "object" ? batching : {});

/**
 * Wraps a module's exported handler in `observe` if an option requires it.
 * @throws Error for options that apply only to a module that exports the options of inferenceHandler
 */
function wrap(handler: Handler, token: string | undefined, options: Options): Handler {
  if (token !== undefined)
    throw new Error(
      "--token, --token-file and NABLA_TOKEN have no effect on an exported handler. Remove them, or set the handler's token option.",
    );
  if (options.batch !== undefined)
    throw new Error("--batch has no effect on an exported handler. Remove it, or set the handler's batching option.");
  const around = observeOptions(options);
  return Object.keys(around).length ? observe(handler, around) : handler;
}

/** Resolves when all requests have ended, or after `grace` seconds. */
async function waitForClose(server: Server, grace: number): Promise<void> {
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
