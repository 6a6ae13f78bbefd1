/** Estimates the cost of an op call, to decide whether threads should share it. */
import type { Encoder } from "../../runtime/encoder.ts";
import { threadCount } from "../../runtime/engine.ts";
import type { AnyOp, EncodeIO } from "./op.ts";
import { bytesPerElement, type Value } from "./value.ts";

/** The properties of a call that determine its cost. */
export interface Call {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: unknown;
}

/** The number of elements in the largest operand or, if the op does not use all of them, the number that it uses. */
function elements(op: AnyOp, { inputs, outputs, attributes }: Call): number {
  if (op.touches) return op.touches(inputs, outputs, attributes);
  let most = 0;
  for (const { size } of inputs) most = Math.max(most, size);
  for (const { size } of outputs) most = Math.max(most, size);
  return most;
}

/** The number of floating-point operations in a call. */
export function flopsOf(op: AnyOp, call: Call): number {
  const count = op.products ?? op.flops;
  return count ? count(call.inputs, call.outputs, call.attributes) : elements(op, call);
}

/** The number of floating-point operations in a call's products; 0 if the op computes no products. */
export const productFlopsOf = ({ products }: AnyOp, { inputs, outputs, attributes }: Call): number =>
  products?.(inputs, outputs, attributes) ?? 0;

/**
 * The number of operations in a call: the number of its floating-point operations or of the elements that it uses, whichever is
 * larger.
 */
export const operationsOf = (op: AnyOp, call: Call): number => Math.max(flopsOf(op, call), elements(op, call));

/** The nanoseconds that reading a byte takes if it is in no cache: 20 GB/s. */
const READ = 0.05;

/**
 * Estimates the time of a call on one thread, in nanoseconds. Products of few rows use each weight only once or a few times, so reading
 * the weights takes longer than the arithmetic.
 */
function nanosecondsOf(op: AnyOp, call: Call): number {
  const bytes = op.products ? call.inputs.reduce((sum, x) => sum + x.size * bytesPerElement[x.dtype], 0) : 0;
  return Math.max(op.cost * operationsOf(op, call), READ * bytes);
}

/** The thresholds for sharing work, in nanoseconds. Tests lower them so that everything is shared. */
export const sharing = {
  /**
   * The minimum work in a share. A thread needs a few tenths of a microsecond to take a share, and data must move
   * between cores.
   */
  least: 3000,
  /**
   * The minimum time that sharing a program must save, even if the program is a single op. Waking the other threads and
   * waiting for them can cost this much.
   */
  program: 20_000,
};

/** Whether to wake other threads for a program, given the nanoseconds that sharing would save. */
export const isWorthWaking = (saved: number): boolean => saved > 0 && saved >= sharing.program;

/**
 * Writes an op's instructions, divided into as many shares as are worthwhile. Returns the nanoseconds that sharing
 * saves. Set `isProgram` if these instructions are the whole program.
 */
export function encodeShared<A>(op: AnyOp, encoder: Encoder, io: EncodeIO<A>, isProgram = false): number {
  const threads = threadCount();
  if (threads === 1) {
    op.encode(encoder, io);
    return 0;
  }
  const nanoseconds = nanosecondsOf(op, io);
  const most = op.units ? Math.min(threads, op.units(io.inputs, io.outputs, io.attributes)) : threads;
  const shares = Math.max(1, Math.min(most, Math.floor(nanoseconds / sharing.least)));
  const saved = nanoseconds * (1 - 1 / shares);
  if (shares === 1 || (isProgram && !isWorthWaking(saved))) {
    op.encode(encoder, io);
    return saved;
  }
  encoder.shares = shares;
  try {
    op.encode(encoder, io);
  } finally {
    encoder.shares = 1;
  }
  return saved;
}
