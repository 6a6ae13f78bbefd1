/** The worker of the playground's network. It reads drawings between two bursts of training. */
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
let made: Promise<Reader> | undefined;
let stopped = false;
/** How many examples of each digit were requested, so that the next one differs. */
const asked = new Array<number>(10).fill(0);

/** The network, created once. If that failed, the next call tries again. */
function theReader(): Promise<Reader> {
  made ??= loadDigits().then(
    (digits) => new Reader(digits),
    (error: unknown) => {
      made = undefined;
      throw error;
    },
  );
  return made;
}

/** Lets the event loop deliver messages. */
const breath = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

async function exampleOf(digit: number): Promise<Float32Array> {
  const { pixels, labels } = (await loadDigits()).test;
  const places = [...labels.keys()].filter((i) => labels[i] === digit);
  const at = places[asked[digit]!++ % places.length]! * 784;
  return Float32Array.from(pixels.subarray(at, at + 784), (v) => v / 255);
}

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === "train") {
      for (const burst of (await theReader()).train(data.lr)) {
        if (stopped) break;
        answer({ kind: "burst", burst });
        await breath();
      }
    } else if (data.kind === "stop") stopped = true;
    else if (data.kind === "read") {
      answer({ kind: "reading", reading: (await theReader()).read(data.drawing), drawing: data.drawing });
    } else answer({ kind: "example", drawing: await exampleOf(data.digit) });
  } catch (error) {
    answer({ kind: "error", of: data.kind, message: error instanceof Error ? error.message : String(error) });
  }
});
