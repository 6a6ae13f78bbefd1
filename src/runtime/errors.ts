/** The error classes of the public face, and checks of numbers. Every message names the op, what it was given, and the remedy. */

/** Shapes or dimensions that do not fit the op. */
export class ShapeError extends Error {
  override name = "ShapeError";
}

/** An element type that the op does not take. */
export class DTypeError extends Error {
  override name = "DTypeError";
}

/** A tensor used after its memory was given back. */
export class DisposedError extends Error {
  override name = "DisposedError";
}

/** Something that a recorded function (compile) cannot do: read a value, branch on one, depend on what is gone. */
export class TraceError extends Error {
  override name = "TraceError";
}

/** NaN or ±∞ where `finite: true` or detectAnomaly rules them out. State is as it was before the call. */
export class NonFiniteError extends Error {
  override name = "NonFiniteError";
}

/** Threads that could not be started, or that died at work. */
export class ThreadError extends Error {
  override name = "ThreadError";
}

/** Linear memory that could not be had. Nothing already allocated is harmed. */
export class OutOfMemoryError extends Error {
  override name = "OutOfMemoryError";
  constructor(
    /** Bytes that were asked for. */
    readonly requested: number,
    /** Bytes that tensors hold. */
    readonly inUse: number,
    /** Bytes that the memory may grow to. */
    readonly limit: number,
  ) {
    super(
      `out of memory: asked for ${requested} bytes with ${inUse} in use, and the memory may not grow past ${limit}. ` +
        "Free tensors with tidy(() => …) or dispose(), use smaller batches" +
        (limit < 2 ** 32 ? ", or raise init({ memoryLimit })." : ". WebAssembly cannot address more."),
    );
  }
}

/** Checks that arguments lie in their ranges. @throws RangeError, or TypeError for what is no number */
export function requireRange(
  name: string,
  values: Readonly<Record<string, number>>,
  inRange: (v: number) => boolean,
  range: string,
): void {
  for (const [key, v] of Object.entries(values)) {
    if (typeof v !== "number") throw new TypeError(`${name}: ${key} is ${JSON.stringify(v)}, but must be a number.`);
    if (!inRange(v)) throw new RangeError(`${name}: ${key} is ${v}, but must be ${range}.`);
  }
}
export const requireWhole = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (n) => Number.isInteger(n) && n > 0, "a whole number above 0");
export const requireFraction = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (v) => v >= 0 && v <= 1, "in 0 … 1");
