/** What a call of an op costs, and whether it is worth sharing among threads. */
import { Op } from "../../assembly/opcodes.ts";
import { type Encoder, threadCount } from "../runtime/engine.ts";
import type { AnyOp, EncodeIO } from "./op.ts";
import type { Value } from "./value.ts";

/** An op's call, as far as its cost goes. */
export interface Call {
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: unknown;
}

/** Elements of the largest operand. */
const largest = ({ inputs, outputs }: Call): number =>
  [...inputs, ...outputs].reduce((most, { size }) => Math.max(most, size), 0);

/** Floating-point operations of a call. */
export function flopsOf(call: Call): number {
  const { op, inputs, outputs, attributes } = call;
  if (op.flops) return op.flops(inputs, outputs, attributes);
  // Moving and looking up elements computes nothing.
  return op.code >= Op.Fill && op.code <= Op.OneHot ? 0 : largest(call);
}

/**
 * Nanoseconds of one thread per operation, by families of codes up to the one named: medians of `npm run bench -- threads`,
 * which prints what it finds on a machine beside them.
 */
const COSTS: readonly (readonly [Op, number])[] = [
  [Op.GruGrad, 0.02],
  [Op.Chain, 0.2],
];

/** What a call takes on one thread, in nanoseconds. */
export function nanosecondsOf(call: Call): number {
  const cost = COSTS.find(([last]) => call.op.code <= last)?.[1] ?? 0;
  return cost * Math.max(flopsOf(call), largest(call));
}

/** Sharing is tuned by these, in nanoseconds. Tests set them to next to nothing, to have everything shared. */
export const sharing = {
  /** Work that a share must have at least: taking one costs some tenths of a microsecond, and moves memory between cores. */
  least: 3000,
  /** What a program must save in all: waking the others may cost as much. */
  program: 5000,
};

/** Whether a program that saves so many nanoseconds is worth other threads' time. */
export const isWorthWaking = (saved: number): boolean => saved > 0 && saved >= sharing.program;

/** Writes an op's instructions, in as many shares as pay; returns the nanoseconds that this saves. */
export function encodeShared<A>(op: AnyOp, encoder: Encoder, io: EncodeIO<A>): number {
  const threads = threadCount();
  if (threads === 1) {
    op.encode(encoder, io);
    return 0;
  }
  const nanoseconds = nanosecondsOf({ op, ...io });
  const shares = Math.max(1, Math.min(threads, Math.floor(nanoseconds / sharing.least)));
  encoder.shares = shares;
  try {
    op.encode(encoder, io);
  } finally {
    encoder.shares = 1;
  }
  return nanoseconds * (1 - 1 / shares);
}
