/** Server-sent events: a response that goes on while work does, and ends it when whoever listens has left. */
import type { Asked } from "./asked.ts";
import type { Problem } from "./problems.ts";

/** Sends an event, unless the one who listens is behind: then it is left out. */
export type Send = (event: string, data: object) => void;

const utf8 = new TextEncoder();
const frame = (event: string, data: object): Uint8Array =>
  utf8.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);

/** Events that may wait for a slow listener. */
const WAITING = 16;

/**
 * Answers with the events of `work`, whose last event is what it returns, or `error` with what `failed` makes of what it throws.
 * `isGone` tells work that nobody listens any more. `end` is called when work has ended or the client has left, perhaps twice.
 */
export function events(
  request: Asked,
  work: (send: Send, isGone: () => boolean) => Promise<readonly [string, object] | undefined>,
  failed: (error: unknown) => Problem,
  end: () => void,
): Response {
  let gone = request.signal.aborted;
  // At once: where a runtime stops whatever a client has left, work does not come to its end.
  const leave = (): void => {
    gone = true;
    end();
  };
  request.signal.addEventListener("abort", leave);

  const run = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    const send: Send = (event, data) => {
      if (!gone && controller.desiredSize! > 0) controller.enqueue(frame(event, data));
    };
    let last: readonly [string, object] | undefined;
    try {
      if (!gone) last = await work(send, () => gone);
    } catch (error) {
      last = ["error", failed(error)];
    }
    request.signal.removeEventListener("abort", leave);
    end();
    if (gone) return controller.error(new DOMException("The client has left.", "AbortError"));
    if (last) controller.enqueue(frame(...last));
    controller.close();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        void run(controller);
      },
      cancel: leave,
    },
    { highWaterMark: WAITING },
  );
  return new Response(body, {
    // Proxies that gather answers are told not to.
    headers: { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" },
  });
}
