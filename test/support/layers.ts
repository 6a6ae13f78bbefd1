/**
 * Every layer in nn and every optimizer and schedule in optim, at sizes large enough for threads to share. A class without a case here
 * causes a compile error.
 */
import { arange, nn, optim, randint, randn, type Tensor } from "nabla";

/** The names of the concrete classes that a module exports and that extend `Base`. */
type Concrete<Exports, Base> = {
  [K in keyof Exports]: Exports[K] extends new (...args: never[]) => Base ? K : never;
}[keyof Exports];

/** Returns at run time the names that `Concrete` computes at compile time. */
export const concrete = (exports: object, base: { readonly prototype: object }): string[] =>
  Object.entries(exports).flatMap(([name, value]) =>
    typeof value === "function" && Object.prototype.isPrototypeOf.call(base.prototype, value.prototype) ? [name] : [],
  );

/** A layer and the arguments for its forward method, options last. */
export interface Example {
  readonly layer: nn.Module;
  readonly given: readonly unknown[];
}
const on = (layer: nn.Module, ...given: unknown[]): Example => ({ layer, given });

const rows = (): Tensor => randn([70, 67]);
const image = (): Tensor => randn([3, 13, 11, 8]);
const signal = (): Tensor => randn([3, 90, 8]);
/** [steps, batch, features]. */
const sequence = (): Tensor => randn([17, 5, 24]);
const pointwise = (layer: nn.Module): Example[] => [on(layer, rows())];
const causal = (n: number): Tensor => arange(n).unsqueeze(0).gt(arange(n).unsqueeze(1));
const padding = (batch: number, n: number): Tensor =>
  arange(n)
    .unsqueeze(0)
    .ge(
      arange(batch)
        .add(n - batch)
        .unsqueeze(1),
    );

const encoderLayer = (): nn.TransformerEncoderLayer => new nn.TransformerEncoderLayer(24, 4, { dimFeedforward: 70 });
const decoderLayer = (): nn.TransformerDecoderLayer => new nn.TransformerDecoderLayer(24, 4, { dimFeedforward: 70 });
const DEEP = { numLayers: 2, bidirectional: true, dropout: 0.2 } as const;
const lengths = [17, 3, 9, 1, 12];

export const layers: Record<Concrete<typeof nn, nn.Module>, () => Example[]> = {
  AdaptiveAvgPool2d: () => [on(new nn.AdaptiveAvgPool2d([4, 3]), image())],
  AvgPool1d: () => [on(new nn.AvgPool1d(3, { stride: 2, padding: 1 }), signal())],
  AvgPool2d: () => [on(new nn.AvgPool2d(3, { stride: 2, padding: 1 }), image())],
  BatchNorm: () => [on(new nn.BatchNorm(67), rows())],
  BatchNorm1d: () => [on(new nn.BatchNorm1d(8), signal())],
  BatchNorm2d: () => [on(new nn.BatchNorm2d(8), image()), on(new nn.BatchNorm2d(8).eval(), image())],
  Conv1d: () => [on(new nn.Conv1d(8, 12, 5, { stride: 2, padding: 2 }), signal())],
  Conv2d: () => [
    on(new nn.Conv2d(8, 20, 3, { padding: 1 }), image()),
    on(new nn.Conv2d(8, 12, [2, 3], { stride: 2, groups: 2, dilation: 2 }), image()),
    on(new nn.Conv2d(8, 8, 3, { groups: 8 }), image()),
    on(new nn.Conv2d(8, 16, 1, { bias: false }), image()),
    on(new nn.Conv2d(1, 6, 5), randn([4, 28, 28, 1])),
  ],
  ConvTranspose1d: () => [on(new nn.ConvTranspose1d(8, 6, 3, { stride: 2 }), signal())],
  ConvTranspose2d: () => [on(new nn.ConvTranspose2d(8, 6, 3, { stride: 2, padding: 1 }), image())],
  Dropout: () => pointwise(new nn.Dropout(0.3)),
  ELU: () => pointwise(new nn.ELU(0.7)),
  Embedding: () => [
    on(new nn.Embedding(50, 24, { paddingIdx: 3 }), randint(0, 50, [9, 30])),
    on(new nn.Embedding(50, 24, { paddingIdx: 3, sparse: true }), randint(0, 50, [9, 30])),
  ],
  Flatten: () => [on(new nn.Flatten(), image())],
  GELU: () => [...pointwise(new nn.GELU()), ...pointwise(new nn.GELU({ approximate: "tanh" }))],
  GRU: () => [on(new nn.GRU(24, 20), sequence()), on(new nn.GRU(24, 20, DEEP), sequence(), undefined, { lengths })],
  GRUCell: () => [on(new nn.GRUCell(24, 20), randn([70, 24]))],
  GlobalAvgPool2d: () => [on(new nn.GlobalAvgPool2d(), image())],
  GroupNorm: () => [on(new nn.GroupNorm(4, 8), image())],
  Hardsigmoid: () => pointwise(new nn.Hardsigmoid()),
  Hardswish: () => pointwise(new nn.Hardswish()),
  Hardtanh: () => pointwise(new nn.Hardtanh(-0.5, 1.5)),
  Identity: () => pointwise(new nn.Identity()),
  LSTM: () => [on(new nn.LSTM(24, 20), sequence()), on(new nn.LSTM(24, 20, DEEP), sequence(), undefined, { lengths })],
  LSTMCell: () => [on(new nn.LSTMCell(24, 20), randn([70, 24]))],
  LayerNorm: () => [on(new nn.LayerNorm(67), rows())],
  LeakyReLU: () => pointwise(new nn.LeakyReLU(0.1)),
  Linear: () => [on(new nn.Linear(67, 130), rows()), on(new nn.Linear(24, 9, { bias: false }), sequence())],
  LogSigmoid: () => pointwise(new nn.LogSigmoid()),
  LogSoftmax: () => pointwise(new nn.LogSoftmax()),
  MaxPool1d: () => [on(new nn.MaxPool1d(3, { stride: 2 }), signal())],
  MaxPool2d: () => [on(new nn.MaxPool2d(2), image()), on(new nn.MaxPool2d(3, { stride: 1, padding: 1 }), image())],
  Mish: () => pointwise(new nn.Mish()),
  MultiheadAttention: () => [
    on(new nn.MultiheadAttention(24, 4), sequence()),
    on(new nn.MultiheadAttention(24, 3, { dropout: 0.2, batchFirst: true }), randn([5, 17, 24]), undefined, undefined, {
      isCausal: true,
      keyPaddingMask: padding(5, 17),
      needWeights: true,
    }),
  ],
  RMSNorm: () => [on(new nn.RMSNorm(67), rows())],
  RNN: () => [
    on(new nn.RNN(24, 20), sequence()),
    on(new nn.RNN(24, 20, { ...DEEP, nonlinearity: "relu" }), sequence(), undefined, { lengths }),
  ],
  RNNCell: () => [on(new nn.RNNCell(24, 20), randn([70, 24]))],
  ReLU: () => pointwise(new nn.ReLU()),
  ReLU6: () => pointwise(new nn.ReLU6()),
  RotaryEmbedding: () => [
    on(new nn.RotaryEmbedding(24), randn([5, 70, 24])),
    on(new nn.RotaryEmbedding(24, { interleaved: false }), randn([5, 70, 24]), { offset: 1000 }),
  ],
  SELU: () => pointwise(new nn.SELU()),
  Sequential: () => pointwise(new nn.Sequential(new nn.Linear(67, 40), new nn.Tanh(), new nn.Linear(40, 30))),
  SiLU: () => pointwise(new nn.SiLU()),
  Sigmoid: () => pointwise(new nn.Sigmoid()),
  SinusoidalEncoding: () => [on(new nn.SinusoidalEncoding(24), randn([5, 70, 24]), { offset: 1000 })],
  Softmax: () => [...pointwise(new nn.Softmax()), ...pointwise(new nn.Softmax(0))],
  Softplus: () => pointwise(new nn.Softplus(2)),
  SpectralNorm: () => pointwise(new nn.SpectralNorm(new nn.Linear(67, 40))),
  Tanh: () => pointwise(new nn.Tanh()),
  TransformerDecoder: () => [
    on(new nn.TransformerDecoder([decoderLayer(), decoderLayer()], new nn.LayerNorm(24)), sequence(), sequence()),
  ],
  TransformerDecoderLayer: () => [
    on(decoderLayer(), sequence(), randn([6, 5, 24]), { tgtIsCausal: true, memoryKeyPaddingMask: padding(5, 6) }),
  ],
  TransformerEncoder: () => [on(new nn.TransformerEncoder([encoderLayer(), encoderLayer()]), sequence())],
  TransformerEncoderLayer: () => [
    on(encoderLayer(), sequence(), { mask: causal(17) }),
    on(
      new nn.TransformerEncoderLayer(24, 2, {
        dimFeedforward: 70,
        batchFirst: true,
        normFirst: true,
        activation: "gelu",
        rotary: new nn.RotaryEmbedding(12),
      }),
      randn([5, 17, 24]),
      { isCausal: true },
    ),
  ],
  Upsample: () => [
    on(new nn.Upsample({ scaleFactor: 2, mode: "bilinear" }), image()),
    on(new nn.Upsample({ size: [20, 7] }), image()),
  ],
};

/** The part of an optimizer that tests use. */
export type Learner = Pick<optim.Adam, "minimize" | "stateDict" | "dispose">;

/** Optimizers for parameters that are matrices, with default options and with optional features. */
export const optimizers: Record<Concrete<typeof optim, Learner>, readonly ((params: Tensor[]) => Learner)[]> = {
  Adagrad: [(ps) => new optim.Adagrad(ps, { lrDecay: 0.01, weightDecay: 0.01, initialAccumulatorValue: 0.1 })],
  Adam: [(ps) => new optim.Adam(ps), (ps) => new optim.Adam(ps, { amsgrad: true, weightDecay: 0.01 })],
  AdamW: [(ps) => new optim.AdamW(ps)],
  Lion: [(ps) => new optim.Lion(ps, { weightDecay: 0.01 })],
  Muon: [(ps) => new optim.Muon(ps), (ps) => new optim.Muon(ps, { nesterov: false, adjustLrFn: "matchRmsAdamW" })],
  NAdam: [(ps) => new optim.NAdam(ps), (ps) => new optim.NAdam(ps, { weightDecay: 0.01, decoupledWeightDecay: true })],
  RMSProp: [(ps) => new optim.RMSProp(ps), (ps) => new optim.RMSProp(ps, { momentum: 0.9, centered: true })],
  SGD: [
    (ps) => new optim.SGD(ps, { lr: 0.1 }),
    (ps) => new optim.SGD(ps, { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  ],
  SparseAdam: [(ps) => new optim.SparseAdam(ps)],
};

/** Schedules for 30 steps. */
export const schedules: Record<
  Concrete<typeof optim, optim.LRScheduler>,
  (optimizer: optim.Adam) => optim.LRScheduler
> = {
  CosineAnnealingLR: (o) => new optim.CosineAnnealingLR(o, 30),
  CosineAnnealingWarmRestarts: (o) => new optim.CosineAnnealingWarmRestarts(o, 4, 2),
  ExponentialLR: (o) => new optim.ExponentialLR(o, 0.93),
  LambdaLR: (o) => new optim.LambdaLR(o, (t) => 1 / (1 + t)),
  LinearLR: (o) => new optim.LinearLR(o, 1 / 3, 1, 30),
  OneCycleLR: (o) => new optim.OneCycleLR(o, 0.1, { totalSteps: 30 }),
  StepLR: (o) => new optim.StepLR(o, 7, 0.3),
};
