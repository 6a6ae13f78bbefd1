/** Recurrent layers and cells. Names, arguments, defaults and parameters are PyTorch's, in camelCase. */

import { tensor, zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import { Tensor } from "../core/tensor.ts";
import { cells } from "../ops/sequence/cells.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole, ShapeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { requireChoice } from "../runtime/names.ts";
import * as init from "./init.ts";
import { Dropout } from "./layers.ts";
import { Module, parameter } from "./module.ts";

/** Options for RNN, LSTM and GRU. */
export interface RecurrentOptions {
  /** The number of stacked layers. Default 1. */
  readonly numLayers?: number;
  /** Whether to add biases. Default true. */
  readonly bias?: boolean;
  /** Whether x and the output are [batch, steps, …] instead of [steps, batch, …]; states are not affected. Default false. */
  readonly batchFirst?: boolean;
  /** The probability, between 0 and 1, of dropping an element between layers in training. Default 0. */
  readonly dropout?: number;
  /**
   * Whether to add to each layer a second one that reads the sequence backwards; the two outputs are concatenated.
   * Default false.
   */
  readonly bidirectional?: boolean;
}

/** Options for RNN. */
export interface RNNOptions extends RecurrentOptions {
  /** The activation of the new state. Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}

/** Options for LSTMCell and GRUCell. */
export interface CellOptions {
  /** Whether to add biases. Default true. */
  readonly bias?: boolean;
}

/** Options for RNNCell. */
export interface RNNCellOptions extends CellOptions {
  /** The activation of the new state. Default "tanh". */
  readonly nonlinearity?: "tanh" | "relu";
}

/** Options for `forward` of the recurrent layers. */
export interface ForwardOptions {
  /**
   * The number of steps in each sequence, int32 [batch] or a list; outputs after a sequence's last step are 0. Default:
   * all steps.
   */
  readonly lengths?: Tensor | readonly number[];
}

type CellName = keyof typeof cells;

const SIZES = "inputSize:number hiddenSize:number";
const OPTIONS = "numLayers:number bias:boolean batchFirst:boolean dropout:number bidirectional:boolean";
const LENGTHS = "{lengths:tensor|numbers}";
const STATE = `x:tensor h0?:tensor ${LENGTHS}`;
const STATES = `x:tensor state?:tensors ${LENGTHS}`;
type States = readonly [h0: Tensor, c0: Tensor];
type Last = [output: Tensor, hn: Tensor];

function requireNonlinearity(name: string, nonlinearity: string): void {
  requireChoice(name, "nonlinearity", nonlinearity, ["tanh", "relu"]);
}

/**
 * Creates the parameters for one direction of a layer, uniform in ±1/√hidden, under PyTorch's names followed by
 * `suffix`.
 */
function defineWeights(
  module: Module,
  cell: CellName,
  inputSize: number,
  hiddenSize: number,
  bias: boolean,
  suffix: string,
): void {
  const bound = 1 / Math.sqrt(hiddenSize);
  const rows = cells[cell].gates * hiddenSize;
  const make = (name: string, shape: number[]): void => {
    const value = parameter(init.uniform(zeros(shape), -bound, bound), module);
    Object.defineProperty(module, name + suffix, { value, enumerable: true });
  };
  make("weightIh", [rows, inputSize]);
  make("weightHh", [rows, hiddenSize]);
  if (!bias) return;
  make("biasIh", [rows]);
  make("biasHh", [rows]);
}

function weightsOf(module: Module, suffix: string): Parameters<typeof ops.lstm>[3] {
  const own = module as unknown as Record<string, Tensor | undefined>; // defineWeights creates these properties
  const [weightIh, weightHh] = [own[`weightIh${suffix}`]!, own[`weightHh${suffix}`]!];
  return { weightIh, weightHh, biasIh: own[`biasIh${suffix}`] ?? null, biasHh: own[`biasHh${suffix}`] ?? null };
}

/** Base class of RNN, LSTM and GRU. It implements layers, directions, states and dropout. */
abstract class Recurrent extends Module {
  protected readonly nonlinearity: "tanh" | "relu" = "tanh";
  /** The number of layers. Each layer reads the output of the previous one. */
  readonly numLayers: number;
  /** Whether each layer has a second one that reads the sequence backwards. */
  readonly bidirectional: boolean;
  /** Whether x and the output are [batch, steps, …] instead of [steps, batch, …]. */
  readonly batchFirst: boolean;
  private readonly dropout: Dropout;

  /** @param inputSize the number of elements in each step's input @param hiddenSize the number of elements in the state */
  constructor(
    private readonly cell: CellName,
    readonly inputSize: number,
    /** The size of the state. */
    readonly hiddenSize: number,
    { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false }: RecurrentOptions = {},
  ) {
    super();
    requireWhole(kindOf(this), { inputSize, hiddenSize, numLayers });
    this.numLayers = numLayers;
    this.bidirectional = bidirectional;
    this.batchFirst = batchFirst;
    this.dropout = new Dropout(dropout);
    for (let layer = 0; layer < numLayers; layer++)
      for (const suffix of this.suffixes(layer))
        defineWeights(this, cell, layer ? hiddenSize * this.directions : inputSize, hiddenSize, bias, suffix);
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }
  private suffixes(layer: number): string[] {
    return this.bidirectional ? [`L${layer}`, `L${layer}Reverse`] : [`L${layer}`];
  }

  /**
   * Splits a state [layers·directions, batch, hidden] by layer and direction. Without a state, returns nulls.
   * @throws ShapeError
   */
  private splitState(name: string, state: Tensor | undefined, batch: number): (Tensor | null)[] {
    const count = this.numLayers * this.directions;
    const shape = [count, batch, this.hiddenSize];
    if (state && (state.shape.length !== 3 || state.shape.some((n, i) => n !== shape[i])))
      throw new ShapeError(
        `${kindOf(this)}: ${name} must be [${shape.join(", ")}] ([layers·directions, batch, hidden]), got [${state.shape.join(", ")}].`,
      );
    return Array.from({ length: count }, (_, i) =>
      state ? state.narrow(0, i, 1).reshape([batch, this.hiddenSize]) : null,
    );
  }

  /**
   * @returns the last layer's output, and the final states of all layers, [layers·directions, batch, hidden] each
   * @throws ShapeError, RangeError
   */
  protected run(x: Tensor, states: readonly (Tensor | undefined)[], { lengths }: ForwardOptions): [Tensor, Tensor[]] {
    const { batchFirst, cell, nonlinearity } = this;
    const name = kindOf(this);
    if (x.shape.length === 2) {
      const [y, last] = this.run(
        x.unsqueeze(batchFirst ? 0 : 1),
        states.map((s) => s?.unsqueeze(1)),
        lengths ? { lengths } : {},
      );
      return [y.squeeze(batchFirst ? 0 : 1), last.map((s) => s.squeeze(1))];
    }
    if (x.shape.length !== 3 || x.shape[2] !== this.inputSize)
      throw new ShapeError(
        `${name}: x must be ${batchFirst ? "[batch, steps" : "[steps, batch"}, ${this.inputSize}], or without the batch, got [${x.shape.join(", ")}].`,
      );
    const batch = x.shape[batchFirst ? 0 : 1]!;
    const names = ["the initial state", "the initial cell state"];
    const parts = states.map((state, i) => this.splitState(names[i]!, state, batch));
    if (Array.isArray(lengths) && lengths.some((n) => !Number.isInteger(n)))
      throw new RangeError(`${name}: lengths must be whole numbers, got [${lengths.join(", ")}].`);
    const counts = lengths && !(lengths instanceof Tensor) ? tensor([...lengths], { dtype: "int32" }) : lengths;
    const last: Tensor[][] = states.map(() => []);
    let y = x;
    for (let layer = 0; layer < this.numLayers; layer++) {
      if (layer) y = this.dropout.forward(y);
      const outputs = this.suffixes(layer).map((suffix, direction) => {
        const own = parts.map((part) => part[layer * this.directions + direction]!);
        const options = { batchFirst, reverse: direction === 1, ...(counts ? { lengths: counts } : {}) };
        const weights = weightsOf(this, suffix);
        const [output, ...ends] =
          cell === "lstm"
            ? ops.lstm(y, own[0]!, own[1]!, weights, options)
            : cell === "gru"
              ? ops.gru(y, own[0]!, weights, options)
              : ops.rnn(y, own[0]!, weights, { ...options, nonlinearity });
        ends.forEach((end, i) => void last[i]!.push(end));
        return output!;
      });
      y = outputs.length > 1 ? ops.concat(outputs, 2) : outputs[0]!;
    }
    return [y, last.map((ends) => ops.stack(ends))];
  }

  protected override describe(): string {
    const { inputSize, hiddenSize, numLayers, batchFirst, bidirectional } = this;
    return `${inputSize}, ${hiddenSize}, numLayers=${numLayers}, batchFirst=${batchFirst}, bidirectional=${bidirectional}`;
  }
}

/**
 * Elman's recurrent network: hₜ = tanh(W·xₜ + U·hₜ₋₁ + b), or relu (Elman 1990). The parameters are weightIhL0
 * [hiddenSize, inputSize], weightHhL0 [hiddenSize, hiddenSize], biasIhL0 and biasHhL0 [hiddenSize], and the same for
 * each further layer. They are initially uniform in ±1/√hiddenSize.
 *
 * ```ts
 * const [output, hn] = new nn.RNN(4, 8).forward(randn([5, 2, 4]));   // [5, 2, 8], [1, 2, 8]
 * ```
 * @throws RangeError for invalid sizes or options
 */
export class RNN extends Recurrent {
  static override readonly kind: string = "RNN";
  protected override readonly nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    check("RNN", arguments, `${SIZES} {${OPTIONS} nonlinearity:string}`);
    super("rnn", inputSize, hiddenSize, options);
    const { nonlinearity = "tanh" } = options;
    requireNonlinearity("RNN", nonlinearity);
    this.nonlinearity = nonlinearity;
  }
  /**
   * x: [steps, batch, inputSize] (batchFirst: [batch, steps, inputSize]; unbatched: [steps, inputSize]); h0:
   * [layers·directions, batch, hiddenSize], by default zeros → output [steps, batch, directions·hiddenSize] and hn,
   * which is the state at the end of each sequence and has h0's shape.
   * @throws ShapeError if shapes do not match; RangeError for invalid lengths
   */
  forward(
    ...inputs: [x: Tensor, h0?: Tensor | undefined, options?: ForwardOptions] | [x: Tensor, options?: ForwardOptions]
  ): Last {
    const [x, h0, options = {}] = check(kindOf(this), inputs, STATE) as [Tensor, Tensor | undefined, ForwardOptions?];
    const [y, [hn]] = this.run(x, [h0], options);
    return [y, hn!];
  }
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997). Parameters are named as in RNN and have 4·hiddenSize rows,
 * with the gates in PyTorch's order: i, f, g, o.
 *
 * ```ts
 * const [output, [hn, cn]] = new nn.LSTM(4, 8).forward(randn([5, 2, 4]));   // [5, 2, 8], [1, 2, 8] each
 * ```
 * @throws RangeError for invalid sizes or options
 */
export class LSTM extends Recurrent {
  static override readonly kind: string = "LSTM";
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    check("LSTM", arguments, `${SIZES} {${OPTIONS}}`);
    super("lstm", inputSize, hiddenSize, options);
  }
  /**
   * Like RNN's forward, but the initial state is a pair [h0, c0], by default zeros, and the results are output and [hn, cn].
   * @throws ShapeError if shapes do not match; RangeError for invalid lengths
   */
  forward(
    ...inputs: [x: Tensor, state?: States | undefined, options?: ForwardOptions] | [x: Tensor, options?: ForwardOptions]
  ): [output: Tensor, state: [hn: Tensor, cn: Tensor]] {
    const [x, state, options = {}] = check(kindOf(this), inputs, STATES) as [Tensor, States?, ForwardOptions?];
    const [y, [hn, cn]] = this.run(x, [state?.[0], state?.[1]], options);
    return [y, [hn!, cn!]];
  }
}

/**
 * Gated recurrent unit (Cho et al. 2014). Parameters are named as in RNN and have 3·hiddenSize rows, with the gates in
 * PyTorch's order: r, z, n.
 *
 * ```ts
 * const [output, hn] = new nn.GRU(4, 8).forward(randn([5, 2, 4]));   // [5, 2, 8], [1, 2, 8]
 * ```
 * @throws RangeError for invalid sizes or options
 */
export class GRU extends Recurrent {
  static override readonly kind: string = "GRU";
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    check("GRU", arguments, `${SIZES} {${OPTIONS}}`);
    super("gru", inputSize, hiddenSize, options);
  }
  /**
   * Like RNN's forward: takes x and h0, and returns output and hn.
   * @throws ShapeError if shapes do not match; RangeError for invalid lengths
   */
  forward(
    ...inputs: [x: Tensor, h0?: Tensor | undefined, options?: ForwardOptions] | [x: Tensor, options?: ForwardOptions]
  ): Last {
    const [x, h0, options = {}] = check(kindOf(this), inputs, STATE) as [Tensor, Tensor | undefined, ForwardOptions?];
    const [y, [hn]] = this.run(x, [h0], options);
    return [y, hn!];
  }
}

/** Base class of the cells, which compute one step of a recurrence. */
abstract class RecurrentCell extends Module {
  /** @param inputSize the number of elements in the input @param hiddenSize the number of elements in the state */
  constructor(
    cell: CellName,
    readonly inputSize: number,
    /** The size of the cell's state. */
    readonly hiddenSize: number,
    { bias = true }: CellOptions = {},
  ) {
    super();
    requireWhole(kindOf(this), { inputSize, hiddenSize });
    defineWeights(this, cell, inputSize, hiddenSize, bias, "");
  }
  /** Returns x as a sequence of one step. @throws ShapeError */
  protected step(x: Tensor): Tensor {
    if (x.shape.length !== 2 || x.shape[1] !== this.inputSize)
      throw new ShapeError(`${kindOf(this)}: x must be [batch, ${this.inputSize}], got [${x.shape.join(", ")}].`);
    return x.unsqueeze(0);
  }
  protected override describe(): string {
    return `${this.inputSize}, ${this.hiddenSize}`;
  }
}

/**
 * One step of an RNN. Parameters: weightIh [hiddenSize, inputSize], weightHh, biasIh, biasHh.
 * @throws RangeError for invalid sizes or options
 */
export class RNNCell extends RecurrentCell {
  static override readonly kind: string = "RNNCell";
  constructor(
    inputSize: number,
    hiddenSize: number,
    private readonly options: RNNCellOptions = {},
  ) {
    super("rnn", inputSize, hiddenSize, options);
    check("RNNCell", arguments, `${SIZES} {bias:boolean nonlinearity:string}`);
    requireNonlinearity("RNNCell", options.nonlinearity ?? "tanh");
  }
  /** x: [batch, inputSize], h: [batch, hiddenSize], by default zeros → the next h. @throws ShapeError */
  forward(x: Tensor, h?: Tensor): Tensor {
    check(kindOf(this), arguments, "x:tensor h?:tensor");
    const { nonlinearity = "tanh" } = this.options;
    return ops.rnn(this.step(x), h ?? null, weightsOf(this, ""), { nonlinearity })[1]!;
  }
}

/** One step of an LSTM. Parameters: weightIh [4·hiddenSize, inputSize], weightHh, biasIh, biasHh. @throws RangeError for invalid sizes */
export class LSTMCell extends RecurrentCell {
  static override readonly kind: string = "LSTMCell";
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    check("LSTMCell", arguments, `${SIZES} {bias:boolean}`);
    super("lstm", inputSize, hiddenSize, options);
  }
  /** x: [batch, inputSize], h and c: [batch, hiddenSize], by default zeros → the next [h, c]. @throws ShapeError */
  forward(x: Tensor, state?: readonly [h: Tensor, c: Tensor]): [h: Tensor, c: Tensor] {
    check(kindOf(this), arguments, "x:tensor state?:tensors");
    const [h = null, c = null] = state ?? [];
    const [, hn, cn] = ops.lstm(this.step(x), h, c, weightsOf(this, ""));
    return [hn!, cn!];
  }
}

/** One step of a GRU. Parameters: weightIh [3·hiddenSize, inputSize], weightHh, biasIh, biasHh. @throws RangeError for invalid sizes */
export class GRUCell extends RecurrentCell {
  static override readonly kind: string = "GRUCell";
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    check("GRUCell", arguments, `${SIZES} {bias:boolean}`);
    super("gru", inputSize, hiddenSize, options);
  }
  /** x: [batch, inputSize], h: [batch, hiddenSize], by default zeros → the next h. @throws ShapeError */
  forward(x: Tensor, h?: Tensor): Tensor {
    check(kindOf(this), arguments, "x:tensor h?:tensor");
    return ops.gru(this.step(x), h ?? null, weightsOf(this, ""))[1]!;
  }
}
