/** Server-sent events: a response that stays open while work runs. If the client disconnects, the work stops. */
import type { Problem } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";

/** The name and the data of an event. */
export type Event = readonly [name: string, data: object];

/** Sends an event, or drops it if the client reads too slowly. */
export type Send = (event: Event) => void;

const utf8 = new TextEncoder();
const frame = ([name, data]: Event): Uint8Array => utf8.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);

/** The maximum number of events to queue for a slow client. */
const QUEUED = 16;

interface Work {
  /** Does the work, and returns the last event; undefined if the client has disconnected. */
  readonly run: (send: Send, isDisconnected: () => boolean) => Promise<Event | undefined>;
  /** Converts an error that `run` throws to the data of the final event, `error`. */
  readonly problemOf: (error: unknown) => Problem;
  /** Called when the work has ended or the client has disconnected. May be called twice. */
  readonly end: () => void;
}

export function eventStream(request: HandlerRequest, { run, problemOf, end }: Work): Response {
  const { signal } = request;
  let disconnected = signal.aborted;
  // Call `end` immediately: some runtimes stop the work when the client disconnects, so `run` may never finish.
  const disconnect = (): void => {
    disconnected = true;
    end();
  };
  signal.addEventListener("abort", disconnect);

  const start = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    const send: Send = (event) => {
      if (!disconnected && controller.desiredSize! > 0) controller.enqueue(frame(event));
    };
    let last: Event | undefined;
    try {
      if (!disconnected) last = await run(send, () => disconnected);
    } catch (error) {
      last = ["error", problemOf(error)];
    }
    signal.removeEventListener("abort", disconnect);
    end();
    if (disconnected) return controller.error(new DOMException("The client disconnected.", "AbortError"));
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
