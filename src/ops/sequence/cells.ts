/** The formulas of recurrent cells, as ops and in float64, and the values their kernels save for the gradient. */
import { Op } from "../../../assembly/opcodes.ts";
import type { RecurrentCode, RecurrentGradCode } from "../../runtime/instructions.ts";
import type { Value } from "../definition/value.ts";
import { relu, sigmoid, tanh } from "../pointwise/activation.ts";
import { add, mul, sub } from "../pointwise/arithmetic.ts";
import { split } from "../shape/shape.ts";

/** One kind of cell. x is what the input contributes to each gate, g what the state does. */
export interface Cell {
  readonly code: RecurrentCode;
  readonly gradCode: RecurrentGradCode;
  readonly name: string;
  readonly doc: string;
  readonly gates: number;
  /** Rows of `hidden` numbers that the gradient needs of each step. */
  readonly saved: number;
  readonly hasCellState: boolean;
  /** Whether the gradient of g is another than that of x. */
  readonly splitsGradient: boolean;
  /** x, g: [batch, gates·hidden]; h, c: [batch, hidden]. */
  readonly compose: (x: Value, g: Value, h: Value, c: Value | undefined, rectify: boolean) => { h: Value; c?: Value };
  /** One unit's step in float64. */
  readonly forward64: (
    x: number[],
    g: number[],
    h: number,
    c: number,
    rectify: boolean,
  ) => { h: number; c: number; saved: number[] };
  /** One unit's gradients in float64; dh and dc are what is left for the step before, without the product with W. */
  readonly backward64: (
    dh: number,
    dc: number,
    saved: number[],
    now: { y: number; c: number },
    before: { h: number; c: number },
    rectify: boolean,
  ) => { dx: number[]; dg: number[]; dh: number; dc: number };
}

const sigmoid64 = (x: number): number => 1 / (1 + Math.exp(-x));
const gatesOf = (z: Value, count: number): Value[] => split(z, z.shape[1]! / count, 1);

export const cells: Readonly<Record<"rnn" | "lstm" | "gru", Cell>> = {
  rnn: {
    code: Op.Rnn,
    gradCode: Op.RnnGrad,
    name: "rnn",
    doc: "h = tanh(x + W·h + b), or relu (Elman 1990).",
    gates: 1,
    saved: 0,
    hasCellState: false,
    splitsGradient: false,
    compose: (x, g, _h, _c, rectify) => ({ h: rectify ? relu(add(x, g)) : tanh(add(x, g)) }),
    forward64([x], [g], _h, c, rectify) {
      const z = x! + g!;
      return { h: rectify ? Math.max(z, 0) : Math.tanh(z), c, saved: [] };
    },
    backward64(dh, dc, _saved, { y }, _before, rectify) {
      const dz = [rectify ? (y > 0 ? dh : 0) : dh * (1 - y * y)];
      return { dx: dz, dg: dz, dh: 0, dc };
    },
  },
  lstm: {
    code: Op.Lstm,
    gradCode: Op.LstmGrad,
    name: "lstm",
    doc: "i, f, o = σ(x + W·h + b), g = tanh(…), c = f·c + i·g, h = o·tanh c (Hochreiter and Schmidhuber 1997, Gers et al. 2000).",
    gates: 4,
    saved: 4,
    hasCellState: true,
    splitsGradient: false,
    compose(x, g, _h, c) {
      const [i, f, u, o] = gatesOf(add(x, g), 4) as [Value, Value, Value, Value];
      const next = add(mul(sigmoid(f), c!), mul(sigmoid(i), tanh(u)));
      return { h: mul(sigmoid(o), tanh(next)), c: next };
    },
    forward64(x, g, _h, c) {
      const z = x.map((v, q) => v + g[q]!) as [number, number, number, number];
      const [i, f, u, o] = [sigmoid64(z[0]), sigmoid64(z[1]), Math.tanh(z[2]), sigmoid64(z[3])];
      const next = f * c + i * u;
      return { h: o * Math.tanh(next), c: next, saved: [i, f, u, o] };
    },
    backward64(dh, dc, saved, now, before) {
      const [i, f, u, o] = saved as [number, number, number, number];
      const t = Math.tanh(now.c);
      const e = dc + dh * o * (1 - t * t);
      const dz = [e * u * i * (1 - i), e * before.c * f * (1 - f), e * i * (1 - u * u), dh * t * o * (1 - o)];
      return { dx: dz, dg: dz, dh: 0, dc: e * f };
    },
  },
  gru: {
    code: Op.Gru,
    gradCode: Op.GruGrad,
    name: "gru",
    doc: "r, z = σ(x + W·h + b), n = tanh(x + r·(W·h + b)), h = n + z·(h − n) (Cho et al. 2014, the reset after the product).",
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
    forward64(x, g, h, c) {
      const [r, z] = [sigmoid64(x[0]! + g[0]!), sigmoid64(x[1]! + g[1]!)];
      const n = Math.tanh(x[2]! + r * g[2]!);
      return { h: n + z * (h - n), c, saved: [r, z, n, g[2]!] };
    },
    backward64(dh, dc, saved, _now, before) {
      const [r, z, n, gn] = saved as [number, number, number, number];
      const dn = dh * (1 - z) * (1 - n * n);
      const [dr, dz] = [dn * gn * r * (1 - r), dh * (before.h - n) * z * (1 - z)];
      return { dx: [dr, dz, dn], dg: [dr, dz, dn * r], dh: dh * z, dc };
    },
  },
};
