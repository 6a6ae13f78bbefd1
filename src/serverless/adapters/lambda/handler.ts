/** lambdaHandler and lambdaStream run handlers on AWS Lambda, behind function URLs, API Gateway or load balancers. */
import { check } from "../../../runtime/arguments.ts";
import { Error } from "../../../runtime/errors.ts";
import type { Handler } from "../../core/handler.ts";
import { Problem } from "../../core/problems.ts";
import { responseOf } from "../../core/reply.ts";
import { pipe, type Sink } from "../node/sink.ts";
import { headOf, requestOf, resultOf } from "./events.ts";
import type { LambdaEvent, LambdaResult, LambdaStreamer } from "./types.ts";

/**
 * Turns a handler into a Lambda function. Responses are sent when they are complete, so all events of a training request arrive together at
 * the end; lambdaStream sends each event immediately.
 *
 * ```ts
 * export const handle = lambdaHandler(handler);
 * ```
 * @param handler any web handler
 * @returns a function of an event, which rejects with a TypeError if the event is not a web request
 */
export function lambdaHandler(handler: Handler): (event: LambdaEvent) => Promise<LambdaResult> {
  check("lambdaHandler", arguments, "handler:function");
  return async (event) => resultOf(await respond(handler, event), event);
}

/** `awslambda`, the global object of Lambda's Node runtime, which streams responses. */
interface Streaming {
  streamifyResponse(f: (event: LambdaEvent, stream: Sink) => Promise<void>): LambdaStreamer;
  readonly HttpResponseStream: {
    from(stream: Sink, head: Omit<LambdaResult, "body" | "isBase64Encoded">): Sink;
  };
}

/**
 * Turns a handler into a Lambda function that streams its responses, such as the events of a training request. The
 * Lambda function needs a function URL whose invoke mode is RESPONSE_STREAM.
 *
 * ```ts
 * export const handle = lambdaStream(handler);
 * ```
 * @param handler any web handler
 * @throws Error outside of Lambda's Node runtime
 */
export function lambdaStream(handler: Handler): LambdaStreamer {
  check("lambdaStream", arguments, "handler:function");
  const { awslambda } = globalThis as { awslambda?: Streaming };
  if (!awslambda) throw new Error("lambdaStream: only Lambda's Node runtime can stream. Use lambdaHandler.");
  return awslambda.streamifyResponse(async (event, stream) => {
    const response = await respond(handler, event);
    await pipe(response.body, awslambda.HttpResponseStream.from(stream, headOf(response, event)));
  });
}

/** @throws TypeError if the event is not a web request */
async function respond(handler: Handler, event: LambdaEvent): Promise<Response> {
  let request: Request;
  try {
    request = requestOf(event);
  } catch (error) {
    if (error instanceof Problem) return responseOf(error.reply());
    throw error;
  }
  return handler(request);
}
