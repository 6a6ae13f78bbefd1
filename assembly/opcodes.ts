/**
 * Op codes and the other numbers that both sides of the boundary share (compiled by asc and by tsc). An instruction is a run of
 * 32-bit words, [code, length in words, operands …]; layouts.ts and layerLayouts.ts name the operands.
 */

/** The first two words of every instruction. */
export const enum Head {
  /** The op's code and, in the bits above, the number of shares the instruction is split into (0: not split). */
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
 * Families of ops. The ops of a family share an instruction layout and one dispatch in the engine. A family has the
 * layout of its name (layouts.ts, layerLayouts.ts), or the one that a comment names. No family is 0, so a word of zeros
 * is not an instruction.
 */
export const enum Family {
  /** Pointwise, one operand. */
  Unary = 1,
  /** Pointwise derivatives, (dy, x or y) → dx. */
  Derivative,
  /** Pointwise ops on two operands with broadcasting. */
  Binary,
  /** Comparisons with broadcasting, to bool. */
  Compare, // layout Binary
  /** Selection from two operands by a mask. */
  Where,
  /** Reductions of the middle of [outer, n, inner], and running sums. */
  Reduce,
  /** Softmax over rows. */
  Softmax,
  SoftmaxGrad,
  /** Losses per row, with labels or probabilities as targets. */
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
  /** Reads and additions at indices. */
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
  /** Ops on small matrices, and sorting of rows. */
  Factor,
  Solve,
  /** Several pointwise instructions fused into one pass. */
  Chain,
  /** Range checks. */
  Check,
}

/**
 * Every primitive. The high byte of a code is its family, the low byte its number in the family. Nothing depends on
 * that number or on the order of families, so a new op may go anywhere in its family. `npm run generate` adds the codes
 * of pointwise ops.
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

/**
 * The number of elements per block of pointwise work: a share is a whole number of blocks, and a chain runs one block at
 * a time.
 */
export const enum Block {
  elements = 1024,
}

/** Element types as instructions name them. */
export const enum Type {
  Float32,
  Int32,
  Bool,
  Uint8,
  /** The types of two compared operands: int32 and float32, in either order. */
  IntFloat,
  FloatInt,
  /** The sums of pieces, which a second instruction adds. */
  Float64,
}

/**
 * The function that a gemm applies to each element of C last. The activations are differentiable from their output y
 * alone; the derivatives multiply C by act′ at y, which is laid out like C.
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

/**
 * The result of a program's checks, as byte offsets: the lowest id of a failed check (0: none), the element's position and its
 * word.
 */
export const enum Status {
  id = 0,
  at = 4,
  value = 8,
}

/**
 * The control block through which threads coordinate (pool.ts), as byte offsets of its words. Words that several threads
 * write are two cache lines apart, since processors fetch lines in pairs.
 */
export const enum Control {
  /** Counts jobs; workers wait for it to change. */
  epoch = 0,
  /** The number of workers that sleep until it changes. */
  asleep = 4,
  /** The address of the instructions to run, and their number. */
  program = 128,
  count = 132,
  /** Whether a job is open. */
  open = 136,
  /** Whether workers must exit. */
  stop = 140,
  /** The number of checks before sleeping: for other shares to finish and, in workers, for the next job. */
  spins = 144,
  idle = 148,
  /** The number of workers inside a job. */
  inside = 256,
  /** The number of shares of the job taken so far, and the number of shares done. */
  taken = 384,
  done = 512,
  /** The number of threads asleep until shares are done. */
  waiting = 640,
  bytes = 768,
}
