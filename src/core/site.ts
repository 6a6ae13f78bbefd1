/** Where a user's program called nabla, for messages and listings. */
import type { Error } from "../runtime/errors.ts";

/** The folder of nabla's own modules, as stack traces write it. Bundled with the user's program, it tells nothing. */
const OWN = (import.meta.url ?? "").replace(/^file:\/\//, "").replace(/[\w-]+\.\w+$/, "");

/** Frames of nabla between its caller and here are fewer than this; in most cases fewer than the first number. */
const DEPTHS = [16, 64];

function stackOf(depth: number): Error {
  // The host's own class, which alone decides how many frames a stack has.
  const { Error } = globalThis;
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = depth;
  const error = new Error();
  Error.stackTraceLimit = limit;
  return error;
}

/** The first place outside of nabla; undefined where all are inside. */
function placeIn({ stack = "" }: Error): string | undefined {
  for (const line of stack.split("\n").slice(1)) {
    const place = line.match(/([^/\\(\s]+:\d+:\d+)\)?\s*$/)?.[1];
    if (place && OWN && !line.includes(OWN)) return line.includes("node:") ? "" : place;
  }
  return undefined;
}

/** `train.ts:12:30`, of the innermost caller outside of nabla; "" where that cannot be told. */
export function callSite(): string {
  for (const depth of DEPTHS) {
    const place = placeIn(stackOf(depth));
    if (place !== undefined) return place;
  }
  return "";
}

/** The same, found only when it is asked for: a stack is cheap to keep, and slow to read. */
export function captureSite(): () => string {
  const error = stackOf(DEPTHS.at(-1)!);
  return () => placeIn(error) ?? "";
}
