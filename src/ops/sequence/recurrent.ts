/**
 * Recurrent layers. One op runs one layer in one direction over a whole sequence; another op computes its gradient, by
 * backpropagation through time. The formulas of the cells are in cells.ts, and the gradients of the weights are in
 * recurrentWeights.ts.
 */
import { kernels } from "../../runtime/engine.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { encodeRecurrent, encodeRecurrentGrad } from "../../runtime/instructions.ts";
import { type AnyOp, apply, applyAll, type OpDefinition } from "../definition/op.ts";
import { requireType, type Shape, sameShape, show, type Value } from "../definition/value.ts";
import { linear, matmulDefinition, PLAIN_PRODUCT } from "../matrix/matmul.ts";
import { gt, where } from "../pointwise/comparison.ts";
import { reshape, unsqueeze } from "../shape/reshape.ts";
import { full, split, stack } from "../shape/shape.ts";
import { type Cell, cells } from "./cells.ts";
import { geometry, gradientsOfWeights, ofInput } from "./recurrentWeights.ts";

export interface RecurrentAttributes {
  /** Whether the layout is [batch, steps, …] instead of [steps, batch, …]. */
  readonly batchFirst: boolean;
  /** Whether to run from the last step to the first. */
  readonly reverse: boolean;
  /** Whether the initial state is an input; otherwise it is 0. */
  readonly initial: boolean;
  /** Whether a bias is added to the input's product. */
  readonly inputBias: boolean;
  /** Whether a bias is added to the state's product. */
  readonly bias: boolean;
  /** Whether the lengths of the sequences are an input. */
  readonly masked: boolean;
  /** Whether an RNN uses relu instead of tanh. */
  readonly rectify: boolean;
}

export interface GradAttributes extends RecurrentAttributes {
  /** Whether there is a gradient for the cell states of an LSTM. */
  readonly cellGradient: boolean;
}

/** The steps of a recurrence, in execution order. */
export const stepsOf = (count: number, reverse: boolean): number[] =>
  Array.from({ length: count }, (_, s) => (reverse ? count - 1 - s : s));

/** Names the inputs of the forward op. Inputs that are absent have no entry in `inputs`. */
export function namedInputs<V>(
  cell: Cell,
  inputs: readonly V[],
  { initial, inputBias, bias, masked }: RecurrentAttributes,
) {
  const rest = [...inputs];
  const take = (there = true): V | undefined => (there ? rest.shift() : undefined);
  return {
    x: take()!,
    wx: take()!,
    w: take()!,
    bx: take(inputBias),
    h0: take(initial),
    c0: take(initial && cell.hasCellState),
    bias: take(bias),
    lengths: take(masked),
  };
}

/** Names the inputs of the gradient op. */
export function namedGradInputs<V>(
  cell: Cell,
  inputs: readonly V[],
  { initial, masked, cellGradient }: GradAttributes,
) {
  const rest = [...inputs];
  const take = (there = true): V | undefined => (there ? rest.shift() : undefined);
  return {
    dy: take()!,
    y: take()!,
    w: take()!,
    h0: take(initial),
    saved: take(cell.saved > 0),
    c: take(cell.hasCellState),
    c0: take(initial && cell.hasCellState),
    dcs: take(cellGradient),
    lengths: take(masked),
  };
}

/** The operands that tell both ops how to iterate over steps and sequences. */
const walkOf = (sizes: ReturnType<typeof geometry>, { reverse, rectify }: RecurrentAttributes) => ({
  ...sizes,
  reverse: Number(reverse),
  rectify: Number(rectify),
});

/**
 * The floating-point operations in the products of states and W, or of their gradients and W. The first step has a
 * product only if there is an initial state, because the state is 0 otherwise.
 */
function productsOf(y: Value, w: Value, { batchFirst, initial }: RecurrentAttributes): number {
  const { batch, steps } = geometry(y, w.shape[1]!, batchFirst);
  return 2 * batch * (initial ? steps : steps - 1) * w.size;
}

/** The forward op of one kind of cell, and its gradient. */
function recurrence(cell: Cell): { forward: OpDefinition<RecurrentAttributes>; grad: AnyOp } {
  const { gates, saved, hasCellState, name } = cell;

  const forward: OpDefinition<RecurrentAttributes> = {
    code: cell.code,
    cost: 0.03,
    name,
    saves: "both",
    differentiable: hasCellState ? 2 : 1,
    infer(inputs, attributes) {
      const { x, wx, w, bx, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const hidden = w.shape[1] ?? 0;
      const { steps, batch } = geometry(x, hidden, attributes.batchFirst);
      for (const v of [x, wx, w, bx, h0, c0, bias]) if (v) requireType(name, v, "float32");
      const wanted: [string, Value | undefined, Shape][] = [
        ["state's weight", w, [gates * hidden, hidden]],
        ["input's weight", wx, [gates * hidden, x.shape[2]!]],
        ["input's bias", bx, [gates * hidden]],
        ["state's bias", bias, [gates * hidden]],
        ["initial state", h0, [batch, hidden]],
        ["initial cell state", c0, [batch, hidden]],
        ["list of lengths", lengths, [batch]],
      ];
      for (const [what, v, shape] of wanted)
        if (v && !sameShape(v.shape, shape))
          throw new ShapeError(`${name}: the ${what} must be ${show(shape)}, got ${show(v.shape)}.`);
      if (lengths) requireType(name, lengths, "int32", "list of lengths");
      if (!steps) throw new ShapeError(`${name}: the sequence ${show(x.shape)} has no steps.`);
      const rows = x.shape.slice(0, 2);
      const sizes = [hidden, ...(hasCellState ? [hidden] : []), ...(saved ? [saved * hidden] : [])];
      return sizes.map((size) => ({ shape: [...rows, size], dtype: "float32" as const }));
    },
    checks(inputs, attributes) {
      const { x, lengths } = namedInputs(cell, inputs, attributes);
      if (!lengths) return [];
      const { steps } = geometry(x, 0, attributes.batchFirst);
      const error = (length: number, at: number): Error =>
        new RangeError(
          `${name}: sequence ${at} has length ${length}, but lengths must be in 0 … ${steps}, the number of steps.`,
        );
      return [{ input: inputs.indexOf(lengths), low: 0, high: steps, error }];
    },
    products: ([x, wx, w], [y], attributes) =>
      2 * x!.shape[0]! * x!.shape[1]! * wx!.size + productsOf(y!, w!, attributes),
    units: ([x, , w], _, { batchFirst }) => geometry(x!, w!.shape[1]!, batchFirst).batch,
    encode(encoder, { inputs, outputs, attributes, address }) {
      const { x, wx, w, bx, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const sizes = geometry(x, w.shape[1]!, attributes.batchFirst);
      const width = x.shape[2]!;
      const at = (v?: Value): number => (v ? address(v) : 0);
      const [y, ...more] = outputs;
      const c = hasCellState ? more.shift() : undefined;
      const workspace = encoder.workspace(
        kernels().recurrentWorkspace!(cell.code, sizes.steps, sizes.batch, sizes.hidden, width),
      );
      encodeRecurrent(encoder, cell.code, {
        y: at(y),
        c: at(c),
        saved: at(more[0]),
        x: at(x),
        inputWeight: at(wx),
        inputBias: at(bx),
        w: at(w),
        bias: at(bias),
        h0: at(h0),
        c0: at(c0),
        lengths: at(lengths),
        ...walkOf(sizes, attributes),
        inputs: width,
        workspace,
      });
    },
    vjp(dy, { inputs, outputs, attributes, needs, more: [dcs] }) {
      const { x, wx, w, h0, c0, lengths } = namedInputs(cell, inputs, attributes);
      const [y, ...others] = outputs;
      const present = [dy, y, w, h0, others.at(-1), hasCellState ? others[0] : undefined, c0, dcs, lengths];
      const [dz, dh0, dc0] = applyAll(
        grad,
        present.filter((v) => v !== undefined),
        { ...attributes, cellGradient: dcs !== undefined },
      );
      const gradients: (Value | null)[] = [
        needs[0] ? reshape(apply(matmulDefinition, [ofInput(dz!, gates), wx], PLAIN_PRODUCT), x.shape) : null,
      ];
      const [dwx, dw, dbx, db] = gradientsOfWeights(dz!, x, y!, h0, { ...attributes, gates });
      gradients.push(dwx ?? null, dw ?? null);
      if (attributes.inputBias) gradients.push(dbx ?? null);
      if (h0) gradients.push(dh0!);
      if (c0) gradients.push(dc0!);
      if (attributes.bias) gradients.push(db ?? null);
      if (attributes.masked) gradients.push(null);
      return gradients;
    },
    composed(inputs, attributes) {
      const { x, wx, w, bx, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const dim = attributes.batchFirst ? 1 : 0;
      const count = x.shape[dim]!;
      const projected = linear(x, wx, bx);
      const xs = split(projected, 1, dim);
      const [hs, cs] = [new Array<Value>(count), new Array<Value>(count)];
      const zero = (): Value => full([x.shape[1 - dim]!, w.shape[1]!], 0);
      let h = h0 ?? zero();
      let c = c0 ?? (hasCellState ? zero() : undefined);
      for (const t of stepsOf(count, attributes.reverse)) {
        const own = reshape(xs[t]!, [h.shape[0]!, projected.shape[2]!]);
        const next = cell.compose(own, linear(h, w, bias), h, c, attributes.rectify);
        const active = lengths && unsqueeze(gt(lengths, t), 1);
        h = active ? where(active, next.h, h) : next.h;
        if (c && next.c) c = active ? where(active, next.c, c) : next.c;
        hs[t] = h;
        if (c) cs[t] = c;
      }
      return hasCellState ? [stack(hs, dim), stack(cs, dim)] : [stack(hs, dim)];
    },
  };

  const grad: OpDefinition<GradAttributes> = {
    code: cell.gradCode,
    cost: 0.03,
    name: `${name}Grad`,
    // dz may take the place of `saved`.
    inPlace: saved ? [3, 4] : [],
    infer(inputs, { batchFirst, ...attributes }) {
      const { dy, w } = namedGradInputs(cell, inputs, { batchFirst, ...attributes });
      const hidden = w.shape[1]!;
      const dz = { shape: [...dy.shape.slice(0, 2), (saved || gates) * hidden], dtype: "float32" as const };
      const state = { shape: [geometry(dy, hidden, batchFirst).batch, hidden], dtype: "float32" as const };
      return [dz, state, ...(hasCellState ? [state] : [])];
    },
    products: ([dy, , w], _, attributes) => productsOf(dy!, w!, attributes),
    units: ([dy, , w], _, { batchFirst }) => geometry(dy!, w!.shape[1]!, batchFirst).batch,
    encode(encoder, { inputs, outputs, attributes, address }) {
      const { dy, y, w, h0, saved: kept, c, c0, dcs, lengths } = namedGradInputs(cell, inputs, attributes);
      const sizes = geometry(dy, w.shape[1]!, attributes.batchFirst);
      const at = (v?: Value): number => (v ? address(v) : 0);
      const [dz, dh, dc] = outputs;
      const workspace = encoder.workspace(
        kernels().recurrentWorkspace!(cell.gradCode, sizes.steps, sizes.batch, sizes.hidden, 0),
      );
      encodeRecurrentGrad(encoder, cell.gradCode, {
        dz: at(dz),
        dh: at(dh),
        dc: at(dc),
        dy: at(dy),
        dcs: at(dcs),
        saved: at(kept),
        y: at(y),
        c: at(c),
        w: at(w),
        h0: at(h0),
        c0: at(c0),
        lengths: at(lengths),
        ...walkOf(sizes, attributes),
        workspace,
      });
    },
  };
  return { forward, grad };
}

export const recurrences = {
  rnn: recurrence(cells.rnn),
  lstm: recurrence(cells.lstm),
  gru: recurrence(cells.gru),
};
