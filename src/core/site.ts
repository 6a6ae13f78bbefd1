/** Finds the line of the user's program that called nabla, for error messages and program listings. */
import type { Error } from "../runtime/errors.ts";

let ownFolder: string | undefined;
/**
 * The folder of nabla's own modules, as stack traces show it. If nabla is bundled with the program, this folder cannot
 * identify nabla's frames.
 */
function own(): string {
  ownFolder ??= (import.meta.url ?? "").replace(/^file:\/\//, "").replace(/(core\/)?[\w-]+\.\w+$/, "");
  return ownFolder;
}

/**
 * The stack depths to try. nabla's own frames rarely fill a stack of the first depth, and never one of the last depth.
 */
const DEPTHS = [16, 64];

function stackOf(depth: number): Error {
  // stackTraceLimit works only on the built-in Error class.
  const { Error } = globalThis;
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = depth;
  const error = new Error();
  Error.stackTraceLimit = limit;
  return error;
}

/** The first frame outside nabla; undefined if there is none. */
function placeIn({ stack = "" }: Error): string | undefined {
  for (const line of stack.split("\n").slice(1)) {
    const place = line.match(/([^/\\(\s]+:\d+:\d+)\)?\s*$/)?.[1];
    if (place && own() && !line.includes(own())) return line.includes("node:") ? "" : place;
  }
  return undefined;
}

/** The innermost caller outside nabla, such as `train.ts:12:30`; "" if unknown. */
export function callSite(): string {
  for (const depth of DEPTHS) {
    const place = placeIn(stackOf(depth));
    if (place !== undefined) return place;
  }
  return "";
}

/**
 * Like `callSite`, but captures the stack now and reads it only when the returned function is called: capturing a stack
 * is cheap, and reading it is slow.
 */
export function captureSite(): () => string {
  const error = stackOf(DEPTHS.at(-1)!);
  return () => placeIn(error) ?? "";
}
