/**
 * Op codes and the other numbers that the kernels share with TypeScript (compiled by asc and by tsc). An instruction is a
 * sequence of 32-bit words, [code, length in words, operands …]; layouts.ts and layerLayouts.ts name the operands.
 */

/** The first two words of every instruction. */
export const enum Head {
  /** The op's code and, in the bits above it, the number of shares into which the instruction is split (0: not split). */
  code,
  /** The length of the instruction in words, including the head. */
  length,
  words,
  /** The bit position of the family within a code. */
  family = 8,
  /** The bit position of the number of shares. */
  shares = 16,
}

/**
 * Families of ops. The ops in a family share an instruction layout and one dispatch function in the engine. The layout has
 * the same name as the family (layouts.ts, layerLayouts.ts), unless a comment names a different one. A comment also names the part of
 * the kernels (tools/parts.mjs) that the ops need. No family is 0, so a word of zeros is never an instruction.
 */
export const enum Family {
  /** Pointwise, one operand. */
  Unary = 1,
  /** Pointwise derivatives, (dy, x or y) → dx. */
  Derivative,
  /** Pointwise ops on two operands with broadcasting. */
  Binary,
  /** Comparisons with broadcasting, whose results are bool. */
  Compare, // layout Binary
  /** Selecting elements of two operands by a mask. */
  Where,
  /** Reductions along the middle dimension of [outer, n, inner], and running sums. */
  Reduce,
  /** Softmax of rows. */
  Softmax,
  SoftmaxGrad,
  /** Cross-entropy, with one loss per row; targets are labels or probabilities. */
  CrossEntropy,
  CrossEntropyGrad,
  /** Matrix products. */
  Matmul,
  /** Writing one value. */
  Fill,
  /** Moving elements. */
  StridedCopy,
  /** Surrounding elements with a constant. */
  Unslice,
  /** Converting elements. */
  Cast,
  /** Reading and adding at indices. */
  Index,
  /** Interpolating between elements at indices. */
  Interpolate, // part image
  OneHot,
  /** Finding the distinct indices in a list. */
  Unique,
  /** Random float32. */
  Distribution,
  Bernoulli,
  /** Random int32. */
  RandomInteger,
  RandomPermutation,
  /** Counters. */
  Advance,
  /** Optimizer updates in place. */
  Update,
  /** Convolutions. */
  Conv, // part image
  /** Pooling. */
  MaxPool, // part image
  AvgPool, // part image
  /** Normalization. */
  Normalize, // part norm
  NormalizeGrad, // part norm
  /** Normalization with known statistics. */
  Standardize,
  /** Recurrent layers over a sequence. */
  Recurrent, // part sequence
  /** Gradients of recurrent layers. */
  RecurrentGrad, // part sequence
  RecurrentWeights, // part sequence
  /** Scaled dot-product attention. */
  Attention, // part sequence
  /** Factorizations of small matrices, and sorting of rows. */
  Factor,
  Solve,
  /** Products of int8 numbers. */
  QuantizeRows, // part quantized
  QuantizedMatmul, // part quantized
  /** Conversion of low-precision numbers to float32, and products of float32 with low-precision numbers. */
  Widen, // part quantized
  WidenedMatmul, // part quantized
  /** Several pointwise instructions fused into one pass. */
  Chain,
  /** Range checks. */
  Check,
}

/**
 * All primitive ops. The high byte of a code is its family, the low byte its number within the family. Nothing depends on that
 * number or on the order of families, so a new op may go anywhere in its family. `npm run generate` adds the codes of pointwise
 * ops.
 */
export const enum Op {
  Neg = Family.Unary << Head.family,
  Abs,
  Sign,
  Square,
  Sqrt,
  Rsqrt,
  Reciprocal,
  Exp,
  Expm1,
  Log,
  Log1p,
  Sin,
  Cos,
  Tan,
  Tanh,
  Sigmoid,
  LogSigmoid,
  Softplus,
  Relu,
  LeakyRelu,
  Elu,
  Selu,
  Gelu,
  GeluTanh,
  Silu,
  Mish,
  HardSigmoid,
  HardSwish,
  HardTanh,
  Clamp,
  Erf,
  Floor,
  Ceil,
  Round,
  Heaviside,

  TanhGrad = Family.Derivative << Head.family,
  SigmoidGrad,
  ReluGrad,
  LeakyReluGrad,
  EluGrad,
  SeluGrad,
  GeluGrad,
  GeluTanhGrad,
  SiluGrad,
  MishGrad,
  HardSigmoidGrad,
  HardSwishGrad,
  HardTanhGrad,
  ClampGrad,

  Add = Family.Binary << Head.family,
  Sub,
  Mul,
  Div,
  Pow,
  Maximum,
  Minimum,
  Atan2,
  Mod,
  LogisticLoss,
  LogisticSlope,
  Prelu,
  SquaredDifference,

  Equal = Family.Compare << Head.family,
  NotEqual,
  Less,
  LessEqual,

  Where = Family.Where << Head.family,

  Sum = Family.Reduce << Head.family,
  Max,
  Min,
  ArgMax,
  ArgMin,
  Norm,
  Squares,
  Cumsum,
  Prod,

  Softmax = Family.Softmax << Head.family,
  LogSoftmax,

  SoftmaxGrad = Family.SoftmaxGrad << Head.family,
  LogSoftmaxGrad,

  CrossEntropy = Family.CrossEntropy << Head.family,
  SoftCrossEntropy,

  CrossEntropyGrad = Family.CrossEntropyGrad << Head.family,
  SoftCrossEntropyGrad,

  Matmul = Family.Matmul << Head.family,

  Fill = Family.Fill << Head.family,

  Permute = Family.StridedCopy << Head.family,
  Slice,
  BroadcastTo,
  Concat,
  Assign,

  Unslice = Family.Unslice << Head.family,

  Cast = Family.Cast << Head.family,

  IndexSelect = Family.Index << Head.family,
  IndexAdd,
  Gather,
  ScatterAdd,

  Interpolate = Family.Interpolate << Head.family,

  OneHot = Family.OneHot << Head.family,

  Unique = Family.Unique << Head.family,

  Uniform = Family.Distribution << Head.family,
  Normal,

  Bernoulli = Family.Bernoulli << Head.family,

  RandomInteger = Family.RandomInteger << Head.family,

  RandomPermutation = Family.RandomPermutation << Head.family,

  Advance = Family.Advance << Head.family,

  Sgd = Family.Update << Head.family,
  Adam,
  RmsProp,
  Adagrad,
  Lion,

  Conv = Family.Conv << Head.family,
  ConvInput,
  ConvWeight,

  MaxPool = Family.MaxPool << Head.family,
  Dilation,

  AvgPool = Family.AvgPool << Head.family,
  AvgPoolGrad,

  Normalize = Family.Normalize << Head.family,

  NormalizeGrad = Family.NormalizeGrad << Head.family,

  Standardize = Family.Standardize << Head.family,

  Rnn = Family.Recurrent << Head.family,
  Lstm,
  Gru,

  RnnGrad = Family.RecurrentGrad << Head.family,
  LstmGrad,
  GruGrad,

  RecurrentWeights = Family.RecurrentWeights << Head.family,

  Attention = Family.Attention << Head.family,
  AttentionGrad,
  CachedAttention,

  Cholesky = Family.Factor << Head.family,
  Eigh,
  ArgSort,

  TriangularSolve = Family.Solve << Head.family,

  QuantizeRows = Family.QuantizeRows << Head.family,

  QuantizedMatmul = Family.QuantizedMatmul << Head.family,

  Widen = Family.Widen << Head.family,

  WidenedMatmul = Family.WidenedMatmul << Head.family,

  Chain = Family.Chain << Head.family,

  Check = Family.Check << Head.family,
}

/**
 * The number of elements per block of pointwise work: a share is a whole number of blocks, and a chain runs one block at
 * a time.
 */
export const enum Block {
  elements = 1024,
}

/** Rows of quantized activations end with zeros, so that their length is a multiple of this number of bytes. */
export const enum QuantizedRow {
  grain = 32,
}

/** The formats of low-precision numbers, in rows of bytes. */
export const enum WeightFormat {
  /** Bytes; the number is (byte − 128)·scale, with a scale for each row. */
  Int8,
  /**
   * Groups of 32 numbers, each with a scale, in 16 bytes: the low halves of the bytes hold the first 16 numbers, and the high halves the
   * other 16. The number is (half − 8)·scale. A row ends with a whole group.
   */
  Int4,
  /** IEEE float16, finite. */
  Float16,
  /** The high halves of float32. */
  BFloat16,
}

/** Element types, as encoded in instructions. */
export const enum Type {
  Float32,
  Int32,
  Bool,
  Uint8,
  /** Comparisons of int32 with float32 and of float32 with int32. */
  IntFloat,
  FloatInt,
  /** Partial sums, which a second instruction adds up. */
  Float64,
}

/**
 * The last step of gemm, applied to each element of C: either an activation whose derivative depends only on its output
 * y, or multiplication by that derivative at y, a matrix that is laid out like C.
 */
export const enum Activation {
  None,
  Relu,
  Relu6,
  Tanh,
  Sigmoid,
  ReluGrad,
  TanhGrad,
  SigmoidGrad,
}

/** Flags for optimizer updates. */
export const enum UpdateFlag {
  Nesterov = 1,
  Maximize = 2,
  Amsgrad = 4,
  DecoupledDecay = 8,
  Centered = 16,
  Nadam = 32,
  /** TensorFlow.js's formula, for RMSProp and Adagrad. */
  TensorFlow = 64,
}

/**
 * Byte offsets into the result of a program's checks, which consists of the lowest id among the failed checks (0 if
 * none failed), and the position and the 32 bits of the element that failed this check.
 */
export const enum Status {
  id = 0,
  at = 4,
  value = 8,
}

/**
 * Byte offsets into the control block through which threads coordinate (threads.ts). Words that several threads write
 * are two cache lines apart, because processors fetch cache lines in pairs.
 */
export const enum Control {
  /** Changes with every job, and when the pool stops. Workers wait for a change. */
  epoch = 0,
  /** The number of workers asleep until `epoch` changes. */
  asleep = 4,
  /** The address of the instructions to run, and their number. */
  program = 128,
  count = 132,
  /** Whether a job is open. */
  open = 136,
  /** Whether workers must exit. */
  stop = 140,
  /**
   * The number of polls before a thread sleeps while it waits for shares (`spins`) or, in a worker, for a job (`idle`).
   */
  spins = 144,
  idle = 148,
  /** The number of workers inside a job. */
  inside = 256,
  /** The number of the job's shares that have been taken, and the number that are done. */
  taken = 384,
  done = 512,
  /** The number of threads asleep until shares are done. */
  waiting = 640,
  bytes = 768,
}
