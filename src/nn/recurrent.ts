/** Recurrent layers and their cells. Names, arguments, defaults and parameters are PyTorch's, in camelCase. */
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

/** Options of RNN, LSTM and GRU. */
export interface RecurrentOptions {
  /** Layers on top of each other. Default 1. */
  readonly numLayers?: number;
  /** Whether there are biases. Default true. */
  readonly bias?: boolean;
  /** x and the output are [batch, steps, …] instead of [steps, batch, …]; states are not. Default false. */
  readonly batchFirst?: boolean;
  /** Dropout between layers, in training. Default 0. */
  readonly dropout?: number;
  /** A second layer beside each that walks from the end; results lie side by side. Default false. */
  readonly bidirectional?: boolean;
}

/** How many steps of each sequence count: int32 [batch], or a list. */
export interface ForwardOptions {
  /**
   * How many steps of each sequence count, [batch]: an int32 tensor or numbers. Later outputs are 0. Default: all
   * steps.
   */
  readonly lengths?: Tensor | readonly number[];
}

type Kind = keyof typeof cells;

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

/** One direction of one layer's parameters, uniform in ±1/√hidden, under PyTorch's names with `suffix`. */
function defineWeights(
  module: Module,
  kind: Kind,
  inputSize: number,
  hiddenSize: number,
  bias: boolean,
  suffix: string,
): void {
  const bound = 1 / Math.sqrt(hiddenSize);
  const rows = cells[kind].gates * hiddenSize;
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
  const own = module as unknown as Record<string, Tensor | undefined>; // as defineWeights named them
  const [weightIh, weightHh] = [own[`weightIh${suffix}`]!, own[`weightHh${suffix}`]!];
  return { weightIh, weightHh, biasIh: own[`biasIh${suffix}`] ?? null, biasHh: own[`biasHh${suffix}`] ?? null };
}

/** What RNN, LSTM and GRU share: layers, directions, states, dropout. */
abstract class Recurrent extends Module {
  protected readonly nonlinearity: "tanh" | "relu" = "tanh";
  /** The number of layers, each of which reads the one before. */
  readonly numLayers: number;
  /** Whether a second network reads each sequence from its end. */
  readonly bidirectional: boolean;
  /** Whether x and the output are [batch, steps, …] instead of [steps, batch, …]. */
  readonly batchFirst: boolean;
  private readonly between: Dropout;

  constructor(
    private readonly kind: Kind,
    /** The size of each step's input. */
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
    this.between = new Dropout(dropout);
    for (let layer = 0; layer < numLayers; layer++)
      for (const suffix of this.suffixes(layer))
        defineWeights(this, kind, layer ? hiddenSize * this.directions : inputSize, hiddenSize, bias, suffix);
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }
  private suffixes(layer: number): string[] {
    return this.bidirectional ? [`L${layer}`, `L${layer}Reverse`] : [`L${layer}`];
  }

  /** A state given by the caller, [layers·directions, batch, hidden], cut into its parts; null where there is none. */
  private parts(name: string, state: Tensor | undefined, batch: number): (Tensor | null)[] {
    const count = this.numLayers * this.directions;
    const shape = [count, batch, this.hiddenSize];
    if (state && (state.shape.length !== 3 || state.shape.some((n, i) => n !== shape[i])))
      throw new ShapeError(
        `${kindOf(this)}: ${name} is [${state.shape.join(", ")}], but must be [${shape.join(", ")}]: [layers·directions, batch, hidden].`,
      );
    return Array.from({ length: count }, (_, i) =>
      state ? state.narrow(0, i, 1).reshape([batch, this.hiddenSize]) : null,
    );
  }

  /** The output of the last layer, and the last states of all, [layers·directions, batch, hidden] each. */
  protected run(x: Tensor, states: readonly (Tensor | undefined)[], { lengths }: ForwardOptions): [Tensor, Tensor[]] {
    const { batchFirst, kind, nonlinearity } = this;
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
        `${name}: x is [${x.shape.join(", ")}], but must be ${batchFirst ? "[batch, steps" : "[steps, batch"}, ${this.inputSize}], or without the batch.`,
      );
    const batch = x.shape[batchFirst ? 0 : 1]!;
    const names = ["the initial state", "the initial cell state"];
    const parts = states.map((state, i) => this.parts(names[i]!, state, batch));
    if (Array.isArray(lengths) && lengths.some((n) => !Number.isInteger(n)))
      throw new RangeError(`${name}: lengths are [${lengths.join(", ")}], but must be whole numbers.`);
    const counts = lengths && !(lengths instanceof Tensor) ? tensor([...lengths], { dtype: "int32" }) : lengths;
    const last: Tensor[][] = states.map(() => []);
    let y = x;
    for (let layer = 0; layer < this.numLayers; layer++) {
      if (layer) y = this.between.forward(y);
      const outputs = this.suffixes(layer).map((suffix, direction) => {
        const own = parts.map((part) => part[layer * this.directions + direction]!);
        const options = { batchFirst, reverse: direction === 1, ...(counts ? { lengths: counts } : {}) };
        const weights = weightsOf(this, suffix);
        const [output, ...ends] =
          kind === "lstm"
            ? ops.lstm(y, own[0]!, own[1]!, weights, options)
            : kind === "gru"
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
 * Elman's recurrent network, h = tanh(W·x + U·h + b) (or relu), in one or more layers. x: [steps, batch, inputSize] (batchFirst:
 * [batch, steps, …]; without a batch: [steps, …]) → [output, hn] with output [steps, batch, directions·hiddenSize] and hn
 * [layers·directions, batch, hiddenSize]. Parameters: weightIhL0 [hiddenSize, inputSize], weightHhL0, biasIhL0, biasHhL0, …,
 * uniform in ±1/√hiddenSize. `lengths` says how many steps of each sequence count: behind them outputs are 0, and hn is the
 * state at the sequence's own end.
 *
 * ```ts
 * const [output, hn] = new nn.RNN(4, 8).forward(randn([5, 2, 4]));   // [5, 2, 8], [1, 2, 8]
 * ```
 */
export class RNN extends Recurrent {
  static override readonly kind: string = "RNN";
  protected override readonly nonlinearity: "tanh" | "relu";

  constructor(
    inputSize: number,
    hiddenSize: number,
    given: RecurrentOptions & {
      /** The state's activation. Default "tanh". */
      readonly nonlinearity?: "tanh" | "relu";
    } = {},
  ) {
    check("RNN", arguments, `${SIZES} {${OPTIONS} nonlinearity:string}`);
    const { nonlinearity = "tanh", ...options } = given;
    super("rnn", inputSize, hiddenSize, options);
    requireNonlinearity("RNN", nonlinearity);
    this.nonlinearity = nonlinearity;
  }
  /**
   * Runs the sequence. x: [steps, batch, inputSize], h0: [layers·directions, batch, hiddenSize], by default 0 →
   * [output, hn]: output [steps, batch, directions·hiddenSize], hn like h0.
   * @throws ShapeError
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
 * Long short-term memory (Hochreiter and Schmidhuber 1997): as RNN, with a cell state beside the state, and returns [output,
 * [hn, cn]]. Gates lie in PyTorch's order, i, f, g, o.
 *
 * ```ts
 * const [output, [hn, cn]] = new nn.LSTM(4, 8).forward(randn([5, 2, 4]));   // [5, 2, 8], [1, 2, 8] each
 * ```
 */
export class LSTM extends Recurrent {
  static override readonly kind: string = "LSTM";
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    check("LSTM", arguments, `${SIZES} {${OPTIONS}}`);
    super("lstm", inputSize, hiddenSize, options);
  }
  /**
   * Runs the sequence. x: [steps, batch, inputSize], state: [h0, c0], each [layers·directions, batch, hiddenSize],
   * by default 0 → [output, [hn, cn]]: output [steps, batch, directions·hiddenSize].
   * @throws ShapeError
   */
  forward(
    ...inputs: [x: Tensor, state?: States | undefined, options?: ForwardOptions] | [x: Tensor, options?: ForwardOptions]
  ): [output: Tensor, state: [hn: Tensor, cn: Tensor]] {
    const [x, state, options = {}] = check(kindOf(this), inputs, STATES) as [Tensor, States?, ForwardOptions?];
    const [y, [hn, cn]] = this.run(x, [state?.[0], state?.[1]], options);
    return [y, [hn!, cn!]];
  }
}

/** Gated recurrent units (Cho et al. 2014): as RNN. Gates lie in PyTorch's order, r, z, n. */
export class GRU extends Recurrent {
  static override readonly kind: string = "GRU";
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    check("GRU", arguments, `${SIZES} {${OPTIONS}}`);
    super("gru", inputSize, hiddenSize, options);
  }
  /**
   * Runs the sequence through gated units. x: [steps, batch, inputSize], h0: [layers·directions, batch, hiddenSize],
   * by default 0 → [output, hn]: output [steps, batch, directions·hiddenSize].
   * @throws ShapeError
   */
  forward(
    ...inputs: [x: Tensor, h0?: Tensor | undefined, options?: ForwardOptions] | [x: Tensor, options?: ForwardOptions]
  ): Last {
    const [x, h0, options = {}] = check(kindOf(this), inputs, STATE) as [Tensor, Tensor | undefined, ForwardOptions?];
    const [y, [hn]] = this.run(x, [h0], options);
    return [y, hn!];
  }
}

/** One step of a recurrence: what the cells share. */
abstract class RecurrentCell extends Module {
  constructor(
    kind: Kind,
    /** The size of the input of one step. */
    readonly inputSize: number,
    /** The size of the cell's state. */
    readonly hiddenSize: number,
    { bias = true }: { readonly bias?: boolean } = {},
  ) {
    super();
    requireWhole(kindOf(this), { inputSize, hiddenSize });
    defineWeights(this, kind, inputSize, hiddenSize, bias, "");
  }
  /** x as a sequence of one step. */
  protected step(x: Tensor): Tensor {
    if (x.shape.length !== 2 || x.shape[1] !== this.inputSize)
      throw new ShapeError(`${kindOf(this)}: x is [${x.shape.join(", ")}], but must be [batch, ${this.inputSize}].`);
    return x.unsqueeze(0);
  }
  protected override describe(): string {
    return `${this.inputSize}, ${this.hiddenSize}`;
  }
}

/** One step of an RNN: x [batch, inputSize], h [batch, hiddenSize] → h. */
export class RNNCell extends RecurrentCell {
  static override readonly kind: string = "RNNCell";
  constructor(
    inputSize: number,
    hiddenSize: number,
    private readonly options: {
      /** Add trainable biases. Default true. */
      readonly bias?: boolean;
      /** The activation of the new state. Default "tanh". */
      readonly nonlinearity?: "tanh" | "relu";
    } = {},
  ) {
    super("rnn", inputSize, hiddenSize, options);
    check("RNNCell", arguments, `${SIZES} {bias:boolean nonlinearity:string}`);
    requireNonlinearity("RNNCell", options.nonlinearity ?? "tanh");
  }
  /**
   * One step. x: [batch, inputSize], h: [batch, hiddenSize], by default 0 → the next h.
   * @throws ShapeError
   */
  forward(x: Tensor, h?: Tensor): Tensor {
    check(kindOf(this), arguments, "x:tensor h?:tensor");
    const { nonlinearity = "tanh" } = this.options;
    return ops.rnn(this.step(x), h ?? null, weightsOf(this, ""), { nonlinearity })[1]!;
  }
}

/** One step of an LSTM: x [batch, inputSize], [h, c] [batch, hiddenSize] each → [h, c]. */
export class LSTMCell extends RecurrentCell {
  static override readonly kind: string = "LSTMCell";
  constructor(
    inputSize: number,
    hiddenSize: number,
    options: {
      /** Add trainable biases to the four gates. Default true. */
      readonly bias?: boolean;
    } = {},
  ) {
    check("LSTMCell", arguments, `${SIZES} {bias:boolean}`);
    super("lstm", inputSize, hiddenSize, options);
  }
  /**
   * One step. x: [batch, inputSize], state: [h, c], each [batch, hiddenSize], by default 0 → the next [h, c].
   * @throws ShapeError
   */
  forward(x: Tensor, state?: readonly [h: Tensor, c: Tensor]): [h: Tensor, c: Tensor] {
    check(kindOf(this), arguments, "x:tensor state?:tensors");
    const [h = null, c = null] = state ?? [];
    const [, hn, cn] = ops.lstm(this.step(x), h, c, weightsOf(this, ""));
    return [hn!, cn!];
  }
}

/** One step of a GRU: x [batch, inputSize], h [batch, hiddenSize] → h. */
export class GRUCell extends RecurrentCell {
  static override readonly kind: string = "GRUCell";
  constructor(
    inputSize: number,
    hiddenSize: number,
    options: {
      /** Add trainable biases to the three gates. Default true. */
      readonly bias?: boolean;
    } = {},
  ) {
    check("GRUCell", arguments, `${SIZES} {bias:boolean}`);
    super("gru", inputSize, hiddenSize, options);
  }
  /**
   * One step of gated units. x: [batch, inputSize], h: [batch, hiddenSize], by default 0 → the next h.
   * @throws ShapeError
   */
  forward(x: Tensor, h?: Tensor): Tensor {
    check(kindOf(this), arguments, "x:tensor h?:tensor");
    return ops.gru(this.step(x), h ?? null, weightsOf(this, ""))[1]!;
  }
}
