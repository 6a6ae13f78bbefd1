/**
 * The signature of a recording: shapes and dtypes of tensors in the arguments, and the values of everything else. Matching and binding run
 * on every call and allocate nothing.
 */
import { rejectOtherCopy } from "../core/copies.ts";
import { dtypeOf } from "../core/creation.ts";
import type { TypedArray } from "../core/elements.ts";
import { Tensor } from "../core/tensor.ts";
import { type DType, type Shape, sameShape, show } from "../ops/definition/value.ts";
import { engine } from "../runtime/engine.ts";
import { TypeError } from "../runtime/errors.ts";
import { isPlainObject } from "../runtime/kinds.ts";

/** The description of an argument. `input` is the index of a tensor or typed array among the inputs of the recording. */
type Part =
  | { readonly kind: "tensor"; readonly input: number; readonly shape: Shape; readonly dtype: DType }
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "array"; readonly parts: readonly Part[] }
  | { readonly kind: "object"; readonly keys: readonly string[]; readonly parts: readonly Part[] };

export interface Signature {
  readonly parts: readonly Part[];
  /** The shape and dtype of each tensor or typed array, in order. */
  readonly inputs: readonly { readonly shape: Shape; readonly dtype: DType }[];
}

/** Describes arguments. @param found receives the tensors and typed arrays in order @throws TypeError for unsupported values */
export function signatureOf(name: string, args: readonly unknown[], found?: (Tensor | TypedArray)[]): Signature {
  const inputs: { shape: Shape; dtype: DType }[] = [];
  const describe = (value: unknown, above: readonly object[]): Part => {
    if (value instanceof Tensor || ArrayBuffer.isView(value)) {
      const dtype = value instanceof Tensor ? value.dtype : dtypeOf(value);
      if (!dtype) throw unsupported(name);
      found?.push(value as Tensor | TypedArray);
      const shape = value instanceof Tensor ? value.shape : [(value as TypedArray).length];
      return { kind: "tensor", input: inputs.push({ shape, dtype }) - 1, shape, dtype };
    }
    rejectOtherCopy(`compile(${name})`, "an argument", value);
    if (typeof value === "function" || typeof value === "symbol") throw unsupported(name);
    if (typeof value !== "object" || value === null) return { kind: "value", value };
    if (above.includes(value))
      throw new TypeError(
        `compile(${name}): an argument contains itself. Pass tensors, arrays or plain objects without cycles.`,
      );
    const inside = [...above, value];
    if (Array.isArray(value)) return { kind: "array", parts: value.map((part) => describe(part, inside)) };
    if (!isPlainObject(value)) throw unsupported(name);
    const keys = Object.keys(value);
    return { kind: "object", keys, parts: keys.map((key) => describe(value[key], inside)) };
  };
  return { parts: args.map((arg) => describe(arg, [])), inputs };
}

const unsupported = (name: string): TypeError =>
  new TypeError(
    `compile(${name}): arguments must be tensors, typed arrays, numbers, strings, booleans, or arrays and plain objects of them.`,
  );

/** Whether a value matches the description. @throws DisposedError */
export function matches(part: Part, value: unknown): boolean {
  switch (part.kind) {
    case "tensor":
      if (value instanceof Tensor) {
        value.storage("compile");
        return value.dtype === part.dtype && sameShape(value.shape, part.shape);
      }
      return (
        ArrayBuffer.isView(value) &&
        part.shape.length === 1 &&
        (value as TypedArray).length === part.shape[0] &&
        dtypeOf(value) === part.dtype
      );
    case "value":
      return Object.is(value, part.value);
    case "array":
      if (!Array.isArray(value) || value.length !== part.parts.length) return false;
      for (let i = 0; i < value.length; i++) if (!matches(part.parts[i]!, value[i])) return false;
      return true;
    case "object": {
      if (typeof value !== "object" || value === null || !isPlainObject(value)) return false;
      let count = 0;
      for (const _ in value) count++;
      if (count !== part.keys.length) return false;
      for (let i = 0; i < count; i++) {
        const key = part.keys[i]!;
        if (!(key in value) || !matches(part.parts[i]!, value[key])) return false;
      }
      return true;
    }
  }
}

/** Copies the elements of a matching argument to the inputs of the recording. */
export function bind(part: Part, value: unknown, inputs: readonly Tensor[]): void {
  if (part.kind === "tensor") {
    const { address } = inputs[part.input]!.storage("compile");
    const { heap } = engine();
    if (value instanceof Tensor) {
      const from = value.storage("compile");
      heap.u8.copyWithin(address, from.address, from.address + from.bytes);
    } else if (part.dtype === "uint8") heap.u8.set(value as Uint8Array, address);
    else (part.dtype === "int32" ? heap.i32 : heap.f32).set(value as Float32Array, address / 4);
  } else if (part.kind === "array") {
    for (let i = 0; i < part.parts.length; i++) bind(part.parts[i]!, (value as unknown[])[i], inputs);
  } else if (part.kind === "object") {
    for (let i = 0; i < part.parts.length; i++)
      bind(part.parts[i]!, (value as Record<string, unknown>)[part.keys[i]!], inputs);
  }
}

/** Rebuilds the arguments, with `make(input)` in place of each tensor or typed array. */
export function substitute(parts: readonly Part[], make: (input: number) => Tensor): unknown[] {
  const visit = (part: Part): unknown => {
    switch (part.kind) {
      case "tensor":
        return make(part.input);
      case "value":
        return part.value;
      case "array":
        return part.parts.map(visit);
      case "object":
        return Object.fromEntries(part.keys.map((key, i) => [key, visit(part.parts[i]!)]));
    }
  };
  return parts.map(visit);
}

/** The path of each tensor or typed array, such as `arguments[0].labels[1]`. */
export function pathsOf({ parts }: Signature): string[] {
  const visit = (part: Part, path: string): string[] => {
    switch (part.kind) {
      case "tensor":
        return [path];
      case "value":
        return [];
      case "array":
        return part.parts.flatMap((inner, i) => visit(inner, `${path}[${i}]`));
      case "object":
        return part.keys.flatMap((key, i) => visit(part.parts[i]!, `${path}.${key}`));
    }
  };
  return parts.flatMap((part, i) => visit(part, `arguments[${i}]`));
}

/** The arguments as listings show them, for example `float32[4, 2], 3`. */
export function showSignature({ parts }: Signature): string {
  const visit = (part: Part): string => {
    switch (part.kind) {
      case "tensor":
        return `${part.dtype}${show(part.shape)}`;
      case "value":
        return typeof part.value === "string" ? JSON.stringify(part.value) : String(part.value);
      case "array":
        return `[${part.parts.map(visit).join(", ")}]`;
      case "object":
        return `{ ${part.keys.map((key, i) => `${key}: ${visit(part.parts[i]!)}`).join(", ")} }`;
    }
  };
  return parts.map(visit).join(", ");
}
