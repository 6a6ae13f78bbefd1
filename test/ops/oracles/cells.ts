/** The formulas from src/ops/sequence/cells.ts in float64. */

/** The formulas of one kind of cell: RNN, LSTM or GRU. */
export interface CellReference {
  /** One unit's step in float64. */
  readonly forward: (
    x: number[],
    g: number[],
    h: number,
    c: number,
    rectify: boolean,
  ) => { h: number; c: number; saved: number[] };
  /**
   * One unit's gradients in float64. The resulting dh and dc are the gradients with respect to the previous step's state; the caller adds
   * the part that passes through W.
   */
  readonly backward: (
    dh: number,
    dc: number,
    saved: number[],
    now: { y: number },
    before: { h: number; c: number },
    rectify: boolean,
  ) => { dz: number[]; dg: number[]; dh: number; dc: number };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const rnn: CellReference = {
  forward([x], [g], _h, c, rectify) {
    const z = x! + g!;
    return { h: rectify ? Math.max(z, 0) : Math.tanh(z), c, saved: [] };
  },
  backward(dh, dc, _saved, { y }, _before, rectify) {
    const dz = [rectify ? (y > 0 ? dh : 0) : dh * (1 - y * y)];
    return { dz, dg: dz, dh: 0, dc };
  },
};

export const lstm: CellReference = {
  forward(x, g, _h, c) {
    const z = x.map((v, q) => v + g[q]!) as [number, number, number, number];
    const [i, f, u, o] = [sigmoid(z[0]), sigmoid(z[1]), Math.tanh(z[2]), sigmoid(z[3])];
    const next = f * c + i * u;
    return { h: o * Math.tanh(next), c: next, saved: [i, f, u, o] };
  },
  backward(dh, dc, saved, now, before) {
    const [i, f, u, o] = saved as [number, number, number, number];
    const t = now.y / o; // tanh c, because y = o·tanh c
    const e = dc + dh * o * (1 - t * t);
    const dz = [e * u * i * (1 - i), e * before.c * f * (1 - f), e * i * (1 - u * u), dh * t * o * (1 - o)];
    return { dz, dg: dz, dh: 0, dc: e * f };
  },
};

export const gru: CellReference = {
  forward(x, g, h, c) {
    const [r, z] = [sigmoid(x[0]! + g[0]!), sigmoid(x[1]! + g[1]!)];
    const n = Math.tanh(x[2]! + r * g[2]!);
    return { h: n + z * (h - n), c, saved: [r, z, n, g[2]!] };
  },
  backward(dh, dc, saved, _now, before) {
    const [r, z, n, gn] = saved as [number, number, number, number];
    const dn = dh * (1 - z) * (1 - n * n);
    const [dr, dz] = [dn * gn * r * (1 - r), dh * (before.h - n) * z * (1 - z)];
    return { dz: [dr, dz, dn * r, dn], dg: [dr, dz, dn * r], dh: dh * z, dc };
  },
};
