// A small convolutional network: images of 28×28 pixels → probabilities of 10 classes. It has the layers of exported mobile networks:
// fused and separate biases, activations and batch normalization, depthwise and dilated convolutions, pools, a residual connection, and a
// resized branch.
import { float, Graph } from "./graph.mjs";

const T = "DT_FLOAT";

export function cnn() {
  const g = new Graph(1);
  const image = g.input("image", T, [-1, 28, 28, 1]);
  const window = (stride, padding = "SAME") => ({ T, strides: [1, stride, stride, 1], padding, data_format: "NHWC" });
  const conv = (stride, padding) => ({ ...window(stride, padding), dilations: [1, 1, 1, 1] });
  const fused = (...ops) => ({ fused_ops: ops, num_args: 1, epsilon: float(0) });

  const padded = g.op(
    "Pad",
    "stem/pad",
    [image, g.constant("stem/pads", [0, 0, 0, 1, 0, 1, 0, 0], { sizes: [4, 2] })],
    { T },
  );
  const stem = g.op(
    "_FusedConv2D",
    "stem/conv",
    [padded, g.weight("stem/filter", [3, 3, 1, 8]), g.weight("stem/bias", [8], { fanIn: 100 })],
    { ...conv(2, "VALID"), ...fused("BiasAdd", "Relu6") },
  );

  // A depthwise-separable block with a residual connection.
  const depthwise = g.op(
    "FusedDepthwiseConv2dNative",
    "block/depthwise",
    [
      stem,
      g.weight("block/depthwise/filter", [3, 3, 8, 1], { fanIn: 9 }),
      g.weight("block/depthwise/bias", [8], { fanIn: 100 }),
    ],
    { ...conv(1), ...fused("BiasAdd", "Relu") },
  );
  const project = g.op(
    "_FusedConv2D",
    "block/project",
    [depthwise, g.weight("block/project/filter", [1, 1, 8, 8]), g.weight("block/project/bias", [8], { fanIn: 100 })],
    { ...conv(1), ...fused("BiasAdd") },
  );
  const residual = g.op("AddV2", "block/add", [stem, project], { T });

  // A dilated convolution with batch normalization.
  const dilated = g.op("Conv2D", "dilated/conv", [residual, g.weight("dilated/filter", [3, 3, 8, 16])], {
    ...window(1),
    dilations: [1, 2, 2, 1],
  });
  const vector = (name, mean) => g.weight(`dilated/${name}`, [16], { mean, fanIn: 30 });
  const normalized = g.op(
    "FusedBatchNormV3",
    "dilated/norm",
    [dilated, vector("scale", 1), vector("offset", 0), vector("mean", 0), vector("variance", 1)],
    { T, U: T, epsilon: float(1e-3), data_format: "NHWC", is_training: false },
  );
  const relu = g.op("Relu", "dilated/relu", [normalized], { T });
  const pool = g.op("MaxPool", "pool", [relu], { ...window(2, "VALID"), ksize: [1, 2, 2, 1] });

  // A branch at half the resolution, resized back.
  const small = g.op("AvgPool", "branch/pool", [pool], { ...window(2), ksize: [1, 3, 3, 1] });
  const separate = g.op(
    "DepthwiseConv2dNative",
    "branch/depthwise",
    [small, g.weight("branch/filter", [3, 3, 16, 2], { fanIn: 9 })],
    conv(1),
  );
  const biased = g.op("BiasAdd", "branch/bias", [separate, g.weight("branch/b", [32], { fanIn: 100 })], {
    T,
    data_format: "NHWC",
  });
  const leaky = g.op("LeakyRelu", "branch/relu", [biased], { T, alpha: float(0.1) });
  const resized = g.op("ResizeBilinear", "branch/resize", [leaky, [7, 7]], {
    T,
    align_corners: false,
    half_pixel_centers: true,
  });

  const joined = g.op("ConcatV2", "join", [pool, resized, 3], { T, N: 2 });
  const mean = g.op("Mean", "mean", [joined, [1, 2]], { T, keep_dims: false });
  const max = g.op("Max", "max", [joined, [1, 2]], { T, keep_dims: false });
  const features = g.op("ConcatV2", "features", [mean, max, -1], { T, N: 2 });

  const product = { T, transpose_a: false, transpose_b: false };
  const hidden = g.op(
    "_FusedMatMul",
    "hidden",
    [features, g.weight("hidden/kernel", [96, 32]), g.weight("hidden/bias", [32], { fanIn: 100 })],
    { ...product, ...fused("BiasAdd", "Elu") },
  );
  const logits = g.op("MatMul", "logits", [hidden, g.weight("logits/kernel", [32, 10])], product);
  g.output("logits", logits);
  g.output("probabilities", g.op("Softmax", "probabilities", [logits], { T }));
  g.output("label", g.op("ArgMax", "label", [logits, -1], { T, output_type: "DT_INT32" }), "DT_INT32");
  return g;
}
