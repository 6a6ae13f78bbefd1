/**
 * One case for each kernel of TensorFlow.js's WASM backend that takes measurable time. A case takes the approximate number of elements,
 * n, and returns the kernel's inputs, as specifications of tensors, and its attributes.
 */
import { uniform } from "../../dist/bench/values.js";
import { bools, exactly, floats, image, ints, rows, square, volume } from "./specifications.mjs";

const unary =
  (low, high, attrs = {}) =>
  (n) => [{ x: floats([n], low, high) }, attrs];
const binary =
  (low = -2, high = 2) =>
  (n) => [{ a: floats([n], low, high), b: floats([n], low, high) }, {}];
const reduction =
  (axes = "axis", spec = floats) =>
  (n) => [{ x: spec(rows(n)) }, { [axes]: [1], keepDims: false }];
const windows = { filterSize: [2, 2], strides: [2, 2], pad: "valid" };
const cubes = { filterSize: [2, 2, 2], strides: [2, 2, 2], pad: "valid", dataFormat: "NDHWC" };
const halved = ([batch, ...rest]) => [batch, ...rest.slice(0, -1).map((size) => Math.floor(size / 2)), rest.at(-1)];
const conv = { strides: [1, 1], pad: "same", dataFormat: "NHWC", dilations: [1, 1] };
const conv3 = { strides: [1, 1, 1], pad: "same", dataFormat: "NDHWC", dilations: [1, 1, 1] };
const boxes = (n) => {
  const corners = uniform(4 * n, 0, 1, 5);
  return exactly(
    corners.map((value, i) => (i % 4 < 2 ? value : corners[i - 2] + 0.02 + value / 8)),
    "float32",
    [n, 4],
  );
};
const suppression = (n) => ({ boxes: boxes(n), scores: floats([n], 0, 1) });
const limits = { maxOutputSize: 100, iouThreshold: 0.5, scoreThreshold: 0.1 };
const ascending = (n, step = 1) =>
  exactly(
    Int32Array.from({ length: n }, (_, i) => Math.floor(i * step)),
    "int32",
  );
const words = (n) =>
  exactly(
    Array.from({ length: n }, (_, i) => `word${i % 97} and more`),
    "string",
  );
const segments = (n) => ({
  data: floats(rows(n)),
  indices: ints([rows(n)[0]], 0, rows(n)[0]),
  segmentIds: ascending(rows(n)[0], 0.5),
});

export const kernelCases = {
  Abs: unary(),
  Acos: unary(-1, 1),
  Acosh: unary(1, 5),
  Add: binary(),
  AddN: (n) => [[floats([n]), floats([n]), floats([n])], {}],
  All: reduction("axis", bools),
  Any: reduction("axis", bools),
  ArgMax: (n) => [{ x: floats(rows(n)) }, { axis: 1 }],
  ArgMin: (n) => [{ x: floats(rows(n)) }, { axis: 1 }],
  Asin: unary(-1, 1),
  Asinh: unary(),
  Atan: unary(),
  Atan2: binary(),
  Atanh: unary(-0.9, 0.9),
  AvgPool: (n) => [{ x: floats(image(n)) }, windows],
  AvgPool3D: (n) => [{ x: floats(volume(n)) }, cubes],
  AvgPool3DGrad: (n) => [{ dy: floats(halved(volume(n))), input: floats(volume(n)) }, cubes],
  AvgPoolGrad: (n) => [{ dy: floats(halved(image(n))), input: floats(image(n)) }, windows],
  BatchMatMul: (n) => [
    { a: floats([1, square(n), square(n)]), b: floats([1, square(n), square(n)]) },
    { transposeA: false, transposeB: false },
  ],
  BatchToSpaceND: (n) => {
    const side = square(n / 64);
    return [
      { x: floats([4, side, side, 16]) },
      {
        blockShape: [2, 2],
        crops: [
          [0, 0],
          [0, 0],
        ],
      },
    ];
  },
  Bincount: (n) => [{ x: ints([n], 0, 100), weights: floats([n]) }, { size: 100 }],
  BitwiseAnd: (n) => [{ a: ints([n], 0, 1000), b: ints([n], 0, 1000) }, {}],
  Cast: (n) => [{ x: floats([n]) }, { dtype: "int32" }],
  Ceil: unary(),
  ClipByValue: unary(-2, 2, { clipValueMin: -1, clipValueMax: 1 }),
  Concat: (n) => [[floats(rows(n)), floats(rows(n))], { axis: 1 }],
  Conv2D: (n) => [{ x: floats(image(n)), filter: floats([3, 3, 16, 16]) }, conv],
  Conv2DBackpropInput: (n) => [
    { dy: floats(image(n)), filter: floats([3, 3, 16, 16]) },
    { ...conv, inputShape: image(n) },
  ],
  Conv3D: (n) => [{ x: floats(volume(n)), filter: floats([3, 3, 3, 8, 8]) }, conv3],
  Conv3DBackpropFilterV2: (n) => [
    { x: floats(volume(n)), dy: floats(volume(n)) },
    { strides: [1, 1, 1], pad: "same", filterShape: [3, 3, 3, 8, 8] },
  ],
  Conv3DBackpropInputV2: (n) => [
    { dy: floats(volume(n)), filter: floats([3, 3, 3, 8, 8]) },
    { strides: [1, 1, 1], pad: "same", inputShape: volume(n) },
  ],
  Cos: unary(),
  Cosh: unary(),
  CropAndResize: (n) => [
    {
      image: floats(image(n)),
      boxes: exactly(Float32Array.of(0.1, 0.1, 0.9, 0.8), "float32", [1, 4]),
      boxInd: exactly(Int32Array.of(0), "int32"),
    },
    { cropSize: image(n).slice(1, 3), method: "bilinear", extrapolationValue: 0 },
  ],
  Cumprod: (n) => [{ x: floats(rows(n), 0.9, 1.1) }, { axis: 1, exclusive: false, reverse: false }],
  Cumsum: (n) => [{ x: floats(rows(n)) }, { axis: 1, exclusive: false, reverse: false }],
  DenseBincount: (n) => [
    { x: ints([n], 0, 100), weights: floats([n]) },
    { size: 100, binaryOutput: false },
  ],
  DepthToSpace: (n) => [{ x: floats(image(n)) }, { blockSize: 2, dataFormat: "NHWC" }],
  DepthwiseConv2dNative: (n) => [{ x: floats(image(n)), filter: floats([3, 3, 16, 1]) }, conv],
  Diag: (n) => [{ x: floats([square(n)]) }, {}],
  Dilation2D: (n) => [
    { x: floats(image(n)), filter: floats([3, 3, 16]) },
    { strides: [1, 1], pad: "same", dilations: [1, 1] },
  ],
  Dilation2DBackpropFilter: (n) => [
    { x: floats(image(n)), filter: floats([3, 3, 16]), dy: floats(image(n)) },
    { strides: [1, 1], pad: "same", dilations: [1, 1] },
  ],
  Dilation2DBackpropInput: (n) => [
    { x: floats(image(n)), filter: floats([3, 3, 16]), dy: floats(image(n)) },
    { strides: [1, 1], pad: "same", dilations: [1, 1] },
  ],
  Elu: unary(),
  EluGrad: (n) => [{ dy: floats([n]), y: floats([n]) }, {}],
  Equal: binary(),
  Erf: unary(),
  Exp: unary(),
  Expm1: unary(),
  Fill: (n) => [{}, { shape: [n], value: 1, dtype: "float32" }],
  FlipLeftRight: (n) => [{ image: floats(image(n)) }, {}],
  Floor: unary(),
  FloorDiv: binary(1, 9),
  FusedBatchNorm: (n) => [
    {
      x: floats(image(n)),
      scale: floats([16]),
      offset: floats([16]),
      mean: floats([16]),
      variance: floats([16], 0.5, 2),
    },
    { varianceEpsilon: 1e-3 },
  ],
  FusedConv2D: (n) => [
    { x: floats(image(n)), filter: floats([3, 3, 16, 16]), bias: floats([16]) },
    { ...conv, activation: "relu" },
  ],
  FusedDepthwiseConv2D: (n) => [
    { x: floats(image(n)), filter: floats([3, 3, 16, 1]), bias: floats([16]) },
    { ...conv, activation: "relu6" },
  ],
  GatherNd: (n) => [{ params: floats(rows(n)), indices: ints([rows(n)[0], 1], 0, rows(n)[0]) }, {}],
  GatherV2: (n) => [
    { x: floats(rows(n)), indices: ints([rows(n)[0]], 0, rows(n)[0]) },
    { axis: 0, batchDims: 0 },
  ],
  Greater: binary(),
  GreaterEqual: binary(),
  Identity: unary(),
  IsFinite: unary(),
  IsInf: unary(),
  IsNan: unary(),
  LRN: (n) => [{ x: floats(image(n)) }, { depthRadius: 2, bias: 1, alpha: 0.5, beta: 0.75 }],
  LRNGrad: (n) => [
    { x: floats(image(n)), y: floats(image(n)), dy: floats(image(n)) },
    { depthRadius: 2, bias: 1, alpha: 0.5, beta: 0.75 },
  ],
  LeakyRelu: unary(-2, 2, { alpha: 0.2 }),
  Less: binary(),
  LessEqual: binary(),
  LinSpace: (n) => [{}, { start: 0, stop: 1, num: n }],
  Log: unary(0.1, 4),
  Log1p: unary(0, 4),
  LogicalAnd: (n) => [{ a: bools([n]), b: bools([n]) }, {}],
  LogicalNot: (n) => [{ x: bools([n]) }, {}],
  LogicalOr: (n) => [{ a: bools([n]), b: bools([n]) }, {}],
  Max: reduction("reductionIndices"),
  MaxPool: (n) => [{ x: floats(image(n)) }, windows],
  MaxPool3D: (n) => [{ x: floats(volume(n)) }, cubes],
  MaxPool3DGrad: (n) => [
    { dy: floats(halved(volume(n))), input: floats(volume(n)), output: floats(halved(volume(n))) },
    cubes,
  ],
  MaxPoolGrad: (n) => [
    { dy: floats(halved(image(n))), input: floats(image(n)), output: floats(halved(image(n))) },
    windows,
  ],
  MaxPoolWithArgmax: (n) => [{ x: floats(image(n)) }, { ...windows, includeBatchInIndex: false }],
  Maximum: binary(),
  Mean: reduction(),
  Min: reduction(),
  Minimum: binary(),
  MirrorPad: (n) => [
    { x: floats(rows(n)) },
    {
      paddings: [
        [0, 0],
        [2, 3],
      ],
      mode: "reflect",
    },
  ],
  Mod: binary(1, 9),
  Multinomial: (n) => [{ logits: floats([4, 100], 0, 1) }, { numSamples: n, seed: 7, normalized: true }],
  Multiply: binary(),
  Neg: unary(),
  NonMaxSuppressionV3: (n) => [suppression(n), limits],
  NonMaxSuppressionV4: (n) => [suppression(n), { ...limits, padToMaxOutputSize: true }],
  NonMaxSuppressionV5: (n) => [suppression(n), { ...limits, softNmsSigma: 0.5 }],
  NotEqual: binary(),
  OneHot: (n) => [
    { indices: ints([Math.max(1, Math.round(n / 100))], 0, 100) },
    { depth: 100, onValue: 1, offValue: 0, dtype: "float32" },
  ],
  OnesLike: unary(),
  Pack: (n) => [[floats(rows(n)), floats(rows(n))], { axis: 0 }],
  PadV2: (n) => [
    { x: floats(rows(n)) },
    {
      paddings: [
        [1, 1],
        [2, 3],
      ],
      constantValue: 0,
    },
  ],
  Pow: binary(0.5, 2),
  Prelu: (n) => [{ x: floats(rows(n)), alpha: floats([256]) }, {}],
  Prod: reduction("axis", (shape) => floats(shape, 0.9, 1.1)),
  Range: (n) => [{}, { start: 0, stop: n, step: 1, dtype: "float32" }],
  RealDiv: binary(1, 9),
  Reciprocal: unary(0.5, 2),
  Relu: unary(),
  Relu6: unary(-2, 9),
  ResizeBilinear: (n) => [
    { images: floats(image(n)) },
    {
      size: image(n)
        .slice(1, 3)
        .map((side) => 2 * side),
      alignCorners: false,
      halfPixelCenters: true,
    },
  ],
  ResizeBilinearGrad: (n) => [
    { images: floats(image(n)), dy: floats(image(4 * n, 16, 2 * image(n)[1])) },
    { alignCorners: false },
  ],
  ResizeNearestNeighbor: (n) => [
    { images: floats(image(n)) },
    {
      size: image(n)
        .slice(1, 3)
        .map((side) => 2 * side),
      alignCorners: false,
      halfPixelCenters: false,
    },
  ],
  ResizeNearestNeighborGrad: (n) => [
    { images: floats(image(n)), dy: floats(image(4 * n, 16, 2 * image(n)[1])) },
    { alignCorners: false },
  ],
  Reverse: (n) => [{ x: floats(rows(n)) }, { dims: [0] }],
  RotateWithOffset: (n) => [{ image: floats(image(n)) }, { radians: 0.3, fillValue: 0, center: 0.5 }],
  Round: unary(),
  Rsqrt: unary(0.1, 4),
  ScatterNd: (n) => [{ indices: ints([rows(n)[0], 1], 0, rows(n)[0]), updates: floats(rows(n)) }, { shape: rows(n) }],
  SearchSorted: (n) => [
    {
      sortedSequence: exactly(
        Float32Array.from({ length: 1024 }, (_, i) => i / 1024),
        "float32",
        [1, 1024],
      ),
      values: floats([1, n], 0, 1),
    },
    { side: "left" },
  ],
  Select: (n) => [{ condition: bools([n]), t: floats([n]), e: floats([n]) }, {}],
  Selu: unary(),
  Sigmoid: unary(),
  Sign: unary(),
  Sin: unary(),
  Sinh: unary(),
  Slice: (n) => [{ x: floats(rows(n)) }, { begin: [0, 16], size: [rows(n)[0], 192] }],
  Softmax: (n) => [{ logits: floats(rows(n)) }, { dim: 1 }],
  Softplus: unary(),
  SpaceToBatchND: (n) => [
    { x: floats([1, 2 * square(n / 64), 2 * square(n / 64), 16]) },
    {
      blockShape: [2, 2],
      paddings: [
        [0, 0],
        [0, 0],
      ],
    },
  ],
  SparseFillEmptyRows: (n) => [
    {
      indices: exactly(
        Int32Array.from({ length: 2 * n }, (_, i) => (i % 2 ? 0 : i)),
        "int32",
        [n, 2],
      ),
      values: floats([n]),
      denseShape: exactly(Int32Array.of(2 * n, 4), "int32"),
      defaultValue: exactly(Float32Array.of(1), "float32", []),
    },
    {},
  ],
  SparseReshape: (n) => [
    {
      inputIndices: exactly(
        Int32Array.from({ length: 2 * n }, (_, i) => (i % 2 ? 0 : i / 2)),
        "int32",
        [n, 2],
      ),
      inputShape: exactly(Int32Array.of(n, 4), "int32"),
      newShape: exactly(Int32Array.of(2 * n, 2), "int32"),
    },
    {},
  ],
  SparseSegmentMean: (n) => [segments(n), {}],
  SparseSegmentSum: (n) => [segments(n), {}],
  SparseToDense: (n) => [
    {
      sparseIndices: ascending(n, 2),
      sparseValues: floats([n]),
      defaultValue: exactly(Float32Array.of(0), "float32", []),
    },
    { outputShape: [2 * n] },
  ],
  SplitV: (n) => [{ x: floats(rows(n)) }, { numOrSizeSplits: [64, 64, 128], axis: 1 }],
  Sqrt: unary(0, 4),
  Square: unary(),
  SquaredDifference: binary(),
  Step: unary(-2, 2, { alpha: 0 }),
  StridedSlice: (n) => [
    { x: floats(rows(n)) },
    {
      begin: [0, 1],
      end: [rows(n)[0], 256],
      strides: [1, 2],
      beginMask: 0,
      endMask: 0,
      ellipsisMask: 0,
      newAxisMask: 0,
      shrinkAxisMask: 0,
    },
  ],
  StringNGrams: (n) => [
    { data: words(n), dataSplits: exactly(Int32Array.of(0, n), "int32") },
    { separator: " ", nGramWidths: [2], leftPad: "", rightPad: "", padWidth: 0, preserveShortSequences: false },
  ],
  StringSplit: (n) => [{ input: words(n), delimiter: exactly([" "], "string", []) }, { skipEmpty: true }],
  StringToHashBucketFast: (n) => [{ input: words(n) }, { numBuckets: 100 }],
  Sub: binary(),
  Sum: reduction(),
  Tan: unary(-1, 1),
  Tanh: unary(),
  TensorScatterUpdate: (n) => [
    { tensor: floats(rows(n)), indices: ints([rows(n)[0], 1], 0, rows(n)[0]), updates: floats(rows(n)) },
    {},
  ],
  Tile: (n) => [{ x: floats(rows(n)) }, { reps: [2, 2] }],
  TopK: (n) => [{ x: floats(rows(n)) }, { k: 10, sorted: true }],
  Transform: (n) => [
    {
      image: floats(image(n)),
      transforms: exactly(Float32Array.of(0.9, 0.1, 0, -0.1, 0.9, 1, 0, 0), "float32", [1, 8]),
    },
    { interpolation: "bilinear", fillMode: "reflect", fillValue: 0, outputShape: image(n).slice(1, 3) },
  ],
  Transpose: (n) => [{ x: floats([square(n), square(n)]) }, { perm: [1, 0] }],
  Unique: (n) => [{ x: ints([n], 0, 100) }, { axis: 0 }],
  Unpack: (n) => [{ value: floats([8, Math.ceil(n / 8)]) }, { axis: 0 }],
  ZerosLike: unary(),
  _FusedMatMul: (n) => [
    { a: floats([1, square(n), square(n)]), b: floats([1, square(n), square(n)]), bias: floats([square(n)]) },
    { transposeA: false, transposeB: false, activation: "relu" },
  ],
};
