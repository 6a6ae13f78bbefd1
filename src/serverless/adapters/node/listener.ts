/** nodeListener runs handlers on Node's http, https and http2 servers. It streams bodies and responses, and notices disconnects. */
import { check } from "../../../runtime/arguments.ts";
import { type Handler, responderOf } from "../../core/handler.ts";
import { problemOf } from "../../core/problems.ts";
import type { Answer } from "../../core/reply.ts";
import { readNodeOptions } from "../../core/schema.ts";
import { IncomingRequest } from "./request.ts";
import { send } from "./response.ts";
import { Outbox } from "./sink.ts";
import type { NodeRequest, NodeResponse } from "./types.ts";

/** Options for nodeListener: limits for clients that do not read their responses. */
export interface NodeOptions {
  /**
   * How long a client may go without reading its response before its connection is closed, in milliseconds. Default 10,000.
   */
  readonly writeTimeout?: number;
  /**
   * The maximum total size, in bytes, of the responses above 64 KiB that clients have not read yet. Above this limit,
   * clients that have read nothing for a second are disconnected; if that is not enough, new requests get a 503. A
   * single response may exceed the limit if no other response is waiting. Default 64 MiB.
   */
  readonly unsent?: number;
}

/**
 * Turns a handler into a request listener for node:http, node:https, or the compatibility API of node:http2.
 *
 * ```ts
 * createServer(nodeListener(handler)).listen(8080);
 * ```
 * Also set the server's own limits: headersTimeout, requestTimeout and maxConnections.
 * @param handler any web handler. If it throws, the response is 500, and the error goes to console.error
 * @param options `writeTimeout` in milliseconds (default 10,000); `unsent` in bytes (default 64 MiB)
 * @throws TypeError if an option is not an integer above 0, or is unknown
 */
export function nodeListener(
  handler: Handler,
  options: NodeOptions = {},
): (request: NodeRequest, response: NodeResponse) => void {
  check("nodeListener", arguments, "handler:function {writeTimeout unsent}");
  const { writeTimeout, unsent } = readNodeOptions("nodeListener", options);
  const outbox = new Outbox(unsent, writeTimeout);
  const respond = responderOf(handler);
  const answer = async (incoming: NodeRequest, outgoing: NodeResponse): Promise<Answer> => {
    try {
      return await respond(new IncomingRequest(incoming, outgoing));
    } catch (error) {
      return problemOf(error, console.error).reply();
    }
  };
  return (incoming, outgoing) => {
    answer(incoming, outgoing)
      .then((result) => send(result, incoming, outgoing, { outbox, writeTimeout }))
      // A response that fails halfway must not look complete.
      .catch(() => outgoing.destroy());
  };
}
