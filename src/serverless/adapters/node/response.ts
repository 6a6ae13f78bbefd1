/**
 * Sends answers through Node responses. Handles clients that are still sending the request, and clients that do not read
 * the response.
 */
import { unavailable } from "../../core/problems.ts";
import { type Answer, Reply } from "../../core/reply.ts";
import { type Outbox, pipe } from "./sink.ts";
import type { NodeRequest, NodeResponse } from "./types.ts";

export interface SendOptions {
  readonly outbox: Outbox;
  /** How long a client may go without reading, in milliseconds. */
  readonly writeTimeout: number;
}

const utf8 = new TextEncoder();

/**
 * The size in bytes up to which an unwanted body is read and ignored. If the body is larger, the connection is closed.
 */
const IGNORED_BYTES = 2 ** 16;

/** How long an unwanted body may continue to arrive, in milliseconds. */
const LINGER = 1000;

/** Connection headers, which HTTP/2 forbids. */
const CONNECTION_HEADERS = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

export async function send(
  answer: Answer,
  incoming: NodeRequest,
  outgoing: NodeResponse,
  { outbox, writeTimeout }: SendOptions,
): Promise<void> {
  if (answer instanceof Reply) {
    const reply = outbox.admits(answer.body.length)
      ? answer
      : unavailable("Too many responses are waiting for slow clients. Try again later.").reply();
    await sendReply(reply, incoming, outgoing, outbox);
  } else {
    writeHead(answer.status, answer.headers, incoming, outgoing);
    await pipe(answer.body, outgoing, writeTimeout);
  }
  // Over HTTP/2, refuse the rest of the request (0 is NO_ERROR). The connection stays open.
  if (!incoming.complete) outgoing.stream?.close(0);
  // A client that never reads the last bytes must not keep the connection open.
  if (outgoing.writableLength > 0) outgoing.setTimeout(writeTimeout, () => outgoing.destroy());
}

async function sendReply(
  { status, headers, body }: Reply,
  incoming: NodeRequest,
  outgoing: NodeResponse,
  outbox: Outbox,
): Promise<void> {
  const bytes = typeof body === "string" ? utf8.encode(body) : body;
  const keepsConnection = writeHead(status, { ...headers, "content-length": String(bytes.length) }, incoming, outgoing);
  if (keepsConnection) await outbox.send(bytes, outgoing);
  else linger(bytes, incoming, outgoing);
}

/**
 * Answers a client that is still sending, and waits until it has finished, but at most LINGER milliseconds. A client
 * that is disconnected while sending never reads the answer.
 */
function linger(bytes: Uint8Array, incoming: NodeRequest, outgoing: NodeResponse): void {
  outgoing.write(bytes);
  const end = (): void => {
    clearTimeout(timer);
    outgoing.end();
  };
  const timer = setTimeout(end, LINGER);
  incoming.on("end", end);
  incoming.on("close", end);
  incoming.resume();
}

/** Writes status and headers. @returns whether the connection stays open, which it does if the request is complete or small */
function writeHead(
  status: number,
  headers: Headers | Readonly<Record<string, string>>,
  incoming: NodeRequest,
  outgoing: NodeResponse,
): boolean {
  const pairs = headers instanceof Headers ? [...headers] : Object.entries(headers);
  if (incoming.httpVersionMajor === 2) {
    const allowed: Record<string, string | string[]> = {};
    for (const [name, value] of pairs)
      if (!CONNECTION_HEADERS.includes(name))
        allowed[name] = name === "set-cookie" ? [...(allowed[name] ?? []), value] : value;
    outgoing.writeHead(status, allowed);
    return true;
  }
  const isSmall = Number(incoming.headers["content-length"]) <= IGNORED_BYTES && status !== 408;
  const keepsConnection = incoming.complete || isSmall;
  if (keepsConnection && !incoming.complete) outgoing.once("finish", () => incoming.resume());
  outgoing.writeHead(status, keepsConnection ? pairs.flat() : [...pairs.flat(), "connection", "close"]);
  return keepsConnection;
}
