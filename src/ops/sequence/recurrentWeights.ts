/** The gradients of a recurrent layer's weights and biases, from the gradients of its gates. */
import { Op } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { encodeRecurrentWeights } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition } from "../definition/op.ts";
import type { Shape, Value } from "../definition/value.ts";
import { matmulDefinition, PLAIN_PRODUCT } from "../matrix/matmul.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { concat, full, narrow } from "../shape/shape.ts";

/**
 * The sizes of a batch of sequences, and the distances in rows from one step to the next and from one sequence to the
 * next.
 */
export function geometry(y: { shape: Shape }, hidden: number, batchFirst: boolean) {
  const [outer, inner] = y.shape as [number, number];
  return batchFirst
    ? { batch: outer, steps: inner, hidden, stepRows: 1, batchRows: inner }
    : { batch: inner, steps: outer, hidden, stepRows: inner, batchRows: 1 };
}

export interface WeightAttributes {
  readonly batchFirst: boolean;
  readonly reverse: boolean;
  /** Whether the initial state is an input; otherwise it is 0. */
  readonly initial: boolean;
  /** The number of gates: 1 (RNN), 4 (LSTM) or 3 (GRU). */
  readonly gates: number;
}

/** All steps of all sequences as rows. */
const flat = (v: Value): Value => reshape(v, [v.shape[0]! * v.shape[1]!, v.shape[2]!]);

/**
 * The columns of dz, as rows for all steps, that belong to the products with the state, or with the input. They differ in
 * a GRU, which has four gradients per unit: those of r, z and n for the state, and of n for the input.
 */
const ofState = (dz: Value, gates: number): Value =>
  gates === 3 ? narrow(flat(dz), 1, 0, (dz.shape[2]! / 4) * 3) : flat(dz);

export function ofInput(dz: Value, gates: number): Value {
  const [rows, hidden] = [flat(dz), dz.shape[2]! / 4];
  return gates === 3 ? concat([narrow(rows, 1, 0, 2 * hidden), narrow(rows, 1, 3 * hidden, hidden)], 1) : rows;
}

/** The state before each step: y shifted by one step, with h0 at the start. */
function statesBefore(y: Value, h0: Value | undefined, { batchFirst, reverse }: WeightAttributes): Value {
  const dim = batchFirst ? 1 : 0;
  const n = y.shape[dim]!;
  const shape = y.shape.map((size, i) => (i === dim ? 1 : size));
  const [start, rest] = [h0 ? reshape(h0, shape) : full(shape, 0), narrow(y, dim, reverse ? 1 : 0, n - 1)];
  return concat(reverse ? [rest, start] : [start, rest], dim);
}

/** The sums dzᵀ·x and dzᵀ·h over all rows, where h is the state before the row's step, and the sums of dz for both biases. */
export const weightGradients: OpDefinition<WeightAttributes> = {
  code: Op.RecurrentWeights,
  cost: 0.02,
  name: "recurrentWeights",
  infer([, x, y], { gates }) {
    const [hidden, inputs] = [y!.shape[2]!, x!.shape[2]!];
    const n = gates * hidden;
    return [[n, inputs], [n, hidden], [n], [n]].map((shape: Shape) => ({ shape, dtype: "float32" as const }));
  },
  products([, x, y], [dwx, dw], { batchFirst, initial }) {
    const { batch, steps } = geometry(y!, 0, batchFirst);
    // Without an initial state, the state before the first step is 0.
    return (
      2 *
      (x!.shape[0]! * x!.shape[1]! * dwx!.shape[0]! * dwx!.shape[1]! + batch * (initial ? steps : steps - 1) * dw!.size)
    );
  },
  units: (_, [, , db]) => Math.ceil(db!.size / 8),
  encode(encoder, { inputs: [dz, x, y, h0], outputs: [dwx, dw, dbx, db], attributes, address }) {
    encodeRecurrentWeights(encoder, {
      dwInput: address(dwx!),
      dw: address(dw!),
      dbInput: address(dbx!),
      db: address(db!),
      dz: address(dz!),
      x: address(x!),
      y: address(y!),
      h0: h0 ? address(h0) : 0,
      ...geometry(y!, y!.shape[2]!, attributes.batchFirst),
      inputs: x!.shape[2]!,
      reverse: Number(attributes.reverse),
      gates: attributes.gates,
      workspace: encoder.workspace(kernels().recurrentWeightsWorkspace!()),
    });
  },
};

/** From this many rows on, the products' parts are added in float64. */
const LONG = 16_384;

/** The gradients of the input's weight, the state's weight, the input's bias and the state's bias. */
export function gradientsOfWeights(
  dz: Value,
  x: Value,
  y: Value,
  h0: Value | undefined,
  { batchFirst, reverse, initial, gates }: WeightAttributes,
): Value[] {
  const attributes = { batchFirst, reverse, initial, gates };
  if (y.shape[0]! * y.shape[1]! <= LONG) return applyAll(weightGradients, h0 ? [dz, x, y, h0] : [dz, x, y], attributes);
  const [input, state] = [ofInput(dz, gates), ofState(dz, gates)];
  const product = (d: Value, other: Value): Value =>
    apply(matmulDefinition, [d, flat(other)], { ...PLAIN_PRODUCT, transA: true });
  return [product(input, x), product(state, statesBefore(y, h0, attributes)), sum(input, 0), sum(state, 0)];
}
