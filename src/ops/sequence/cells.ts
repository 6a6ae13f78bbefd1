/** The formulas of recurrent cells in terms of ops, and the properties of their kernels. */
import { Op } from "../../../assembly/opcodes.ts";
import type { RecurrentCode, RecurrentGradCode } from "../../runtime/instructions.ts";
import type { Value } from "../definition/value.ts";
import { relu, sigmoid, tanh } from "../pointwise/activation.ts";
import { add, mul, sub } from "../pointwise/arithmetic.ts";
import { split } from "../shape/shape.ts";

/** A kind of cell. */
export interface Cell {
  readonly code: RecurrentCode;
  readonly gradCode: RecurrentGradCode;
  readonly name: string;
  readonly gates: number;
  /** The number of rows, of `hidden` numbers each, that the kernel saves at each step for the gradient. */
  readonly saved: number;
  readonly hasCellState: boolean;
  /** Whether the gradients with respect to g and x differ (see `compose`). */
  readonly splitsGradient: boolean;
  /**
   * Computes one step. x is the input's contribution to each gate, and g is the state's: [batch, gates·hidden]. h and c
   * are the state: [batch, hidden].
   */
  readonly compose: (x: Value, g: Value, h: Value, c: Value | undefined, rectify: boolean) => { h: Value; c?: Value };
}

const gatesOf = (z: Value, count: number): Value[] => split(z, z.shape[1]! / count, 1);

export const cells: Readonly<Record<"rnn" | "lstm" | "gru", Cell>> = {
  /**
   * h = tanh(x + W·h + b), or relu(…) instead (Elman 1990). Returns h for every step. dx, dh₀: rnnGrad; dW: Σ dzᵀ·h,
   * with h from the previous step.
   */
  rnn: {
    code: Op.Rnn,
    /** The gradients of rnn with respect to the inputs' contribution and h₀, by backpropagation through time. */
    gradCode: Op.RnnGrad,
    name: "rnn",
    gates: 1,
    saved: 0,
    hasCellState: false,
    splitsGradient: false,
    compose: (x, g, _h, _c, rectify) => ({ h: rectify ? relu(add(x, g)) : tanh(add(x, g)) }),
  },
  /**
   * i, f, o = σ(x + W·h + b), g = tanh(…), c = f·c + i·g, h = o·tanh c (Hochreiter and Schmidhuber 1997, Gers et al.
   * 2000). Returns h, c and the gates for every step. dx, dh₀: lstmGrad; dW: Σ dzᵀ·h, with h from the previous step.
   */
  lstm: {
    code: Op.Lstm,
    /** The gradients of lstm with respect to the inputs' contribution, h₀ and c₀, by backpropagation through time. */
    gradCode: Op.LstmGrad,
    name: "lstm",
    gates: 4,
    saved: 4,
    hasCellState: true,
    splitsGradient: false,
    compose(x, g, _h, c) {
      const [i, f, u, o] = gatesOf(add(x, g), 4) as [Value, Value, Value, Value];
      const next = add(mul(sigmoid(f), c!), mul(sigmoid(i), tanh(u)));
      return { h: mul(sigmoid(o), tanh(next)), c: next };
    },
  },
  /**
   * r, z = σ(x + W·h + b), n = tanh(x + r·(W·h + b)), h = n + z·(h − n) (Cho et al. 2014, with the reset after the
   * product). Returns h and the gates for every step. dx, dh₀: gruGrad; dW: Σ dzᵀ·h, with h from the previous step.
   */
  gru: {
    code: Op.Gru,
    /** The gradients of gru with respect to the inputs' contribution and h₀, by backpropagation through time. */
    gradCode: Op.GruGrad,
    name: "gru",
    gates: 3,
    saved: 4,
    hasCellState: false,
    splitsGradient: true,
    compose(x, g, h) {
      const [xr, xz, xn] = gatesOf(x, 3) as [Value, Value, Value];
      const [gr, gz, gn] = gatesOf(g, 3) as [Value, Value, Value];
      const n = tanh(add(xn, mul(sigmoid(add(xr, gr)), gn)));
      return { h: add(n, mul(sigmoid(add(xz, gz)), sub(h, n))) };
    },
  },
};
