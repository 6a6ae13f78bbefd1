/** The networks whose training steps are compared with PyTorch's: their shapes and initial values. */
import { uniform } from "./values.ts";

/** A CNN: two 3×3 convolutions with padding 1 and relu, 2×2 max pooling, and a linear layer. Adam minimizes the mean cross-entropy. */
export interface Cnn {
  readonly name: string;
  readonly kind: "cnn";
  readonly batch: number;
  /** Images are size × size × 1. */
  readonly size: number;
  readonly channels: readonly [number, number];
  readonly outputs: number;
}

/** One recurrent layer over [steps, batch, inputs], and a linear layer on its last state. Adam minimizes the mean cross-entropy. */
export interface RecurrentNetwork {
  readonly name: string;
  readonly kind: "lstm" | "gru";
  readonly batch: number;
  readonly steps: number;
  readonly inputs: number;
  readonly hidden: number;
  readonly outputs: number;
}

/**
 * Predicts the next character with an embedding, encoder layers with causal attention (post-norm, relu, no dropout), and a linear layer.
 * Adam minimizes the mean cross-entropy over all positions of [batch, steps].
 */
export interface Transformer {
  readonly name: string;
  readonly kind: "transformer";
  readonly batch: number;
  readonly steps: number;
  readonly width: number;
  readonly heads: number;
  readonly feedforward: number;
  readonly layers: number;
  /** The number of different characters. */
  readonly outputs: number;
}

export type Network = Cnn | RecurrentNetwork | Transformer;

const sequence = { batch: 32, steps: 28, inputs: 28, hidden: 128, outputs: 10 };

export const networks: readonly Network[] = [
  { name: "CNN 8-16 28×28 B=32", kind: "cnn", batch: 32, size: 28, channels: [8, 16], outputs: 10 },
  { name: "CNN 32-64 28×28 B=32", kind: "cnn", batch: 32, size: 28, channels: [32, 64], outputs: 10 },
  { name: "LSTM 28→128 T=28 B=32", kind: "lstm", ...sequence },
  { name: "GRU 28→128 T=28 B=32", kind: "gru", ...sequence },
  {
    name: "Transformer 2×64 T=64 B=16",
    kind: "transformer",
    batch: 16,
    steps: 64,
    width: 64,
    heads: 4,
    feedforward: 256,
    layers: 2,
    outputs: 65,
  },
];

export interface NetworkStart {
  /** Images, sequences, or text with one number for each character. */
  readonly x: Float32Array;
  readonly labels: Int32Array;
  /** The initial values and their shapes, in the order of the model's parameters, with channels last. */
  readonly params: readonly { readonly shape: number[]; readonly values: Float32Array }[];
}

/** Each parameter's shape, and the fan-in that bounds its values. */
function parametersOf(network: Network): [shape: number[], fanIn: number][] {
  const layer = (out: number, ...rest: number[]): [number[], number][] => {
    const fanIn = rest.reduce((a, b) => a * b, 1);
    return [
      [[out, ...rest], fanIn],
      [[out], fanIn],
    ];
  };
  if (network.kind === "cnn") {
    const [first, second] = network.channels;
    return [
      ...layer(first, 3, 3, 1),
      ...layer(second, 3, 3, first),
      ...layer(network.outputs, (network.size / 2) ** 2 * second),
    ];
  }
  if (network.kind === "transformer") {
    const { width, feedforward, layers, outputs } = network;
    // The parameters of norms get random initial values too, so this code can treat all parameters alike.
    const block = [
      ...layer(3 * width, width),
      ...layer(width, width),
      ...layer(feedforward, width),
      ...layer(width, feedforward),
      ...[1, 2, 3, 4].map((): [number[], number] => [[width], 1]),
    ];
    return [[[outputs, width], 1], ...Array.from({ length: layers }, () => block).flat(), ...layer(outputs, width)];
  }
  const { kind, inputs, hidden, outputs } = network;
  const rows = (kind === "lstm" ? 4 : 3) * hidden;
  const shapes = [[rows, inputs], [rows, hidden], [rows], [rows]];
  return [...shapes.map((shape): [number[], number] => [shape, hidden]), ...layer(outputs, hidden)];
}

/** The data, and initial parameters drawn uniformly between −1/√fanIn and 1/√fanIn. */
export function networkStart(network: Network): NetworkStart {
  const { batch, outputs, kind } = network;
  const positions = kind === "transformer" ? batch * network.steps : batch;
  const x =
    kind === "cnn"
      ? uniform(batch * network.size ** 2, 0, 1, 1)
      : kind === "transformer"
        ? uniform(positions, 0, outputs, 1).map(Math.floor)
        : uniform(network.steps * batch * network.inputs, 0, 1, 1);
  return {
    x,
    labels: Int32Array.from(uniform(positions, 0, outputs, 2), Math.floor),
    params: parametersOf(network).map(([shape, fanIn], i) => {
      const bound = 1 / Math.sqrt(fanIn);
      const size = shape.reduce((a, b) => a * b, 1);
      return { shape, values: uniform(size, -bound, bound, 3 + i) };
    }),
  };
}
