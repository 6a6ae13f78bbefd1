/** The worker of the playground's network. It reads drawings between bursts of training. */
import { loadDigits } from "../digits.ts";
import { type Burst, Reader, type Reading } from "./network.ts";

export type Request =
  | { readonly kind: "train"; readonly lr: number }
  | { readonly kind: "read"; readonly drawing: Float32Array }
  | { readonly kind: "example"; readonly digit: number }
  | { readonly kind: "stop" };
export type Answer =
  | { readonly kind: "burst"; readonly burst: Burst }
  | { readonly kind: "reading"; readonly reading: Reading; readonly drawing: Float32Array }
  | { readonly kind: "example"; readonly drawing: Float32Array }
  | { readonly kind: "error"; readonly of: Request["kind"]; readonly message: string };

const answer = (message: Answer): void => postMessage(message);
let reader: Promise<Reader> | undefined;
let stopped = false;
/** The number of examples requested for each digit, so that the next request gets a different example. */
const requested = new Array<number>(10).fill(0);

/** The network, created once. If that fails, the next call tries again. */
function getReader(): Promise<Reader> {
  reader ??= loadDigits().then(
    (digits) => new Reader(digits),
    (error: unknown) => {
      reader = undefined;
      throw error;
    },
  );
  return reader;
}

/** Lets the event loop deliver messages. */
const nextTask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

async function exampleOf(digit: number): Promise<Float32Array> {
  const { pixels, labels } = (await loadDigits()).test;
  const places = [...labels.keys()].filter((i) => labels[i] === digit);
  const at = places[requested[digit]!++ % places.length]! * 784;
  return Float32Array.from(pixels.subarray(at, at + 784), (v) => v / 255);
}

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === "train") {
      for (const burst of (await getReader()).train(data.lr)) {
        if (stopped) break;
        answer({ kind: "burst", burst });
        await nextTask();
      }
    } else if (data.kind === "stop") stopped = true;
    else if (data.kind === "read") {
      answer({ kind: "reading", reading: (await getReader()).read(data.drawing), drawing: data.drawing });
    } else answer({ kind: "example", drawing: await exampleOf(data.digit) });
  } catch (error) {
    answer({ kind: "error", of: data.kind, message: error instanceof Error ? error.message : String(error) });
  }
});
