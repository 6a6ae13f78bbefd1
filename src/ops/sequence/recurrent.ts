/**
 * Recurrent layers. One op runs one layer in one direction over a whole sequence; another op computes its gradient, by
 * backpropagation through time. The inputs' contribution is computed beforehand, in one product for all steps. The
 * formulas of the cells are in cells.ts.
 */
import { kernels } from "../../runtime/engine.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { encodeRecurrent, encodeRecurrentGrad } from "../../runtime/instructions.ts";
import { type AnyOp, apply, applyAll, type OpDefinition } from "../definition/op.ts";
import { requireType, type Shape, sameShape, show, type Value } from "../definition/value.ts";
import { linear, matmulDefinition, PLAIN_PRODUCT } from "../matrix/matmul.ts";
import { gt, where } from "../pointwise/comparison.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape, unsqueeze } from "../shape/reshape.ts";
import { concat, full, narrow, split, stack } from "../shape/shape.ts";
import { type Cell, cells } from "./cells.ts";

export interface RecurrentAttributes {
  /** Whether the layout is [batch, steps, …] instead of [steps, batch, …]. */
  readonly batchFirst: boolean;
  /** Whether to run from the last step to the first. */
  readonly reverse: boolean;
  /** Whether the initial state is an input; otherwise it is 0. */
  readonly initial: boolean;
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
export function namedInputs<V>(cell: Cell, inputs: readonly V[], { initial, bias, masked }: RecurrentAttributes) {
  const rest = [...inputs];
  const take = (there = true): V | undefined => (there ? rest.shift() : undefined);
  return {
    x: take()!,
    w: take()!,
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

/** The operands that tell both ops how to iterate over steps and sequences. */
const walkOf = (sizes: ReturnType<typeof geometry>, { reverse, rectify }: RecurrentAttributes) => ({
  ...sizes,
  reverse: Number(reverse),
  rectify: Number(rectify),
});

/** The state before each step: y shifted by one step, with h0 at the start. */
function statesBefore(y: Value, h0: Value | undefined, { batchFirst, reverse }: RecurrentAttributes): Value {
  const dim = batchFirst ? 1 : 0;
  const n = y.shape[dim]!;
  const shape = y.shape.map((size, i) => (i === dim ? 1 : size));
  const [start, rest] = [h0 ? reshape(h0, shape) : full(shape, 0), narrow(y, dim, reverse ? 1 : 0, n - 1)];
  return concat(reverse ? [rest, start] : [start, rest], dim);
}

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
      const { x, w, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const hidden = w.shape[1] ?? 0;
      const { steps, batch } = geometry(x, hidden, attributes.batchFirst);
      for (const v of [x, w, h0, c0, bias]) if (v) requireType(name, v, "float32");
      const wanted: [string, Value | undefined, Shape][] = [
        ["input projection", x, [...x.shape.slice(0, 2), gates * hidden]],
        ["weight", w, [gates * hidden, hidden]],
        ["bias", bias, [gates * hidden]],
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
    products: ([, w], [y], attributes) => productsOf(y!, w!, attributes),
    units: ([x, w], _, { batchFirst }) => geometry(x!, w!.shape[1]!, batchFirst).batch,
    encode(encoder, { inputs, outputs, attributes, address }) {
      const { x, w, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const sizes = geometry(x, w.shape[1]!, attributes.batchFirst);
      const at = (v?: Value): number => (v ? address(v) : 0);
      const [y, ...more] = outputs;
      const c = hasCellState ? more.shift() : undefined;
      const workspace = encoder.workspace(
        kernels().recurrentWorkspace!(cell.code, sizes.steps, sizes.batch, sizes.hidden),
      );
      encodeRecurrent(encoder, cell.code, {
        y: at(y),
        c: at(c),
        saved: at(more[0]),
        x: at(x),
        w: at(w),
        bias: at(bias),
        h0: at(h0),
        c0: at(c0),
        lengths: at(lengths),
        ...walkOf(sizes, attributes),
        workspace,
      });
    },
    vjp(dy, { inputs, outputs, attributes, needs, more: [dcs] }) {
      const { w, h0, c0, lengths } = namedInputs(cell, inputs, attributes);
      const [y, ...others] = outputs;
      const present = [dy, y, w, h0, others.at(-1), hasCellState ? others[0] : undefined, c0, dcs, lengths];
      const [dx, dh0, ...last] = applyAll(
        grad,
        present.filter((v) => v !== undefined),
        { ...attributes, cellGradient: dcs !== undefined },
      );
      const dz = cell.splitsGradient ? last[0]! : dx!;
      const flat = (v: Value): Value => reshape(v, [v.shape[0]! * v.shape[1]!, v.shape[2]!]);
      const gradients: (Value | null)[] = [dx!];
      gradients.push(
        needs[1]
          ? apply(matmulDefinition, [flat(dz), flat(statesBefore(y!, h0, attributes))], {
              ...PLAIN_PRODUCT,
              transA: true,
            })
          : null,
      );
      if (h0) gradients.push(dh0!);
      if (c0) gradients.push(last[0]!);
      if (attributes.bias) gradients.push(needs[gradients.length] ? sum(flat(dz), 0) : null);
      if (attributes.masked) gradients.push(null);
      return gradients;
    },
    composed(inputs, attributes) {
      const { x, w, h0, c0, bias, lengths } = namedInputs(cell, inputs, attributes);
      const dim = attributes.batchFirst ? 1 : 0;
      const count = x.shape[dim]!;
      const xs = split(x, 1, dim);
      const [hs, cs] = [new Array<Value>(count), new Array<Value>(count)];
      const zero = (): Value => full([x.shape[1 - dim]!, w.shape[1]!], 0);
      let h = h0 ?? zero();
      let c = c0 ?? (hasCellState ? zero() : undefined);
      for (const t of stepsOf(count, attributes.reverse)) {
        const own = reshape(xs[t]!, [h.shape[0]!, x.shape[2]!]);
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
    // dx may take the place of saved.
    inPlace: gates === saved ? [3, 4] : [],
    infer(inputs, { batchFirst, ...attributes }) {
      const { dy, w } = namedGradInputs(cell, inputs, { batchFirst, ...attributes });
      const hidden = w.shape[1]!;
      const dx = { shape: [...dy.shape.slice(0, 2), gates * hidden], dtype: "float32" as const };
      const state = { shape: [geometry(dy, hidden, batchFirst).batch, hidden], dtype: "float32" as const };
      return [dx, state, ...(hasCellState ? [state] : []), ...(cell.splitsGradient ? [dx] : [])];
    },
    products: ([dy, , w], _, attributes) => productsOf(dy!, w!, attributes),
    units: ([dy, , w], _, { batchFirst }) => geometry(dy!, w!.shape[1]!, batchFirst).batch,
    encode(encoder, { inputs, outputs, attributes, address }) {
      const { dy, y, w, h0, saved: kept, c, c0, dcs, lengths } = namedGradInputs(cell, inputs, attributes);
      const sizes = geometry(dy, w.shape[1]!, attributes.batchFirst);
      const at = (v?: Value): number => (v ? address(v) : 0);
      const [dx, dh, last] = outputs;
      const workspace = encoder.workspace(
        kernels().recurrentWorkspace!(cell.gradCode, sizes.steps, sizes.batch, sizes.hidden),
      );
      encodeRecurrentGrad(encoder, cell.gradCode, {
        dx: at(dx),
        dg: cell.splitsGradient ? at(last) : 0,
        dh: at(dh),
        dc: hasCellState ? at(last) : 0,
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
