/** `npx nabla serve MODEL`: a model as a web function on Node, until it is told to stop. */
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
    .description("Serves a model over HTTP.")
    .argument(
      "<model>",
      "a module whose default export is what inferenceHandler takes ({ load, input, … }), a handler, or { fetch: handler }",
    )
    .option("-p, --port <n>", "port to listen on; 0 takes a free one", whole(0, 65_535), 8000)
    .option("--host <name>", "address to listen on; 0.0.0.0 for all", "127.0.0.1")
    .option("--token <token>", "token that clients must send as Authorization: Bearer; also NABLA_TOKEN")
    .option("--token-file <file>", "file that holds the token, which other users cannot list; also NABLA_TOKEN_FILE")
    .addOption(threadsOption().default(undefined, "as the model chooses, else 1"))
    .option(
      "--batch [ms]",
      "join requests that wait, for so many milliseconds (default 0: what arrives together)",
      whole(0, 10_000),
    )
    .option("--max-connections <n>", "connections at once; more are closed", whole(1))
    .option("--cors <origin...>", 'origins whose pages may ask, or "*"')
    .option("--metrics", "answer /metrics for Prometheus; with a token, for its bearers only")
    .option("--request-ids", "answer with X-Request-Id")
    .option("--access-log", "print a line of JSON for each request")
    .option("--grace <seconds>", "how long requests may go on after a signal to stop", whole(0, 3600), 10)
    .addHelpText(
      "after",
      `
Ctrl-C (SIGINT), SIGTERM or SIGHUP stops listening, lets running requests end, and exits with 0; a second one ends at once. Started by
npx or npm, it also stops when they end. Exits with 1 if the model cannot be served.`,
    )
    .allowExcessArguments(false)
    .action(serve);
}

/** Milliseconds for the head of a request, and for all of it. Bodies have the model's own limits, which are shorter. */
const TIMEOUTS = { headersTimeout: 10_000, requestTimeout: 120_000, connectionsCheckingInterval: 2000 };

async function serve(model: string, options: Options): Promise<void> {
  const { port, host, threads, grace, maxConnections } = options;
  const stop = stopRequested();
  let isListening = false;
  // The server accepts no requests before the model has loaded, so it waits for none.
  void stop.then(() => isListening || process.exit(0));
  // Before the model: it may make tensors at once.
  if (threads !== undefined) await init({ threads });
  const token = tokenOf(options);
  const handler = await load(model, token, options);
  const listener = nodeListener(handler);
  let stops = false;
  const server = createServer(TIMEOUTS, (request, response) => {
    // Connections that are kept alive would bring more requests.
    if (stops) response.setHeader("connection", "close");
    response.once("close", () => stops && server.closeIdleConnections());
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
      `nabla: everyone who can reach ${host} may use this server: no token is set. Set --token-file, or leave --host out.`,
    );
  await stop;
  stops = true;
  await closed(server, grace);
  // Whatever the model still waits for, its server has ended.
  process.exit(0);
}

const isLocal = (host: string): boolean => /^(localhost|127(\.\d+){3}|(::ffff:)?127(\.\d+){3}|::1)$/i.test(host);

/** The token of the options or the environment. @throws Error if there are two, or a file that cannot be read or is empty */
function tokenOf({ token, tokenFile }: Options): string | undefined {
  if (token !== undefined && tokenFile !== undefined)
    throw new Error("--token and --token-file exclude each other. Leave one of them out.");
  const { NABLA_TOKEN, NABLA_TOKEN_FILE } = process.env;
  if (token !== undefined) return token;
  const file = tokenFile ?? (NABLA_TOKEN ? undefined : NABLA_TOKEN_FILE || undefined);
  if (file === undefined) return NABLA_TOKEN || undefined;
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Error(`the token file cannot be read: ${why(error)}`, { cause: error });
  }
  if (!text) throw new Error(`the token file ${file} is empty. Write the token into it.`);
  return text;
}

/** What is put around a handler. */
const observed = ({ cors, metrics, requestIds, accessLog }: Options): ObserveOptions => ({
  ...(cors && { cors: { origins: cors.includes("*") ? "*" : cors } }),
  ...(metrics && { metrics }),
  ...(requestIds && { requestIds }),
  ...(accessLog && { accessLog: (access) => print(JSON.stringify(access)) }),
});

/** The handler that a module exports. @throws Error if it exports something else */
async function load(model: string, token: string | undefined, options: Options): Promise<Handler> {
  const { default: exported } = await moduleOf(model);
  if (typeof exported === "object" && exported !== null) {
    if ("load" in exported) return ready(model, exported as InferenceOptions, token, options);
    if ("fetch" in exported && typeof exported.fetch === "function")
      return own(exported.fetch as Handler, token, options);
  }
  if (typeof exported === "function") return own(exported as Handler, token, options);
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
async function ready(
  model: string,
  own: InferenceOptions,
  token: string | undefined,
  options: Options,
): Promise<Handler> {
  if ((own.authorize || Object.hasOwn(own, "token")) && token !== undefined)
    throw new Error(`${model} decides itself who may use it: leave --token, --token-file and NABLA_TOKEN out.`);
  const { batch } = options;
  const given: Partial<InferenceOptions> = {
    ...observed(options),
    ...(token !== undefined && { token }),
    ...(batch !== undefined && { batching: { ...joining(own), ...(batch !== true && { wait: batch }) } }),
  };
  let handler: Handler;
  let failed = false;
  const onError = (error: unknown): unknown => {
    failed = true;
    return (own.onError ?? console.error)(error);
  };
  try {
    handler = inferenceHandler({ warm: true, ...own, ...given, onError });
  } catch (error) {
    throw new Error(`${model}: ${why(error)}`, { cause: error });
  }
  const below = own.path === "/" ? "" : (own.path ?? "");
  for (;;) {
    // Each time it is asked, it waits as long as a request may take.
    const { ok, status } = await handler(new Request(`http://localhost${below}/health?ready`));
    if (ok) return handler;
    // Why, the handler has said.
    if (failed) throw new Error(`${model}: the model could not be loaded.`);
    if (status !== 503) throw new Error(`${model}: its own path, ${below}/health, cannot be reached.`);
  }
}

/** What a model's own options say of joining. */
const joining = ({ batching }: InferenceOptions) => (typeof batching === "object" ? batching : {});

/** A handler that was made already. */
function own(handler: Handler, token: string | undefined, options: Options): Handler {
  if (token !== undefined)
    throw new Error(
      "--token, --token-file and NABLA_TOKEN are for models; a handler has its own { token }. Leave them out, or export the options.",
    );
  if (options.batch !== undefined)
    throw new Error("--batch is for models; a handler has its own { batching }. Leave it out, or export the options.");
  const around = observed(options);
  return Object.keys(around).length ? observe(handler, around) : handler;
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
