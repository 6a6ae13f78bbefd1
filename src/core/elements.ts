/** Access to a tensor's elements, and the errors for incorrect uses of tensors. */
import { type Spec, show, sizeOf } from "../ops/definition/value.ts";
import { DisposedError, Error, TraceError, TypeError } from "../runtime/errors.ts";
import { context } from "./context.ts";
import type { AnyHandle } from "./handle.ts";
import type { Storage } from "./memory.ts";

/** A tensor's elements in JavaScript: Float32Array for float32, Int32Array for int32, Uint8Array for uint8 and bool. */
export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** A view of a tensor's elements at an address in a buffer. */
export function elementsAt(buffer: ArrayBufferLike, address: number, { dtype, shape }: Spec): TypedArray {
  const size = sizeOf(shape);
  return dtype === "float32"
    ? new Float32Array(buffer, address, size)
    : dtype === "int32"
      ? new Int32Array(buffer, address, size)
      : new Uint8Array(buffer, address, size);
}

/** structuredClone shows the source of this function in its error, so the function contains the message. */
export const cannotBeCloned = () =>
  "A tensor lives in WASM memory. Send x.data and x.shape, and recreate it with tensor(data, shape).";

/** The error for a JavaScript operator that is applied to a tensor. */
export const operatorError = ({ shape }: Spec): Error =>
  new TypeError(
    `operator: +, -, <, > and == do not work on tensors, got a tensor ${show(shape)}. ` +
      "Use x.add(y), x.gt(y) or x.eq(y), x.item() for a number, or String(x) for text.",
  );

/** The error for using a disposed tensor. */
export function disposedError(op: string, { dtype, shape }: Spec, { storage, op: maker, freedBy }: AnyHandle): Error {
  const what = `${op}: the ${dtype} tensor ${show(shape)} made by ${maker} was disposed by`;
  return new DisposedError(
    storage
      ? `${what} nabla's dispose(), which frees all tensors. Copy the elements first: x.data.`
      : `${what} ${freedBy}${freedBy.includes(". ") ? "" : ". Return it from the scope, or keep() or clone() it first"}.`,
  );
}

/** The error for a tensor whose shape the caller changed. */
export const changedShapeError = (op: string, { shape }: Spec): Error =>
  new Error(
    `${op}: the shape of a tensor was changed to ${show(shape)}. Shapes are read-only: copy one with [...x.shape], ` +
      "or use reshape(…) or permute(…).",
  );

/** @throws Error after an assignment such as x[0] = 5 */
export function requireNoIndices(op: string, tensor: Spec): void {
  // A for…in loop visits indices before all other properties.
  for (const name in tensor) {
    if (Number.isNaN(Number(name))) break;
    throw new Error(`${op}: elements cannot be set with x[${name}] = …. Use copyFrom(values), or where(mask, a, x).`);
  }
}

/** The error for reading a symbolic tensor. */
export function noValueError(op: string, { dtype, shape }: Spec, maker: string, storage: Storage): Error {
  const site = context.recorder?.siteOf(storage);
  return new TraceError(
    `${op}: the ${dtype} tensor ${show(shape)} made by ${maker}${site ? ` at ${site}` : ""} has no value ` +
      `while ${context.recorder?.name ?? "compile"} records the function. Return it and read it outside, or choose between values with where(…).`,
  );
}
