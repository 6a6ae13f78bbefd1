/** The worker that the playground's network learns in. Between two spells of training it reads what is drawn. */
import { loadDigits } from "../digits.ts";
import { Reader, type Reading, type Spell } from "./network.ts";

export type Request =
  | { readonly kind: "train"; readonly lr: number }
  | { readonly kind: "read"; readonly drawing: Float32Array }
  | { readonly kind: "example"; readonly digit: number };
export type Answer =
  | { readonly kind: "spell"; readonly spell: Spell }
  | { readonly kind: "reading"; readonly reading: Reading; readonly drawing: Float32Array }
  | { readonly kind: "example"; readonly drawing: Float32Array }
  | { readonly kind: "error"; readonly message: string };

const answer = (message: Answer): void => postMessage(message);
const digits = loadDigits();
const reader = digits.then((both) => new Reader(both));
/** How often each digit was asked for: the next one is another. */
const asked = new Array<number>(10).fill(0);

/** Lets messages in. */
const breath = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

async function exampleOf(digit: number): Promise<Float32Array> {
  const { pixels, labels } = (await digits).test;
  const places = [...labels.keys()].filter((i) => labels[i] === digit);
  const at = places[asked[digit]!++ % places.length]! * 784;
  return Float32Array.from(pixels.subarray(at, at + 784), (v) => v / 255);
}

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.kind === "train") {
      for (const spell of (await reader).train(data.lr)) {
        answer({ kind: "spell", spell });
        await breath();
      }
    } else if (data.kind === "read") {
      answer({ kind: "reading", reading: (await reader).read(data.drawing), drawing: data.drawing });
    } else answer({ kind: "example", drawing: await exampleOf(data.digit) });
  } catch (error) {
    answer({ kind: "error", message: error instanceof Error ? error.message : String(error) });
  }
});
