/** Estimates the cost of an op call, to decide whether threads should share it. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Encoder, threadCount } from "../../runtime/engine.ts";
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
export function flopsOf(op: AnyOp, call: Call): number {
  if (op.flops) return op.flops(call.inputs, call.outputs, call.attributes);
  // Moving and looking up elements computes nothing.
  return op.code >= Op.Fill && op.code <= Op.OneHot ? 0 : largest(call);
}

/**
 * Nanoseconds of one thread per operation, by families of codes up to the one named. `npm run bench -- costs` measures them; these are
 * from an Intel Sapphire Rapids at 2.6 GHz. Half or twice as much does no harm: they only decide what is worth sharing.
 */
const COSTS: readonly (readonly [Op, number])[] = [
  [Op.Reciprocal, 0.2],
  [Op.Softplus, 1],
  [Op.LeakyRelu, 0.2],
  [Op.Mish, 1],
  [Op.Clamp, 0.4],
  [Op.Erf, 1.2],
  [Op.SeluGrad, 0.14],
  [Op.MishGrad, 1.3],
  [Op.Div, 0.15],
  [Op.Pow, 4],
  [Op.Minimum, 0.2],
  [Op.Mod, 1.5],
  [Op.LogisticSlope, 1],
  [Op.Where, 0.25],
  [Op.Sum, 0.1],
  [Op.ArgMin, 0.5],
  [Op.Squares, 0.15],
  [Op.Cumsum, 1],
  [Op.LogSoftmax, 1.6],
  [Op.LogSoftmaxGrad, 0.5],
  [Op.SoftCrossEntropyGrad, 1.5],
  [Op.Matmul, 0.02],
  [Op.Cast, 0.25],
  [Op.OneHot, 0.3],
  [Op.Uniform, 6],
  [Op.Normal, 11],
  [Op.RandomInteger, 6],
  // Permutations and counters are done by one.
  [Op.Advance, 0],
  [Op.Lion, 0.06],
  [Op.ConvWeight, 0.02],
  [Op.AvgPoolGrad, 0.2],
  [Op.NormalizeGrad, 0.1],
  [Op.AttentionGrad, 0.03],
  [Op.TriangularSolve, 1],
  [Op.Chain, 0.25],
  // One thread looks.
  [Op.Check, 0],
];

/** The same by code, since every call of an op asks for it. */
const costs: number[] = [];
for (const [last, nanoseconds] of COSTS) while (costs.length <= last) costs.push(nanoseconds);

/** What an operation of an op is taken to cost on one thread, in nanoseconds. */
export const costOf = ({ code }: AnyOp): number => costs[code] ?? 0;

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
  const nanoseconds = costOf(op) * operationsOf(op, io);
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
