/** Sends requests and reads responses in the nabla/serverless tests. */
import { type DType, losses, manualSeed, nn, optim, type TensorValues, tensor, tidy } from "nabla";
import { writeSafetensors } from "nabla/formats";
import type { Handler, Learner } from "nabla/serverless";
import { expect } from "vitest";

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}

export const JSON_TYPE = "application/json";
export const SAFETENSORS = "application/vnd.safetensors";

/** POSTs a value as JSON, or bytes as safetensors. */
export function post(
  handler: Handler,
  body: unknown,
  { headers = {}, path = "/", ...init }: RequestInit & { path?: string } = {},
) {
  const isBytes = body instanceof Uint8Array;
  const request = new Request(`http://localhost${path}`, {
    method: "POST",
    body: isBytes || typeof body === "string" ? (body as BodyInit) : JSON.stringify(body),
    headers: { "content-type": isBytes ? SAFETENSORS : JSON_TYPE, ...headers },
    ...init,
  });
  return handler(request);
}

export const get = (handler: Handler, path: string, headers = {}, method = "GET"): Promise<Response> =>
  handler(new Request(`http://localhost${path}`, { method, headers }));

/** Checks that a response is a problem with the given status. */
export async function problem(response: Response, status: number): Promise<Problem> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = (await response.json()) as Problem;
  expect(response.status, body.detail).toBe(status);
  expect(body).toEqual({ type: "about:blank", title: expect.any(String), status, detail: expect.any(String) });
  expect(body.detail).not.toMatch(/\bat .*:\d+|\.ts|\.js|\/work|node_modules/);
  return body;
}

/** A safetensors file with the given arrays. */
export const file = (
  arrays: Readonly<Record<string, TensorValues>>,
  { dtype = "float32", metadata = {} }: { dtype?: DType; metadata?: Record<string, string> } = {},
): Uint8Array<ArrayBuffer> =>
  tidy(() => {
    const tensors = Object.entries(arrays).map(([name, values]) => [name, tensor(values, { dtype })] as const);
    return writeSafetensors(Object.fromEntries(tensors), metadata);
  });

export interface Event {
  readonly event: string;
  readonly data: Record<string, never>;
}

/** Yields server-sent events as they arrive. */
export async function* events(response: Response): AsyncGenerator<Event> {
  const utf8 = new TextDecoder();
  let text = "";
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += utf8.decode(piece, { stream: true });
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(text.slice(0, end))!;
      yield { event: event!, data: JSON.parse(data!) };
      text = text.slice(end + 2);
    }
  }
}

/** All events in a response. */
export async function allEvents(response: Response): Promise<Event[]> {
  expect(response.headers.get("content-type"), response.statusText).toBe("text/event-stream");
  const all: Event[] = [];
  for await (const event of events(response)) all.push(event);
  return all;
}

/** A network with fixed weights. */
export function network(): nn.Sequential {
  manualSeed(3);
  return new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Dropout(0.5), new nn.Linear(8, 2));
}

export const xor = {
  inputs: [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ],
  targets: [[0], [1], [1], [0]],
};

/** A learner for XOR. */
export function learner(): Learner {
  const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
  return { model, optimizer: new optim.Adam(model.parameters(), { lr: 0.02 }), loss: losses.bceWithLogits };
}
