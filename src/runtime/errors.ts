/**
 * The error classes of the package, and checks of numbers. Every message names the op, what it got, and the fix, and has at most
 * 300 characters: files that throw import `Error`, `RangeError` and `TypeError` from here, which cut longer ones.
 */

/** The most characters that a message has. */
export const MAX_MESSAGE = 300;

/** Text of at most `most` characters: of longer ones the middle is cut out, because the end holds the fix. */
export function capped(text: string, most = MAX_MESSAGE): string {
  if (text.length <= most) return text;
  const tail = Math.floor(most * 0.45);
  // A surrogate pair is not cut in two.
  const whole = (part: string): string => part.replace(/[\ud800-\udbff]$/, "").replace(/^[\udc00-\udfff]/, "");
  return `${whole(text.slice(0, most - tail - 3))} … ${whole(text.slice(-tail))}`;
}

/** A string in quotes, as messages write it; long ones are cut. */
export const quoted = (text: string, most = 60): string => JSON.stringify(capped(text, most));

/** The global class, with messages cut to MAX_MESSAGE characters. */
class CappedError extends globalThis.Error {
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : capped(message), options);
  }
}
class CappedTypeError extends globalThis.TypeError {
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : capped(message), options);
  }
}
class CappedRangeError extends globalThis.RangeError {
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : capped(message), options);
  }
}

export { CappedError as Error, CappedRangeError as RangeError, CappedTypeError as TypeError };

/** Shapes or dimensions that do not fit the op. */
export class ShapeError extends CappedError {
  override name = "ShapeError";
}

/** An element type that the op does not take. */
export class DTypeError extends CappedError {
  override name = "DTypeError";
}

/** A tensor used after its memory was freed. */
export class DisposedError extends CappedError {
  override name = "DisposedError";
}

/** Something that a recorded function (compile) cannot do: read a value, branch on one, depend on a tensor that was disposed. */
export class TraceError extends CappedError {
  override name = "TraceError";
}

/** NaN or ±∞ where `finite: true` or detectAnomaly rules them out. State is as it was before the call. */
export class NonFiniteError extends CappedError {
  override name = "NonFiniteError";
}

/** Threads that could not be started, or that died at work. */
export class ThreadError extends CappedError {
  override name = "ThreadError";
}

/**
 * Linear memory could not be allocated. Tensors stay valid. Optimizers' `minimize` and `step`, `EMA.update`, and the forward pass of
 * Sequential and of every BatchNorm undo their writes and random numbers, so you can call them again. The forward pass of your own
 * module does not: a BatchNorm that ran before the failure has updated its statistics, and dropout has advanced the random generator.
 * Call it inside `minimize`, or put it into a Sequential.
 */
export class OutOfMemoryError extends CappedError {
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

/** Checks that arguments lie in their ranges. @throws RangeError, or TypeError for what is not a number */
export function requireRange(
  name: string,
  values: Readonly<Record<string, number>>,
  inRange: (v: number) => boolean,
  range: string,
): void {
  for (const [key, v] of Object.entries(values)) {
    if (typeof v !== "number")
      throw new CappedTypeError(
        `${name}: ${key} must be a number, got ${typeof v === "string" ? quoted(v) : String(v)}. Pass a number.`,
      );
    if (!inRange(v)) throw new CappedRangeError(`${name}: ${key} is ${v}, but must be ${range}.`);
  }
}
export const requireWhole = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (n) => Number.isInteger(n) && n > 0, "a whole number above 0");
export const requireFraction = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (v) => v >= 0 && v <= 1, "in 0 … 1");
