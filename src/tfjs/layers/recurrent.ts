/** Recurrent layers and their wrappers. TensorFlow.js stores the gates in PyTorch's order, except in the GRU. */
import { ones, zeros } from "../../core/creation.ts";
import * as ops from "../../core/functions.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type Activation, activationOf } from "./activations.ts";
import { dropped } from "./noise.ts";
import { type Context, type Own, type Rule, reject, single, weightsOf } from "./plan.ts";

/**
 * Computes one step: takes the projected input and the state, and returns the next state, whose first tensor is the
 * output.
 */
type Step = (projection: Tensor, state: readonly Tensor[]) => Tensor[];

/** Computes all steps at once with nabla's kernel, and returns the outputs and the final state. */
type Kernel = (x: Tensor, state: readonly Tensor[], own: Own) => Tensor[];

interface Cell {
  /** The number of tensors in the state. */
  readonly states: 1 | 2;
  /** Returns nabla's kernel for these activations, or undefined if there is none. */
  readonly kernel: (activation: string, recurrentActivation: string) => Kernel | undefined;
  /** Creates the function for one step. `mask` drops elements of the state in training. */
  readonly step: (own: Own, units: number, f: Activation, gate: Activation, mask: Activation) => Step;
}

/** The weights in the form that nabla's ops take. */
function native({ weights }: Own): Parameters<typeof ops.lstm>[3] {
  return { weightIh: weights.weightIh!, weightHh: weights.weightHh!, biasIh: weights.bias ?? null, biasHh: null };
}

const cells: Readonly<Record<string, Cell>> = {
  SimpleRNN: {
    states: 1,
    kernel: (nonlinearity) =>
      nonlinearity === "tanh" || nonlinearity === "relu"
        ? (x, [h = null], own) => ops.rnn(x, h, native(own), { batchFirst: true, nonlinearity })
        : undefined,
    step:
      ({ weights }, _, f, _gate, mask) =>
      (x, [h]) => [f(x.add(ops.linear(mask(h!), weights.weightHh!)))],
  },
  LSTM: {
    states: 2,
    kernel: (activation, recurrentActivation) =>
      activation === "tanh" && recurrentActivation === "sigmoid"
        ? (x, [h = null, c = null], own) => ops.lstm(x, h, c, native(own), { batchFirst: true })
        : undefined,
    step:
      ({ weights }, units, f, gate, mask) =>
      (x, [h, c]) => {
        const [i, forget, candidate, o] = x.add(ops.linear(mask(h!), weights.weightHh!)).split(units, 1);
        const next = gate(forget!)
          .mul(c!)
          .add(gate(i!).mul(f(candidate!)));
        return [gate(o!).mul(f(next)), next];
      },
  },
  GRU: {
    states: 1,
    // nabla's kernel applies the reset gate after it multiplies the state by the weight, but TensorFlow.js applies it
    // before.
    kernel: () => undefined,
    step({ weights }, units, f, gate, mask) {
      const [gates, candidates] = weights.weightHh!.split([2 * units, units]);
      return (x, [before]) => {
        const h = mask(before!);
        const [xGates, xCandidate] = x.split([2 * units, units], 1);
        const [z, r] = xGates!.add(ops.linear(h, gates!)).split(units, 1).map(gate);
        const candidate = f(xCandidate!.add(ops.linear(r!.mul(h), candidates!)));
        return [z!.mul(h).add(z!.neg().add(1).mul(candidate))];
      };
    },
  },
};

/** The outputs of all steps, [batch, steps, units], and the final state. */
function unroll(projections: Tensor, initial: readonly Tensor[], step: Step): [Tensor, Tensor[]] {
  let state = [...initial];
  const outputs = projections.split(1, 1).map((x) => {
    state = step(x.squeeze(1), state);
    return state[0]!;
  });
  return [ops.stack(outputs, 1), state];
}

export const recurrent: Rule = (context) => {
  const { layer, config, variables } = context;
  const name = config.cell ? (config.cell.className as string).replace(/Cell$/, "") : layer.getClassName();
  const cell = cells[name];
  if (!cell)
    reject(
      layer,
      `has the cell ${config.cell.className}, which is not supported`,
      `Use one layer per cell: ${Object.keys(cells).join(", ")}`,
    );
  if (config.stateful)
    reject(layer, "is stateful", "Create it with stateful: false, returnState: true and an initialState");
  const { units, activation, recurrentActivation = "linear", dropout, recurrentDropout } = config;
  const [f, gate] = [activationOf(layer, activation), activationOf(layer, recurrentActivation)];
  const kernel = cell.kernel(activation, recurrentActivation);
  return {
    weights: weightsOf(variables, {
      weightIh: { of: "kernel", axes: [1, 0] },
      weightHh: { of: "recurrent_kernel", axes: [1, 0] },
      bias: { of: "bias" },
    }),
    run(own, input, ...initial) {
      const { weights, training } = own;
      const batch = input.shape[0]!;
      const ordered = config.goBackwards ? input.flip(1) : input;
      // All steps of a sequence share one dropout mask.
      const x = training ? dropped(ordered, dropout, [batch, 1, input.shape[2]!]) : ordered;
      const dropsState = training && recurrentDropout > 0 && recurrentDropout < 1;
      let y: Tensor;
      let last: Tensor[];
      if (kernel && !dropsState) [y, ...last] = kernel(x, initial, own) as [Tensor, ...Tensor[]];
      else {
        const start = initial.length ? initial : Array.from({ length: cell.states }, () => zeros([batch, units]));
        const kept = dropsState ? dropped(ones([batch, units]), recurrentDropout) : undefined;
        const step = cell.step(own, units, f, gate, (h) => (kept ? h.mul(kept) : h));
        [y, last] = unroll(ops.linear(x, weights.weightIh!, weights.bias ?? null), start, step);
      }
      const output = config.returnSequences ? y : last[0]!;
      return config.returnState ? [output, ...last] : output;
    },
  };
};

type Merge = (forward: Tensor, backward: Tensor) => Tensor;
const merges: Readonly<Record<string, Merge>> = {
  concat: (y, z) => ops.concat([y, z], -1),
  sum: (y, z) => y.add(z),
  ave: (y, z) => y.add(z).mul(0.5),
  mul: (y, z) => y.mul(z),
};

export const bidirectional: Rule = ({ layer, config: { mergeMode }, plan }: Context) => {
  const { forwardLayer, backwardLayer } = layer;
  const { returnSequences, returnState } = forwardLayer!.getConfig() as Record<string, boolean>;
  return {
    layers: new Map([
      ["forwardLayer", plan(forwardLayer!)],
      ["backwardLayer", plan(backwardLayer!)],
    ]),
    run({ layers }, x, ...initial) {
      const half = initial.length / 2;
      const [y, ...states] = [layers.forwardLayer!.forward(x, ...initial.slice(0, half))].flat() as Tensor[];
      const [reversed, ...more] = [layers.backwardLayer!.forward(x, ...initial.slice(half))].flat() as Tensor[];
      const z = returnSequences ? reversed!.flip(1) : reversed!;
      const merged = mergeMode === null ? [y!, z] : [merges[mergeMode]!(y!, z)];
      return returnState ? [...merged, ...states, ...more] : merged;
    },
  };
};

export const timeDistributed: Rule = ({ layer, plan }) => {
  const inner = plan(layer.layer!);
  // A dense layer can process all steps at once. Other layers may depend on which samples are in the batch, so they
  // process one step at a time.
  const isDense = inner.className === "Dense";
  return {
    layers: new Map([["layer", inner]]),
    run({ layers }, x) {
      const run = (y: Tensor): Tensor => single(layers.layer!.forward(y));
      if (isDense) return run(x);
      return ops.stack(
        x.split(1, 1).map((step) => run(step.squeeze(1))),
        1,
      );
    },
  };
};
