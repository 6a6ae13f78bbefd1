/**
 * Creates the entries of pointwise ops: ops with one operand, derivatives, and ops with two operands that broadcast.
 */
import { Type } from "../../../assembly/opcodes.ts";
import { ShapeError, TypeError } from "../../runtime/errors.ts";
import {
  type BinaryCode,
  type CompareCode,
  type DerivativeCode,
  encodeBinary,
  encodeDerivative,
  encodeUnary,
  type UnaryCode,
} from "../../runtime/instructions.ts";
import { apply, constant, type OpDefinition, type Operand } from "../definition/op.ts";
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  isInt32,
  requireType,
  sameShape,
  show,
  typeCode,
  type Value,
} from "../definition/value.ts";
import { cast } from "../shape/shape.ts";

/** The two parameters of a pointwise kernel. */
export type Parameters = readonly [p: number, q: number];

/** A function with its op-table entry attached, as `definition`. */
export type Defined<F, A = unknown> = F & {
  readonly definition: OpDefinition<A>;
};

/**
 * A pointwise op with one operand and no other arguments. Entries that refer to each other must declare this type,
 * because TypeScript cannot infer it.
 */
export type UnaryOp = Defined<(x: Operand) => Value, Parameters>;

const NONE: Parameters = [0, 0];

/** @throws TypeError unless x is a number or a tensor */
export function requireOperand(op: string, x: Operand): void {
  if (typeof x === "number" || (typeof x === "object" && x !== null && "dtype" in x && Array.isArray(x.shape))) return;
  const what = Array.isArray(x) ? "an array" : typeof x === "string" ? `"${x}"` : String(x);
  throw new TypeError(`${op}: ${what} is neither a tensor nor a number. Wrap values in tensor(…).`);
}

/** Converts numbers and other element types to float32. */
export function float(x: Operand, op = "op"): Value {
  requireOperand(op, x);
  return typeof x === "number" ? constant(x) : cast(x, "float32");
}

/** Converts int32, bool and uint8 tensors to int32, which is exact, and numbers and float32 tensors to float32. */
export function exact(x: Operand, op = "op"): Value {
  requireOperand(op, x);
  return typeof x === "number" || x.dtype === "float32" ? float(x, op) : cast(x, "int32");
}

interface UnaryEntry<Arguments extends unknown[]> {
  code: UnaryCode;
  name: string;
  /**
   * Nanoseconds per element. Must be a literal, because tools/pointwise.mjs reads it from the source: it unrolls a
   * kernel's loop only if the cost is below 1. Default 0.2.
   */
  cost?: number;
  saves: "none" | "input" | "output";
  /** Converts the public arguments to the kernel's parameters. */
  parameters?: (...args: Arguments) => Parameters;
  /**
   * Computes the op for int32 with int32 arithmetic. Returns null if the parameters require float32. Absent if the op's
   * results are not integers.
   */
  integer?: (x: Value, p: number, q: number) => Value | null;
  /** The gradient, in terms of ops; null if it is zero everywhere. */
  vjp: (dy: Value, saved: { x: Value; y: Value; p: number; q: number }) => [Value | null];
}

/** Defines a pointwise op with one operand. */
export function unary<Arguments extends unknown[] = []>(
  entry: UnaryEntry<Arguments>,
): Defined<(x: Operand, ...args: Arguments) => Value, Parameters> {
  const { code, name, saves } = entry;
  const definition: OpDefinition<Parameters> = {
    code,
    name,
    cost: entry.cost ?? 0.2,
    chainable: "same",
    saves,
    inPlace: [0],
    infer: ([x]) => [{ shape: x!.shape, dtype: "float32" }],
    encode: (encoder, { inputs: [x], outputs: [out], attributes: [p, q], address }) =>
      encodeUnary(encoder, code, { out: address(out!), x: address(x!), n: x!.size, p, q }),
    vjp: (dy, { inputs, outputs, attributes: [p, q] }) => entry.vjp(dy, { x: inputs[0]!, y: outputs[0]!, p, q }),
  };
  const { integer } = entry;
  const call = (x: Operand, ...args: Arguments) => {
    const parameters = entry.parameters?.(...args) ?? NONE;
    const isWhole = integer && typeof x === "object" && x !== null && "dtype" in x && x.dtype !== "float32";
    const whole = isWhole ? integer(cast(x, "int32"), ...parameters) : null;
    return whole ?? apply(definition, [float(x, name)], parameters);
  };
  return Object.assign(call, { definition });
}

interface DerivativeEntry {
  code: DerivativeCode;
  name: string;
  /**
   * Nanoseconds per element. Must be a literal, because tools/pointwise.mjs reads it from the source: it unrolls a
   * kernel's loop only if the cost is below 1. Default 0.15.
   */
  cost?: number;
  /** The gradient with respect to the second operand, x or y, given the gradient d of the result; null if it is zero. */
  vjp: (d: Value, saved: { dy: Value; x: Value; p: number; q: number }) => Value | null;
}

/**
 * Defines a derivative kernel: (dy, x or y) → dx. It is linear in dy, so its gradient with respect to dy is the same
 * op, applied to the incoming gradient.
 */
export function derivative(
  entry: DerivativeEntry,
): Defined<(dy: Value, x: Value, p?: number, q?: number) => Value, Parameters> {
  const { code, name } = entry;
  const definition: OpDefinition<Parameters> = {
    code,
    name,
    cost: entry.cost ?? 0.15,
    chainable: "same",
    saves: "input",
    inPlace: [0, 1],
    infer([dy, x]) {
      if (!sameShape(dy!.shape, x!.shape))
        throw new ShapeError(`${name}: ${show(dy!.shape)} and ${show(x!.shape)} differ.`);
      for (const input of [dy!, x!]) requireType(name, input, "float32");
      return [{ shape: dy!.shape, dtype: "float32" }];
    },
    encode: (encoder, { inputs: [dy, x], outputs: [out], attributes: [p, q], address }) =>
      encodeDerivative(encoder, code, { out: address(out!), dy: address(dy!), x: address(x!), n: x!.size, p, q }),
    vjp: (d, { inputs: [dy, x], attributes: [p, q], needs }) => [
      needs[0] ? call(d, x!, p, q) : null,
      needs[1] ? entry.vjp(d, { dy: dy!, x: x!, p, q }) : null,
    ],
  };
  const call = (dy: Value, x: Value, p = 0, q = 0) => apply(definition, [dy, x], [p, q]);
  return Object.assign(call, { definition });
}

/** How to round a number that is compared: as the first operand, and as the second. */
interface Rounding {
  readonly first: (x: number) => number;
  readonly second: (x: number) => number;
}

interface BinaryEntry {
  code: BinaryCode | CompareCode;
  name: string;
  /**
   * Nanoseconds per element. Must be a literal, because tools/pointwise.mjs reads it from the source: it unrolls a
   * kernel's loop only if the cost is below 1. Default 0.2.
   */
  cost?: number;
  /** `int`: int32 operands give int32. `bool`: the result is a mask; operands are float32 or int32. */
  type?: "float" | "int" | "bool";
  saves: "none" | "input" | "output" | "both";
  /**
   * Computes the exact int32 result for an int32 tensor and a whole number that promotion would round. Returns null if
   * the operands should be promoted after all.
   */
  integer?: (x: Value, c: number) => Value | null;
  /** Whether `integer` also applies when the number is the first operand. */
  commutes?: boolean;
  /** The gradients, before autograd sums them over broadcast dims. */
  vjp?: (dy: Value, saved: { a: Value; b: Value; y: Value; needs: readonly boolean[] }) => [Value | null, Value | null];
  /** For <, ≤, > and ≥: how to round a number that is compared with integers. */
  round?: Rounding;
}

/**
 * Converts both operands to one element type: int32 if `keepInt` and neither is float32, otherwise float32. Two numbers
 * become float32. With `keepInt`, they become int32 if int32 can represent both of them and float32 cannot.
 */
export function promote(op: string, a: Operand, b: Operand, keepInt: boolean): [Value, Value] {
  requireOperand(op, a);
  requireOperand(op, b);
  const isFloat = (x: Operand) => (typeof x === "number" ? !isInt32(x) : x.dtype === "float32");
  const isExact = (x: Operand) => typeof x !== "number" || Math.fround(x) === x;
  const fits = typeof a === "number" && typeof b === "number" && isExact(a) && isExact(b);
  const dtype = keepInt && !fits && !isFloat(a) && !isFloat(b) ? "int32" : "float32";
  const convert = (x: Operand) => (typeof x === "number" ? constant(x, dtype) : cast(x, dtype));
  return [convert(a), convert(b)];
}

/**
 * The operands of an exact comparison. int32 and float32 tensors are compared without a conversion. If int32 cannot
 * represent a number that is compared with an int32 tensor, the number is replaced with an operand that compares the
 * same way with every int32: the integer that `first` or `second` rounds it to, ±∞, or NaN.
 */
function comparable(op: string, a: Operand, b: Operand, round?: Rounding): [Value, Value] {
  requireOperand(op, a);
  requireOperand(op, b);
  const isWhole = (x: Operand) => typeof x === "object" && x.dtype !== "float32";
  const beside = (x: Operand, other: Operand, rounded: ((x: number) => number) | undefined): Value => {
    // float32 can represent every bool and uint8.
    if (typeof x === "object")
      return cast(
        x,
        x.dtype === "float32" || (x.dtype !== "int32" && !isWhole(other) && typeof other === "object")
          ? "float32"
          : "int32",
      ); // prettier-ignore
    if (!isWhole(other) || Number.isNaN(x)) return constant(x);
    const whole = rounded ? rounded(x) : x;
    if (isInt32(whole)) return constant(whole, "int32");
    return constant(Number.isInteger(x) || rounded ? Math.sign(x) * Infinity : Number.NaN);
  };
  return [beside(a, b, round?.first), beside(b, a, round?.second)];
}

/** Defines a pointwise op with two operands, which broadcast as in NumPy. */
export function binary(entry: BinaryEntry): Defined<(a: Operand, b: Operand) => Value, null> {
  const { code, name, type = "float", saves } = entry;
  const definition: OpDefinition<null> = {
    code,
    name,
    cost: entry.cost ?? 0.2,
    chainable: "scalar",
    saves,
    inPlace: type === "bool" ? [] : [0, 1],
    infer: ([a, b]) => [
      {
        shape: broadcastShapes(name, a!.shape, b!.shape),
        dtype: type === "bool" ? "bool" : a!.dtype,
      },
    ],
    encode(encoder, { inputs: [a, b], outputs: [out], address }) {
      const dims = sameShape(a!.shape, b!.shape)
        ? []
        : collapse(out!.shape, broadcastStrides(a!.shape, out!.shape), broadcastStrides(b!.shape, out!.shape));
      // Operands with the same shape, or with one element each, form a single row.
      if (!dims.length) dims.push({ size: out!.size, first: 1, second: 1 });
      const mixed = a!.dtype === "int32" ? Type.IntFloat : Type.FloatInt;
      const type = a!.dtype === b!.dtype ? typeCode[a!.dtype] : mixed;
      encodeBinary(encoder, code, { out: address(out!), a: address(a!), b: address(b!), type, dims });
    },
  };
  const { vjp } = entry;
  const complete: OpDefinition<null> = vjp
    ? {
        ...definition,
        vjp: (dy, { inputs, outputs, needs }) => vjp(dy, { a: inputs[0]!, b: inputs[1]!, y: outputs[0]!, needs }),
      }
    : definition;
  const operands = (a: Operand, b: Operand): [Value, Value] =>
    type === "bool" ? comparable(name, a, b, entry.round) : promote(name, a, b, type === "int");
  const { integer, commutes } = entry;
  const beside = (x: Operand, c: Operand): Value | null => {
    const isWhole = integer && Number.isInteger(c) && typeof x === "object" && x !== null && "dtype" in x;
    return isWhole && x.dtype !== "float32" ? integer(cast(x, "int32"), c as number) : null;
  };
  const call = (a: Operand, b: Operand) =>
    (integer && (beside(a, b) ?? (commutes ? beside(b, a) : null))) ?? apply(complete, operands(a, b), null);
  return Object.assign(call, { definition: complete });
}
