/** Estimates the cost of an op call, to decide whether threads should share it. */
import type { Encoder } from "../../runtime/encoder.ts";
import { threadCount } from "../../runtime/engine.ts";
import type { AnyOp, EncodeIO } from "./op.ts";
import type { Value } from "./value.ts";

/** What a call works on, as far as its cost goes. */
export interface Call {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: unknown;
}

/** Elements of the largest operand. */
function largest({ inputs, outputs }: Call): number {
  let most = 0;
  for (const { size } of inputs) most = Math.max(most, size);
  for (const { size } of outputs) most = Math.max(most, size);
  return most;
}

/** Floating-point operations of a call. */
export const flopsOf = (op: AnyOp, call: Call): number =>
  op.flops ? op.flops(call.inputs, call.outputs, call.attributes) : largest(call);

/** What a call's cost is counted in: floating-point operations, or elements where they are more. */
export const operationsOf = (op: AnyOp, call: Call): number => Math.max(flopsOf(op, call), largest(call));

/** Sharing is tuned by these, in nanoseconds. Tests set them to next to nothing, to have everything shared. */
export const sharing = {
  /** Work that a share must have at least: taking one costs some tenths of a microsecond, and moves memory between cores. */
  least: 3000,
  /** What a program must save in all, be it a single op: waking the others may cost as much, and so may waiting for them. */
  program: 20_000,
};

/** Whether a program that saves so many nanoseconds is worth other threads' time. */
export const isWorthWaking = (saved: number): boolean => saved > 0 && saved >= sharing.program;

/**
 * Writes an op's instructions, in as many shares as pay; returns the nanoseconds that this saves. `isProgram`: whether they are run by
 * themselves.
 */
export function encodeShared<A>(op: AnyOp, encoder: Encoder, io: EncodeIO<A>, isProgram = false): number {
  const threads = threadCount();
  if (threads === 1) {
    op.encode(encoder, io);
    return 0;
  }
  const nanoseconds = op.cost * operationsOf(op, io);
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
