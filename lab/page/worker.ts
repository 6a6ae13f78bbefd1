/** The worker that experiments run in, so that the page never freezes. */
import { type Context, newCache, type Result } from "../experiment.ts";
import { experiments } from "../experiments/index.ts";
import { loadDigits } from "./digits.ts";

export interface Request {
  readonly name: string;
  readonly values: Readonly<Record<string, string | number>>;
}
export type Answer =
  | { readonly kind: "progress"; readonly fraction: number; readonly what: string }
  | { readonly kind: "result"; readonly result: Result; readonly seconds: number }
  | { readonly kind: "error"; readonly message: string };

/** What each experiment trained. */
const caches = new Map<string, Context["cached"]>();
function cacheOf(name: string): Context["cached"] {
  const cache = caches.get(name) ?? newCache();
  caches.set(name, cache);
  return cache;
}

const answer = (message: Answer): void => postMessage(message);

addEventListener("message", async ({ data: { name, values } }: MessageEvent<Request>) => {
  try {
    const experiment = experiments.find((one) => one.name === name);
    if (!experiment) throw new Error(`Unknown experiment "${name}".`);
    const started = performance.now();
    const result = await experiment.run(values, {
      progress: async (fraction, what = "") => answer({ kind: "progress", fraction, what }),
      digits: loadDigits,
      cached: cacheOf(name),
    });
    answer({ kind: "result", result, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    answer({ kind: "error", message: error instanceof Error ? error.message : String(error) });
  }
});
