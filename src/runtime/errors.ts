/**
 * The package's error classes, and range checks for numbers. Every message names the op, what it got, and the fix, in at most 300
 * characters. Files that throw import `Error`, `RangeError` and `TypeError` from here: these classes truncate longer messages.
 */

/** The maximum length of a message, in characters. */
export const MAX_MESSAGE = 300;

/** Shortens text to `most` characters by removing the middle, because the end of a message contains the fix. */
export function truncate(text: string, most = MAX_MESSAGE): string {
  if (text.length <= most) return text;
  const tail = Math.floor(most * 0.45);
  // Do not split a surrogate pair.
  const whole = (part: string): string => part.replace(/[\ud800-\udbff]$/, "").replace(/^[\udc00-\udfff]/, "");
  return `${whole(text.slice(0, most - tail - 3))} … ${whole(text.slice(-tail))}`;
}

/** A string in quotes, truncated, for messages. */
export const quote = (text: string, most = 60): string => JSON.stringify(truncate(text, most));

/** Lists up to 20 values, and the total if there are more, so that a message about a long list is cheap to create. */
export const listed = (values: readonly unknown[]): string =>
  values.length > 20 ? `${values.slice(0, 20).join(", ")}, … (${values.length} in all)` : values.join(", ");

/**
 * The global class, with messages truncated to MAX_MESSAGE characters. For uncaught errors, Node prints the class's static name.
 */
class CappedError extends globalThis.Error {
  static override readonly name: string = "Error";
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : truncate(message), options);
  }
}
class CappedTypeError extends globalThis.TypeError {
  static override readonly name: string = "TypeError";
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : truncate(message), options);
  }
}
class CappedRangeError extends globalThis.RangeError {
  static override readonly name: string = "RangeError";
  constructor(message?: string, options?: ErrorOptions) {
    super(message === undefined ? message : truncate(message), options);
  }
}

export { CappedError as Error, CappedRangeError as RangeError, CappedTypeError as TypeError };

/** Thrown if shapes or dimensions do not fit the op. */
export class ShapeError extends CappedError {
  override name = "ShapeError";
}

/** Thrown if the op does not support an element type. */
export class DTypeError extends CappedError {
  override name = "DTypeError";
}

/** Thrown if a tensor is used after its memory was freed. */
export class DisposedError extends CappedError {
  override name = "DisposedError";
}

/** Thrown if a function given to `compile` reads a value, branches on one, or depends on a disposed tensor. */
export class TraceError extends CappedError {
  override name = "TraceError";
}

/**
 * Thrown if NaN or ±∞ appears although `finite: true` or detectAnomaly requires finite values. The call that throws changes no
 * state.
 */
export class NonFiniteError extends CappedError {
  override name = "NonFiniteError";
}

/** Thrown if a thread could not be started or died during a call. */
export class ThreadError extends CappedError {
  override name = "ThreadError";
}

/**
 * Thrown if linear memory could not be allocated. All tensors stay valid. Optimizers' `minimize` and `step`,
 * `EMA.update`, and the forward pass of Sequential and of every BatchNorm undo their writes and reset the random
 * generator, so you can call them again. The forward pass of your own module does not undo its writes: a BatchNorm that
 * ran before the failure has updated its statistics, and dropout has advanced the random generator. Call such a module
 * inside `minimize`, or put it into a Sequential.
 */
export class OutOfMemoryError extends CappedError {
  override name = "OutOfMemoryError";
  constructor(
    /** The number of bytes requested. */
    readonly requested: number,
    /** The number of bytes that tensors hold. */
    readonly inUse: number,
    /** The number of bytes that memory may grow to. */
    readonly limit: number,
  ) {
    super(
      `out of memory: requested ${requested} bytes with ${inUse} in use; the limit is ${limit}. ` +
        "Free tensors with tidy(() => …) or dispose(), use smaller batches" +
        (limit < 2 ** 32 ? ", or raise init({ memoryLimit })." : ". WebAssembly cannot address more."),
    );
  }
}

/** Checks that arguments are numbers in a range. @throws RangeError, TypeError */
export function requireRange(
  name: string,
  values: Readonly<Record<string, number>>,
  inRange: (v: number) => boolean,
  range: string,
): void {
  for (const [key, v] of Object.entries(values)) {
    if (typeof v !== "number")
      throw new CappedTypeError(
        `${name}: ${key} must be a number, got ${typeof v === "string" ? quote(v) : String(v)}. Pass a number.`,
      );
    if (!inRange(v)) throw new CappedRangeError(`${name}: ${key} must be ${range}, got ${v}.`);
  }
}
export const requireWhole = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (n) => Number.isInteger(n) && n > 0, "a whole number above 0");
export const requireFraction = (name: string, values: Readonly<Record<string, number>>): void =>
  requireRange(name, values, (v) => v >= 0 && v <= 1, "in 0 … 1");
