/**
 * Op codes and what else both sides of the boundary name by numbers (compiled by asc and by tsc). An instruction is a run of 32-bit
 * words, [code, length in words, operands …]; layouts.ts and layerLayouts.ts name the operands.
 */

/** The first two words of every instruction. */
export const enum Head {
  /** The op's code, and above it the number of shares that threads cut the instruction into; 0: it is not cut. */
  code,
  /** In words, with the head. */
  length,
  words,
  /** The first bit of the family within a code. */
  family = 8,
  /** The first bit of the number of shares. */
  shares = 16,
}

/**
 * Ops that share a layout and a kernel's dispatch. Each has the layout of its name (layouts.ts, layerLayouts.ts), or the one that a
 * comment names. 0 is no family, so that a word of zeros is no instruction.
 */
export const enum Family {
  /** Pointwise, one operand. */
  Unary = 1,
  /** Pointwise derivatives, (dy, x or y) → dx. */
  Derivative,
  /** Two operands with broadcasting. */
  Binary,
  /** Comparisons with broadcasting, to bool. */
  Compare, // layout Binary
  /** An element of one of two operands, by a mask. */
  Where,
  /** Reductions of the middle of [outer, n, inner], and running sums. */
  Reduce,
  /** Rows. */
  Softmax,
  SoftmaxGrad,
  /** Losses of rows, with labels or with probabilities. */
  CrossEntropy,
  CrossEntropyGrad,
  /** Products of matrices. */
  Matmul,
  /** Writing one value. */
  Fill,
  /** Moving elements. */
  StridedCopy,
  /** Converting elements. */
  Cast,
  /** Reading and adding at indices. */
  Index,
  OneHot,
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
  Conv,
  /** Pooling. */
  MaxPool,
  AvgPool,
  /** Normalization. */
  Normalize,
  NormalizeGrad,
  /** Recurrent layers over a sequence. */
  Recurrent,
  /** Gradients of recurrent layers. */
  RecurrentGrad,
  /** Scaled dot-product attention. */
  Attention,
  /** Small matrices, and the order of rows. */
  Factor,
  Solve,
  /** Several pointwise instructions as one pass. */
  Chain,
  /** Looks whether elements are in a range. */
  Check,
}

/**
 * Every primitive. A code's second byte is its family, its first byte its number there. Nothing depends on that number or on the order
 * of families: an op goes anywhere among those of its family.
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
  Unslice,
  BroadcastTo,
  Concat,
  Assign,

  Cast = Family.Cast << Head.family,

  IndexSelect = Family.Index << Head.family,
  IndexAdd,
  Gather,
  ScatterAdd,

  OneHot = Family.OneHot << Head.family,

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

  AvgPool = Family.AvgPool << Head.family,
  AvgPoolGrad,

  Normalize = Family.Normalize << Head.family,

  NormalizeGrad = Family.NormalizeGrad << Head.family,

  Rnn = Family.Recurrent << Head.family,
  Lstm,
  Gru,

  RnnGrad = Family.RecurrentGrad << Head.family,
  LstmGrad,
  GruGrad,

  Attention = Family.Attention << Head.family,
  AttentionGrad,

  Cholesky = Family.Factor << Head.family,
  Eigh,
  ArgSort,

  TriangularSolve = Family.Solve << Head.family,

  Chain = Family.Chain << Head.family,

  Check = Family.Check << Head.family,
}

/** Elements of pointwise work that belong together: a share is a whole number of them, a chain takes one at a time. */
export const enum Block {
  elements = 1024,
}

/** Element types as instructions name them. */
export const enum Type {
  Float32,
  Int32,
  Bool,
  Uint8,
  /** Of two operands that are compared: int32 and float32, or the other way round. */
  IntFloat,
  FloatInt,
  /** Of sums of pieces, which a second instruction adds. */
  Float64,
}

/**
 * What a gemm applies to each element of C last. The activations are differentiable from their output y alone; the
 * derivatives multiply C by act′ at y, which lies as C does.
 */
export const enum Activation {
  None,
  Relu,
  Tanh,
  Sigmoid,
  ReluGrad,
  TanhGrad,
  SigmoidGrad,
}

/** Flags of optimizer updates. */
export const enum UpdateFlag {
  Nesterov = 1,
  Maximize = 2,
  Amsgrad = 4,
  DecoupledDecay = 8,
  Centered = 16,
  Nadam = 32,
}

/** What a program's checks found, as byte offsets: the lowest number of a check that failed (0: none), the element's place, its word. */
export const enum Status {
  id = 0,
  at = 4,
  value = 8,
}

/**
 * How threads find each other: byte offsets of the words of a control block (pool.ts). Words that several threads write have
 * cache lines of their own, two each, since processors fetch them in pairs.
 */
export const enum Control {
  /** Counts jobs; workers wait for it to change. */
  epoch = 0,
  /** Workers asleep until then. */
  asleep = 4,
  /** What to run, and how many instructions that is. */
  program = 128,
  count = 132,
  /** Whether there is something to run. */
  open = 136,
  /** Whether workers are to leave. */
  stop = 140,
  /** How often to look before sleeping: for another share to end, and, for workers, for the next job. */
  patience = 144,
  idle = 148,
  /** Workers that are at a job. */
  inside = 256,
  /** Shares of the job taken so far, and shares done. */
  taken = 384,
  done = 512,
  /** Threads asleep until shares are done. */
  waiting = 640,
  bytes = 768,
}
