/** Functions that run one recurrent layer over a sequence, in one direction. The layers in nn stack them. */
import { ShapeError, TypeError } from "../../runtime/errors.ts";
import { applyAll } from "../definition/op.ts";
import { requireType, show, type Value } from "../definition/value.ts";
import { add } from "../pointwise/arithmetic.ts";
import { le, where } from "../pointwise/comparison.ts";
import { float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";
import { cast, narrow } from "../shape/shape.ts";
import { counting } from "../shape/triangle.ts";
import { recurrences } from "./recurrent.ts";

/** Options for running over a sequence. */
export interface SequenceOptions {
  /** Use [batch, steps, …] instead of [steps, batch, …] for x and the result. Default false. */
  readonly batchFirst?: boolean;
  /** Run from the last step to the first. Default false. */
  readonly reverse?: boolean;
  /**
   * The number of steps in each sequence, int32 [batch]. After a sequence's last step, results are 0 and the state no
   * longer changes.
   */
  readonly lengths?: Value | undefined;
}

export interface RnnOptions extends SequenceOptions {
  /** The activation of the state. Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}

/**
 * The parameters of a layer in PyTorch's shapes: [gates·hidden, in], [gates·hidden, hidden] and two biases
 * [gates·hidden].
 */
export interface RecurrentWeights {
  /** The weight of the input, [gates·hidden, in]. */
  readonly weightIh: Value;
  /** The weight of the state, [gates·hidden, hidden]. */
  readonly weightHh: Value;
  /** The bias of the input's product, [gates·hidden]. Omit it or pass null for no bias. */
  readonly biasIh?: Value | null;
  /** The bias of the state's product, [gates·hidden]. Omit it or pass null for no bias. */
  readonly biasHh?: Value | null;
}

/** True for the steps that belong to a sequence, false after its end: bool, [steps, batch, 1] or [batch, steps, 1]. */
function activeSteps(lengths: Value, steps: number, batchFirst: boolean): Value {
  const count = counting(steps);
  const own = cast(lengths, "float32");
  const batch = lengths.size;
  return batchFirst
    ? le(reshape(count, [1, steps, 1]), reshape(own, [batch, 1, 1]))
    : le(reshape(count, [steps, 1, 1]), reshape(own, [1, batch, 1]));
}

function run(
  kind: "rnn" | "lstm" | "gru",
  x: Value,
  states: readonly Value[],
  { weightIh, weightHh, biasIh, biasHh }: RecurrentWeights,
  { batchFirst = false, reverse = false, lengths }: SequenceOptions,
  rectify = false,
): Value[] {
  const v = float(x, kind);
  if (v.shape.length !== 3)
    throw new ShapeError(
      `${kind}: x must be ${batchFirst ? "[batch, steps, in]" : "[steps, batch, in]"}, got ${show(v.shape)}.`,
    );
  if (weightIh.shape.length !== 2 || v.shape[2] !== weightIh.shape[1])
    throw new ShapeError(
      `${kind}: x is ${show(v.shape)}, but the weight ${show(weightIh.shape)} takes ${weightIh.shape[1]} features.`,
    );
  if (lengths) requireType(kind, lengths, "int32", "list of lengths");
  const dim = batchFirst ? 1 : 0;
  const steps = v.shape[dim]!;
  // Both biases are added to the same sum, except in a GRU, which first multiplies the state's part by the reset gate.
  // Add the biases to each other here, so that the input's product applies both.
  const inputBias = kind === "gru" ? biasIh : biasIh && biasHh ? add(biasIh, biasHh) : (biasIh ?? biasHh);
  const bias = kind === "gru" && biasHh ? [biasHh] : [];
  const active = lengths && activeSteps(lengths, steps, batchFirst);
  // Elements after the end of a sequence, even NaN, must not affect results or gradients.
  const input = active ? where(active, v, 0) : v;
  const attributes = {
    batchFirst,
    reverse,
    initial: states.length > 0,
    inputBias: Boolean(inputBias),
    bias: bias.length > 0,
    masked: lengths !== undefined,
    rectify,
  };
  const weights = [weightIh, weightHh, ...(inputBias ? [inputBias] : [])];
  const inputs = [input, ...weights, ...states, ...bias, ...(lengths ? [lengths] : [])];
  const [y, c] = applyAll(recurrences[kind].forward, inputs, attributes);
  const last = (all: Value): Value =>
    reshape(narrow(all, dim, reverse ? 0 : steps - 1, 1), [v.shape[1 - dim]!, weightHh.shape[1]!]);
  const output = active ? where(active, y!, 0) : y!;
  return [output, last(y!), ...(kind === "lstm" ? [last(c!)] : [])];
}

/**
 * A recurrent layer over a sequence: h = tanh(W·x + U·h + b) at each step, or relu(…) instead (Elman 1990).
 *
 * x: [steps, batch, in], h0: [batch, hidden] → [output, h]: output holds the states of all steps, [steps, batch,
 * hidden]; h is the last state, [batch, hidden]. float32.
 *
 * @param h0 The initial state, [batch, hidden], or null for zeros.
 * @param weights The parameters in PyTorch's shapes.
 * @throws ShapeError if the sizes do not match
 * @throws DTypeError if lengths is not int32
 * @throws RangeError if a length is not between 0 and the number of steps
 * @example
 * ```ts
 * const weights = { weightIh: ones([1, 2]).mul(0.5), weightHh: zeros([1, 1]) };
 * const [output, h] = rnn(ones([3, 1, 2]), null, weights);
 * [...output!.shape, ...h!.shape]; // [3, 1, 1, 1, 1]
 * ```
 * @op function
 */
export function rnn(
  x: Value,
  h0: Value | null,
  weights: RecurrentWeights,
  { nonlinearity = "tanh", ...options }: RnnOptions = {},
): Value[] {
  return run("rnn", x, h0 ? [h0] : [], weights, options, nonlinearity === "relu");
}

/**
 * Long short-term memory over a sequence: i, f, o = σ(W·x + U·h + b), g = tanh(…), c = f·c + i·g, h = o·tanh c
 * (Hochreiter and Schmidhuber 1997), with the gates in PyTorch's order i, f, g, o.
 *
 * x: [steps, batch, in]; h0, c0: [batch, hidden] → [output, h, c]: output holds the states of all steps, [steps, batch,
 * hidden]; h and c are the last states, [batch, hidden]. float32.
 *
 * @param h0 The initial state, [batch, hidden], or null for zeros.
 * @param c0 The initial cell state, [batch, hidden], or null for zeros.
 * @param weights The parameters in PyTorch's shapes.
 * @throws TypeError if only one of h0 and c0 is null
 * @throws ShapeError if the sizes do not match
 * @throws DTypeError if lengths is not int32
 * @throws RangeError if a length is not between 0 and the number of steps
 * @example
 * ```ts
 * const weights = { weightIh: ones([4, 2]).mul(0.5), weightHh: zeros([4, 1]) };
 * const [output, h, c] = lstm(ones([3, 1, 2]), null, null, weights);
 * [...output!.shape, ...h!.shape, ...c!.shape]; // [3, 1, 1, 1, 1, 1, 1]
 * ```
 * @op function
 */
export function lstm(
  x: Value,
  h0: Value | null,
  c0: Value | null,
  weights: RecurrentWeights,
  options: SequenceOptions = {},
): Value[] {
  if (!h0 !== !c0) throw new TypeError("lstm: one of h0 and c0 is missing. Pass both, or null for both.");
  return run("lstm", x, h0 && c0 ? [h0, c0] : [], weights, options);
}

/**
 * Gated recurrent units over a sequence: r, z = σ(W·x + U·h + b), n = tanh(W·x + b + r·(U·h + b)), h = n + z·(h − n)
 * (Cho et al. 2014), with the gates in PyTorch's order r, z, n.
 *
 * x: [steps, batch, in], h0: [batch, hidden] → [output, h]: output holds the states of all steps, [steps, batch,
 * hidden]; h is the last state, [batch, hidden]. float32.
 *
 * @param h0 The initial state, [batch, hidden], or null for zeros.
 * @param weights The parameters in PyTorch's shapes.
 * @throws ShapeError if the sizes do not match
 * @throws DTypeError if lengths is not int32
 * @throws RangeError if a length is not between 0 and the number of steps
 * @example
 * ```ts
 * const weights = { weightIh: ones([3, 2]).mul(0.5), weightHh: zeros([3, 1]) };
 * const [output, h] = gru(ones([3, 1, 2]), null, weights);
 * [...output!.shape, ...h!.shape]; // [3, 1, 1, 1, 1]
 * ```
 * @op function
 */
export function gru(x: Value, h0: Value | null, weights: RecurrentWeights, options: SequenceOptions = {}): Value[] {
  return run("gru", x, h0 ? [h0] : [], weights, options);
}
