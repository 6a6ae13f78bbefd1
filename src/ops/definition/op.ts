/**
 * The definition of an op: its shape rule, its instruction and its gradient. Each op code has one definition, its entry
 * in table.ts. core installs the functions that run ops, so this layer imports nothing from the layers above it.
 */
import { type Family, Head, type Op } from "../../../assembly/opcodes.ts";
import type { Encoder } from "../../runtime/encoder.ts";
import type { DType, Shape, Spec, Value } from "./value.ts";

/** An operand, as callers pass it: a tensor or a number. */
export type Operand = Value | number;

/**
 * The forward call, as the gradient rule sees it. Values that `saves` does not name have a shape and a type, but no
 * elements.
 */
export interface Context<A> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** For each input, whether it needs a gradient. The rule may return null for inputs that do not. */
  readonly needs: readonly boolean[];
  /** The gradients of the outputs after the first, in order; undefined for an output without a gradient. */
  readonly more: readonly (Value | undefined)[];
}

/** What `encode` needs to write an op's instructions: the operands, their attributes and their addresses. */
export interface EncodeIO<A> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Returns the address of a value in linear memory. */
  readonly address: (value: Value) => number;
}

/** The gradient of a table [n, …] that is 0 except in some rows. */
export interface SparseRows {
  /** The row numbers, int32 [count]. Rows whose number is outside 0 … n − 1 are ignored. */
  readonly index: Value;
  /** The rows, float32 [count, …]. Rows with the same number are added. */
  readonly rows: Value;
}

/** A check that all elements of an int32 or float32 input are in the range from `low` to `high`, inclusive. */
export interface RangeCheck {
  /** The index of the input. */
  readonly input: number;
  readonly low: number;
  readonly high: number;
  /** Whether the input is float32 rather than int32. */
  readonly isFloat?: boolean;
  /** A value that is allowed even if it is outside the range. */
  readonly skip?: number;
  /** Creates the error for a value that is out of range, where `at` is its index in the flat array. */
  readonly error: (value: number, at: number) => Error;
}

export interface OpDefinition<A = unknown> {
  readonly code: Op;
  readonly name: string;
  /** The shapes and types of the results. @throws ShapeError, DTypeError */
  readonly infer: (inputs: readonly Value[], attributes: A) => Spec[];
  /**
   * The cost in nanoseconds per operation on one thread. `npm run bench -- costs` measures it; the entries hold the
   * costs on an Intel Sapphire Rapids at 2.6 GHz. The cost determines whether threads share a call; it may be wrong by
   * a factor of two without harm. Products take at least the time for reading their inputs. Calls with cost 0 are never shared.
   */
  readonly cost: number;
  /** Writes the op's instructions to the encoder. */
  readonly encode: (encoder: Encoder, io: EncodeIO<A>) => void;
  /**
   * The values to keep for the gradient rule: none (the default), all inputs, all outputs, both, or those at the given
   * indices, which count the inputs first and then the outputs. The rule sees only the shape and type of the other
   * values.
   */
  readonly saves?: "none" | "input" | "output" | "both" | readonly number[];
  /**
   * Computes the gradient with respect to each input, using ops; null stands for zero. Absent if the op is not
   * differentiable.
   */
  readonly vjp?: (dy: Value, context: Context<A>) => (Value | null)[];
  /**
   * The gradient with respect to the first input as rows, if the call asks for a sparse gradient; otherwise undefined. Used instead of `vjp` if
   * this input is a leaf that needs a gradient, and no second derivatives are needed.
   */
  readonly sparse?: (dy: Value, context: Context<A>) => SparseRows | undefined;
  /**
   * The number of outputs that have gradients, counted from the first (default 1). The other outputs are only for the
   * gradient rule.
   */
  readonly differentiable?: number;
  /**
   * Computes the differentiable outputs with other ops. Required for higher-order gradients if the gradient rule runs a
   * kernel that has no gradient of its own. An op that defines `composed` must save all inputs.
   */
  readonly composed?: (inputs: readonly Value[], attributes: A) => Value[];
  /** The op that computes only the first output, with the same bits, if there is one for these attributes. */
  readonly first?: (attributes: A) => OpDefinition<A> | undefined;
  /** The indices of the inputs whose memory the first output may reuse. */
  readonly inPlace?: readonly number[];
  /** The indices of the inputs that the op writes to. */
  readonly mutates?: (inputs: readonly Value[], attributes: A) => readonly number[];
  /**
   * Present if the op's instruction can be part of a chain (pointwise/chain.ts): "same" if all operands must have the
   * result's shape, "scalar" if one-element operands may also be broadcast.
   */
  readonly chainable?: "same" | "scalar";
  /** Whether the op draws random numbers, which advances the generator. */
  readonly random?: boolean;
  /**
   * Whether the op is an optimizer update. compile can merge updates with the same learning rate and attributes into
   * one instruction.
   */
  readonly update?: boolean;
  /**
   * The number of floating-point operations in a call that computes products (matrix products, convolutions, attention,
   * recurrent layers, linear algebra): two per multiply-add whose result is used. Other ops define `flops` instead.
   */
  readonly products?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /**
   * The number of floating-point operations in a call without products; 0 for ops that only copy elements. Default: one
   * per element of the largest operand.
   */
  readonly flops?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /** The number of elements that a call reads or writes. Define it only if that may be less than the size of the largest operand. */
  readonly touches?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /**
   * The number of independent parts into which a call can be divided. Define `units` only if the number can be small.
   * Default: no limit.
   */
  readonly units?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /**
   * The ranges in which the elements of certain inputs, such as indices, must lie. Every call checks them before it
   * changes any state.
   */
  readonly checks?: (inputs: readonly Value[], attributes: A) => readonly RangeCheck[];
  /**
   * For each output, n if its elements are always between 0 and n − 1, whatever the inputs are. Such an output needs no
   * check when it is used as an index.
   */
  readonly below?: (inputs: readonly Value[], attributes: A) => readonly (number | undefined)[];
}

/** An entry with attributes of any type: the table and the executors only pass attributes on. */
// biome-ignore lint/suspicious/noExplicitAny: attributes are both read and written by entries, so nothing narrower fits all
export type AnyOp = OpDefinition<any>;

/** An op's family. All ops in a family share an instruction layout and a dispatch case. */
export const familyOf = ({ code }: AnyOp): Family => code >> Head.family;

/** The functions that run ops, or record them for compile. */
export interface Executor {
  execute(op: AnyOp, inputs: readonly Value[], attributes: unknown): Value[];
  /** Returns a tensor with shape [] that holds a single number. */
  constant(value: number, dtype: DType): Value;
  /** Returns the same elements with a different shape, without copying them. */
  reshape(x: Value, shape: Shape): Value;
}

let executor: Executor;

/** Installs the executor. Called once, by core. */
export function installExecutor(e: Executor): void {
  executor = e;
}

/** Runs f with a different executor. */
export function withExecutor<T>(e: Executor, f: () => T): T {
  const outer = executor;
  executor = e;
  try {
    return f();
  } finally {
    executor = outer;
  }
}

/** Runs an op with one result. */
export function apply<A>(op: OpDefinition<A>, inputs: readonly Value[], attributes: A): Value {
  return executor.execute(op, inputs, attributes)[0]!;
}

/** Runs an op with any number of results. */
export function applyAll<A>(op: OpDefinition<A>, inputs: readonly Value[], attributes: A): Value[] {
  return executor.execute(op, inputs, attributes);
}

export function constant(value: number, dtype: DType = "float32"): Value {
  return executor.constant(value, dtype);
}

/** Returns the same elements with a different shape. Both shapes must have the same number of elements. */
export function reshaped(x: Value, shape: Shape): Value {
  return executor.reshape(x, shape);
}
