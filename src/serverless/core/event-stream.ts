/** Server-sent events: a response that continues while work runs. If the client disconnects, the work is told to stop. */
import type { Problem } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";

/** The name and the data of an event. */
export type Event = readonly [name: string, data: object];

/** Sends an event. It is dropped if the client reads too slowly. */
export type Send = (event: Event) => void;

const utf8 = new TextEncoder();
const frame = ([name, data]: Event): Uint8Array => utf8.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);

/** Events that are queued for a slow client. */
const QUEUED = 16;

interface Work {
  /** Returns the last event, or undefined if `isGone` told it that the client has disconnected. */
  readonly run: (send: Send, isGone: () => boolean) => Promise<Event | undefined>;
  /** Turns an error that `run` throws into the last event, `error`. */
  readonly failed: (error: unknown) => Problem;
  /** Called when the work has ended or the client has disconnected; perhaps twice. */
  readonly end: () => void;
}

export function eventStream(request: HandlerRequest, { run, failed, end }: Work): Response {
  const { signal } = request;
  let gone = signal.aborted;
  // Call `end` at once: some runtimes stop the work of a client that has disconnected, so it never reaches its own end.
  const disconnect = (): void => {
    gone = true;
    end();
  };
  signal.addEventListener("abort", disconnect);

  const start = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    const send: Send = (event) => {
      if (!gone && controller.desiredSize! > 0) controller.enqueue(frame(event));
    };
    let last: Event | undefined;
    try {
      if (!gone) last = await run(send, () => gone);
    } catch (error) {
      last = ["error", failed(error)];
    }
    signal.removeEventListener("abort", disconnect);
    end();
    if (gone) return controller.error(new DOMException("The client disconnected.", "AbortError"));
    if (last) controller.enqueue(frame(last));
    controller.close();
  };
  const body = new ReadableStream<Uint8Array>(
    { start: (controller) => void start(controller), cancel: disconnect },
    { highWaterMark: QUEUED },
  );
  return new Response(body, {
    // The last header tells proxies not to buffer the response.
    headers: { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" },
  });
}
