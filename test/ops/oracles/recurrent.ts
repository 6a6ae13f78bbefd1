/** Oracles for src/ops/sequence/recurrent.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Cell, cells } from "../../../src/ops/sequence/cells.ts";
import {
  type GradAttributes,
  namedGradInputs,
  namedInputs,
  type RecurrentAttributes,
  stepsOf,
} from "../../../src/ops/sequence/recurrent.ts";
import { geometry, type WeightAttributes } from "../../../src/ops/sequence/recurrentWeights.ts";
import { type CellReference, gru, lstm, rnn } from "./cells.ts";
import type { Oracle, Reference, Sample } from "./oracle.ts";

/** A row of a float64 array. */
const row64 = (x: Reference, row: number, width: number): number[] =>
  Array.from({ length: width }, (_, j) => x.data[row * width + j]!);

/** W·v + bias in float64. */
const dots = ({ shape, data }: Reference, v: readonly number[], bias?: Reference): number[] =>
  Array.from({ length: shape[0]! }, (_, j) =>
    v.reduce((total, one, i) => total + one * data[j * v.length + i]!, bias?.data[j] ?? 0),
  );

type Case = [steps: number, batch: number, hidden: number, options: Partial<RecurrentAttributes>];
const CASES: Case[] = [
  [3, 2, 3, { inputBias: true, bias: true }],
  [2, 1, 2, { batchFirst: true, reverse: true }],
  [3, 3, 1, { masked: true, reverse: true, bias: true }],
  [2, 3, 2, { masked: true, batchFirst: true, rectify: true }],
  [2, 14, 9, { inputBias: true, bias: true }],
  [1, 7, 4, { reverse: true, initial: false }],
  [3, 2, 2, { masked: true, bias: true, initial: false }],
  [2, 0, 3, {}],
  // One sequence, and a single step of two, read the weights without packing them.
  [3, 1, 9, { batchFirst: true, inputBias: true, bias: true }],
  [1, 2, 5, { bias: true }],
];
const PLAIN = {
  batchFirst: false,
  reverse: false,
  initial: true,
  inputBias: false,
  bias: false,
  masked: false,
  rectify: false,
};
/** The number of elements in each step's input. */
const INPUTS = 3;

/** The parts of a case that the samples of both ops share. */
function caseOf({ gates }: Cell, [steps, batch, hidden, options]: Case) {
  const attributes = { ...PLAIN, ...options };
  const outer = attributes.batchFirst ? [batch, steps] : [steps, batch];
  return {
    attributes,
    rows: (width: number) => ({ shape: [...outer, width * hidden] }),
    x: { shape: [...outer, INPUTS] },
    inputWeight: { shape: [gates * hidden, INPUTS] },
    inputBias: attributes.inputBias ? [{ shape: [gates * hidden] }] : [],
    weight: { shape: [gates * hidden, hidden], low: -1, high: 1 },
    state: { shape: [batch, hidden], low: -1, high: 1 },
    bias: attributes.bias ? [{ shape: [gates * hidden] }] : [],
    lengths: attributes.masked ? [{ shape: [batch], dtype: "int32" as const, low: 0, high: steps + 1 }] : [],
  };
}

function forwardSamples(cell: Cell): Sample<RecurrentAttributes>[] {
  return CASES.map((one) => {
    const { attributes, x, inputWeight, weight, inputBias, state, bias, lengths } = caseOf(cell, one);
    const count = attributes.initial ? 1 + Number(cell.hasCellState) : 0;
    const states = new Array(count).fill(state);
    return { inputs: [x, inputWeight, weight, ...inputBias, ...states, ...bias, ...lengths], attributes };
  });
}

function gradSamples(cell: Cell): Sample<GradAttributes>[] {
  return CASES.map((one, i) => {
    const { attributes, rows, weight, state, lengths } = caseOf(cell, one);
    const cellGradient = cell.hasCellState && i % 2 === 0;
    const start = attributes.initial ? [state] : [];
    const inputs = [
      rows(1),
      // |y| < o, because y = o·tanh c in an LSTM.
      { ...rows(1), low: -0.5, high: 0.5 },
      weight,
      ...start,
      ...(cell.saved ? [{ ...rows(cell.saved), low: 0.5, high: 1 }] : []),
    ];
    if (cell.hasCellState) inputs.push(rows(1), ...start);
    if (cellGradient) inputs.push(rows(1));
    return { inputs: [...inputs, ...lengths], attributes: { ...attributes, cellGradient } };
  });
}

function forward(cell: Cell, formulas: CellReference): Oracle<RecurrentAttributes> {
  const { gates, saved, hasCellState } = cell;
  return {
    reference(inputs, attributes) {
      const { x, wx, w, bx, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const hidden = w.shape[1]!;
      const { batch, steps, stepRows, batchRows } = geometry(x, hidden, attributes.batchFirst);
      const rows = batch * steps;
      const widths = [1, Number(hasCellState), saved].map((n) => n * hidden);
      const [y, c, kept] = widths.map((width) => new Float64Array(rows * width));
      for (let b = 0; b < batch; b++) {
        let h = h0 ? row64(h0, b, hidden) : new Array<number>(hidden).fill(0);
        let state = c0 ? row64(c0, b, hidden) : new Array<number>(hidden).fill(0);
        for (const t of stepsOf(steps, attributes.reverse)) {
          const r = t * stepRows + b * batchRows;
          if (!lengths || t < lengths.data[b]!) {
            const g = dots(w, h, bias);
            const own = dots(wx, row64(x, r, x.shape[2]!), bx);
            const next = h.map((v, j) => {
              const of = (from: number[]): number[] => Array.from({ length: gates }, (_, q) => from[q * hidden + j]!);
              return formulas.forward(of(own), of(g), v, state[j]!, attributes.rectify);
            });
            next.forEach(({ saved: values }, j) => {
              values.forEach((v, q) => (kept![r * saved * hidden + q * hidden + j] = v));
            });
            h = next.map((cellOf) => cellOf.h);
            if (hasCellState) state = next.map((cellOf) => cellOf.c);
          }
          y!.set(h, r * hidden);
          if (hasCellState) c!.set(state, r * hidden);
        }
      }
      const outer = x.shape.slice(0, 2);
      return [y!, c!, kept!].flatMap((data, i) => (widths[i] ? [{ shape: [...outer, widths[i]!], data }] : []));
    },
    samples: forwardSamples(cell),
  };
}

function grad(cell: Cell, formulas: CellReference): Oracle<GradAttributes> {
  const { gates, saved, hasCellState } = cell;
  return {
    reference(inputs, attributes) {
      const { dy, y, w, h0, saved: kept, c, c0, dcs, lengths } = namedGradInputs(cell, inputs, attributes);
      const hidden = w.shape[1]!;
      const { batch, steps, stepRows, batchRows } = geometry(dy, hidden, attributes.batchFirst);
      const n = gates * hidden;
      const width = (saved || gates) * hidden;
      const dz = new Float64Array(batch * steps * width);
      const dg = new Float64Array(batch * steps * n);
      const [dh, dc] = [new Float64Array(batch * hidden), new Float64Array(batch * hidden)];
      for (let b = 0; b < batch; b++) {
        const order = stepsOf(steps, attributes.reverse);
        for (let s = steps - 1; s >= 0; s--) {
          const r = order[s]! * stepRows + b * batchRows;
          const before = s ? (order[s - 1]! * stepRows + b * batchRows) * hidden : b * hidden;
          const active = !lengths || order[s]! < lengths.data[b]!;
          for (let j = 0; j < hidden; j++) {
            const [at, own] = [r * hidden + j, b * hidden + j];
            dh[own]! += dy.data[at]!;
            dc[own]! += dcs?.data[at] ?? 0;
            if (!active) continue;
            const values = Array.from({ length: saved }, (_, q) => kept!.data[(r * saved + q) * hidden + j]!);
            const state = { y: y.data[at]! };
            const previous = { h: (s ? y : h0)?.data[before + j] ?? 0, c: (s ? c : c0)?.data[before + j] ?? 0 };
            const part = formulas.backward(dh[own]!, dc[own]!, values, state, previous, attributes.rectify);
            part.dg.forEach((v, q) => (dg[r * n + q * hidden + j] = v));
            part.dz.forEach((v, q) => (dz[r * width + q * hidden + j] = v));
            dh[own] = part.dh;
            dc[own] = part.dc;
          }
          if (!active || !(s || h0)) continue;
          for (let j = 0; j < hidden; j++)
            for (let q = 0; q < n; q++) dh[b * hidden + j]! += dg[r * n + q]! * w.data[q * hidden + j]!;
        }
      }
      const [rows, state] = [
        [...dy.shape.slice(0, 2), width],
        [batch, hidden],
      ];
      return [
        { shape: rows, data: dz },
        { shape: state, data: dh },
        ...(hasCellState ? [{ shape: state, data: dc }] : []),
      ];
    },
    samples: gradSamples(cell),
  };
}

type WeightCase = [steps: number, batch: number, hidden: number, inputs: number, attributes: WeightAttributes];
const WEIGHTS: WeightCase[] = [
  [3, 2, 3, 5, { batchFirst: false, reverse: false, initial: true, gates: 4 }],
  [3, 5, 9, 2, { batchFirst: false, reverse: true, initial: false, gates: 3 }],
  [4, 2, 9, 2, { batchFirst: true, reverse: true, initial: false, gates: 3 }],
  [5, 3, 6, 1, { batchFirst: true, reverse: false, initial: true, gates: 1 }],
  [1, 3, 2, 3, { batchFirst: false, reverse: false, initial: false, gates: 4 }],
  [2, 0, 3, 2, { batchFirst: false, reverse: false, initial: false, gates: 1 }],
  // More than one block of rows, and of columns.
  [67, 8, 5, 3, { batchFirst: false, reverse: false, initial: false, gates: 3 }],
  [2, 3, 190, 7, { batchFirst: false, reverse: true, initial: true, gates: 1 }],
];

const recurrentWeights: Oracle<WeightAttributes> = {
  reference([dz, x, y, h0], { batchFirst, reverse, gates }) {
    const [hidden, inputs, width] = [y!.shape[2]!, x!.shape[2]!, dz!.shape[2]!];
    const { batch, steps, stepRows, batchRows } = geometry(y!, hidden, batchFirst);
    const n = gates * hidden;
    const [dwx, dw] = [new Float64Array(n * inputs), new Float64Array(n * hidden)];
    const [dbx, db] = [new Float64Array(n), new Float64Array(n)];
    const order = stepsOf(steps, reverse);
    for (let b = 0; b < batch; b++)
      order.forEach((t, s) => {
        const r = t * stepRows + b * batchRows;
        const before = s ? row64(y!, order[s - 1]! * stepRows + b * batchRows, hidden) : h0 && row64(h0, b, hidden);
        for (let j = 0; j < n; j++) {
          const forState = dz!.data[r * width + j]!;
          // In a GRU, the input's gradient of the last gate comes after the state's.
          const forInput = dz!.data[r * width + (gates === 3 && j >= 2 * hidden ? j + hidden : j)]!;
          for (let i = 0; i < inputs; i++) dwx[j * inputs + i]! += forInput * x!.data[r * inputs + i]!;
          for (let i = 0; i < hidden; i++) dw[j * hidden + i]! += forState * (before?.[i] ?? 0);
          dbx[j]! += forInput;
          db[j]! += forState;
        }
      });
    return [
      { shape: [n, inputs], data: dwx },
      { shape: [n, hidden], data: dw },
      { shape: [n], data: dbx },
      { shape: [n], data: db },
    ];
  },
  samples: WEIGHTS.map(([steps, batch, hidden, inputs, attributes]) => {
    const outer = attributes.batchFirst ? [batch, steps] : [steps, batch];
    const dz = { shape: [...outer, (attributes.gates === 1 ? 1 : 4) * hidden], low: -0.1, high: 0.1 };
    const initial = attributes.initial ? [{ shape: [batch, hidden] }] : [];
    const others = [inputs, hidden].map((width) => ({ shape: [...outer, width] }));
    return { inputs: [dz, ...others, ...initial], attributes };
  }),
};

export const recurrent = {
  [Op.RecurrentWeights]: recurrentWeights,
  [Op.Rnn]: forward(cells.rnn, rnn),
  [Op.Lstm]: forward(cells.lstm, lstm),
  [Op.Gru]: forward(cells.gru, gru),
  [Op.RnnGrad]: grad(cells.rnn, rnn),
  [Op.LstmGrad]: grad(cells.lstm, lstm),
  [Op.GruGrad]: grad(cells.gru, gru),
};
