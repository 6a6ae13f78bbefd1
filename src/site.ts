/** Where a user's program called nabla, for messages and listings. */

/** The folder that nabla's own modules lie in, as stack traces write it. Bundled with its user's, it tells nothing. */
const OWN = (import.meta.url ?? "").replace(/^file:\/\//, "").replace(/(?:compile\/)?[\w-]+\.\w+$/, "");

/** Frames of nabla itself between its caller and here are fewer than this. */
const DEPTH = 40;

/** `train.ts:12:30`, of the innermost caller outside of nabla; "" where that cannot be told. */
export function callSite(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = DEPTH;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = limit;
  for (const line of stack.split("\n").slice(1)) {
    const place = line.match(/([^/\\(\s]+:\d+:\d+)\)?\s*$/)?.[1];
    if (place && OWN && !line.includes(OWN)) return line.includes("node:") ? "" : place;
  }
  return "";
}
