/**
 * The definition of an op: shape rule, instruction and gradient. There is one entry per op code; table.ts collects
 * them. core installs the function that runs ops, so this layer imports nothing above it.
 */
import { type Family, Head, type Op } from "../../../assembly/opcodes.ts";
import type { Encoder } from "../../runtime/encoder.ts";
import type { DType, Shape, Spec, Value } from "./value.ts";

/** An operand as people write it. */
export type Operand = Value | number;

/** What a gradient rule sees of the forward call: values where `saves` names them, else shape and type. */
export interface Context<A> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Which inputs' gradients are asked for; others may be left out (null). */
  readonly needs: readonly boolean[];
  /** Gradients that arrived at the outputs after the first, in their order; undefined where none did. */
  readonly more: readonly (Value | undefined)[];
}

/** What an op's instructions work on. */
export interface EncodeIO<A> {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: A;
  /** Where a value lives. */
  readonly address: (value: Value) => number;
}

/** A range that all elements of an input (int32 or float32) must be in, from `low` to `high`. */
export interface RangeCheck {
  /** The input's number. */
  readonly input: number;
  readonly low: number;
  readonly high: number;
  /** Whether the input is float32; else it is int32. */
  readonly isFloat?: boolean;
  /** A value that is allowed besides. */
  readonly skip?: number;
  /** What to throw for a value, and the place in the flat array where it stands. */
  readonly error: (value: number, at: number) => Error;
}

export interface OpDefinition<A = unknown> {
  readonly code: Op;
  readonly name: string;
  /** Results' shapes and types. @throws ShapeError, DTypeError */
  readonly infer: (inputs: readonly Value[], attributes: A) => Spec[];
  /**
   * Nanoseconds of one thread per operation. `npm run bench -- costs` measures them; those of the table are from an Intel Sapphire Rapids
   * at 2.6 GHz. Half or twice as much does no harm: they only decide what is worth sharing among threads. 0: never shared.
   */
  readonly cost: number;
  /** Writes the instructions. */
  readonly encode: (encoder: Encoder, io: EncodeIO<A>) => void;
  /**
   * What the gradient rule needs to be kept: nothing (the default), the inputs (all, or those numbered), the outputs, or
   * both. Of what is not kept, the rule sees shape and type only.
   */
  readonly saves?: "none" | "input" | "output" | "both" | readonly number[];
  /**
   * The gradient with respect to each input, in terms of ops; null is zero. Absent where the op is not differentiable.
   */
  readonly vjp?: (dy: Value, context: Context<A>) => (Value | null)[];
  /** How many outputs, from the first, gradients flow back from (default 1); others serve the rule. */
  readonly differentiable?: number;
  /**
   * The same outputs (those that are differentiable) from other ops: what gradients that are to be differentiated again go
   * through, where the rule itself is a kernel. Needs all inputs saved.
   */
  readonly composed?: (inputs: readonly Value[], attributes: A) => Value[];
  /** Inputs whose memory the first output may take over. */
  readonly inPlace?: readonly number[];
  /** Inputs that are written, for ops without outputs: their places. */
  readonly mutates?: (inputs: readonly Value[], attributes: A) => readonly number[];
  /**
   * Whether its instruction can be part of a chain (pointwise/chain.ts): "same" if all operands have the result's shape, "scalar" if those
   * of one element may be broadcast, too.
   */
  readonly chainable?: "same" | "scalar";
  /** Whether it draws random numbers, which moves the generator on. */
  readonly random?: boolean;
  /** Whether it is an optimizer's update: calls that differ only in the parameter can become one instruction. */
  readonly update?: boolean;
  /** Floating-point operations of a call. Default: one for each element of the largest operand. */
  readonly flops?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /** Parts of a call that can be computed apart, where these may be few. Default: as many as are asked for. */
  readonly units?: (inputs: readonly Value[], outputs: readonly Value[], attributes: A) => number;
  /** Inputs whose elements must be in a range, such as indices. Checked on every call, before anything outside the call changes. */
  readonly checks?: (inputs: readonly Value[], attributes: A) => readonly RangeCheck[];
  /** For each output: n if all its elements are in 0 … n − 1 whatever the inputs are. They need no check as indices. */
  readonly below?: (inputs: readonly Value[], attributes: A) => readonly (number | undefined)[];
}

/** An entry without its attributes' type: the table and the executors only pass attributes on. */
// biome-ignore lint/suspicious/noExplicitAny: attributes are both read and written by entries, so nothing narrower fits all
export type AnyOp = OpDefinition<any>;

/** The ops that it shares its layout and its kernels' dispatch with. */
export const familyOf = ({ code }: AnyOp): Family => code >> Head.family;

/** Who runs ops: eager mode, or a recorder. */
export interface Executor {
  execute(op: AnyOp, inputs: readonly Value[], attributes: unknown): Value[];
  /** A tensor without dimensions that holds a number. */
  constant(value: number, dtype: DType): Value;
  /** The same elements under another shape, without a copy. */
  reshape(x: Value, shape: Shape): Value;
}

let executor: Executor;

/** Called once, by the floor above. */
export function installExecutor(e: Executor): void {
  executor = e;
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

/** The same elements under another shape; `shape` must hold as many. */
export function reshaped(x: Value, shape: Shape): Value {
  return executor.reshape(x, shape);
}
