/**
 * Convolution, pooling and other layers that work on images. Filters are HWIO in TensorFlow.js and OHWI in nabla.
 */
import { Activation } from "../../../assembly/opcodes.ts";
import { tensor } from "../../core/creation.ts";
import * as ops from "../../core/functions.ts";
import type { Tensor } from "../../core/tensor.ts";
import { apply, applyAll } from "../../ops/definition/op.ts";
import { convInputDefinition } from "../../ops/image/conv.ts";
import { paddingAlong } from "../../ops/image/convolve.ts";
import { avgPoolDefinition, maxPoolDefinition } from "../../ops/image/pool.ts";
import { pooling, type Windows } from "../kernels/image.ts";
import { activationOf } from "./activations.ts";
import { type Config, type Context, type Own, type Rule, reject, weightsOf } from "./plan.ts";

type OnImages = (x: Tensor, own: Own) => Tensor;

/** Adapts a function of channels-last images to the layer's data format. */
function inFormat({ dataFormat }: Config, run: OnImages): OnImages {
  if (dataFormat !== "channelsFirst") return run;
  return (x, own) => run(x.permute(0, 2, 3, 1), own).permute(0, 3, 1, 2);
}

/**
 * Runs a convolution on channels-last images, then applies the activation in the layer's own data format, because
 * softmax, for example, works along the last dim.
 */
function activated({ layer, config }: Context, convolve: OnImages): ReturnType<Rule>["run"] {
  if (config.padding === "causal")
    reject(layer, 'has the padding "causal", which TensorFlow.js does not implement', 'Use "same" or "valid"');
  const activation = activationOf(layer, config.activation);
  const run = inFormat(config, convolve);
  return (own, x) => activation(run(x, own));
}

const conv2d: Rule = (context) => {
  const { strides: stride, padding, dilationRate: dilation } = context.config;
  return {
    weights: weightsOf(context.variables, { weight: { of: "kernel", axes: [3, 0, 1, 2] }, bias: { of: "bias" } }),
    run: activated(context, (x, { weights: { weight, bias } }) =>
      ops.conv2d(x, weight!, bias ?? null, { stride, padding, dilation }),
    ),
  };
};

const conv1d: Rule = (context) => {
  const { layer, config, variables } = context;
  if (layer.dataFormat === "channelsFirst") reject(layer, 'has dataFormat: "channelsFirst"', 'Use "channelsLast"');
  const [[stride], [dilation]] = [config.strides, config.dilationRate];
  return {
    weights: weightsOf(variables, { weight: { of: "kernel", axes: [2, 0, 1] }, bias: { of: "bias" } }),
    run: activated(context, (x, { weights: { weight, bias } }) =>
      ops.conv1d(x, weight!, bias ?? null, { stride, padding: config.padding, dilation }),
    ),
  };
};

/** A transposed convolution: the gradient of a convolution with respect to its input. */
const conv2dTranspose: Rule = (context) => {
  const { kernelSize, strides, padding } = context.config;
  const sizeOf = (n: number, i: 0 | 1): number =>
    n * strides[i] + (padding === "same" ? 0 : Math.max(kernelSize[i] - strides[i], 0));
  return {
    weights: weightsOf(context.variables, { weight: { of: "kernel", axes: [3, 0, 1, 2] }, bias: { of: "bias" } }),
    run: activated(context, (x, { weights: { weight, bias } }) => {
      const [, height, width] = x.shape as [number, number, number];
      const inputSize = [sizeOf(height, 0), sizeOf(width, 1)] as const;
      const before = (i: 0 | 1): number =>
        paddingAlong("conv2dTranspose", padding, i, inputSize[i], kernelSize[i], strides[i])[0];
      const y = apply(convInputDefinition, [x, weight!], {
        stride: strides,
        pad: [before(0), before(1)],
        dilation: [1, 1],
        groups: 1,
        activation: Activation.None,
        inputSize,
        outputSize: [height, width],
        kernelSize,
      }) as Tensor;
      return bias ? y.add(bias) : y;
    }),
  };
};

/**
 * Describes how the filter of a depthwise convolution, [height, width, in, multiplier], becomes one of nabla's, with
 * one output channel for each pair of an input channel and a multiplier.
 */
function depthwiseWeight({ variables }: Context, of: string) {
  const [height, width, inputs, multiplier] = variables[of]!.shape as [number, number, number, number];
  return { of, axes: [2, 3, 0, 1], shape: [inputs * multiplier, height, width, 1], groups: inputs };
}

const depthwiseConv2d: Rule = (context) => {
  const { groups, ...weight } = depthwiseWeight(context, "depthwise_kernel");
  const { strides: stride, padding } = context.config;
  return {
    weights: weightsOf(context.variables, { weight, bias: { of: "bias" } }),
    // Like TensorFlow.js, ignore the dilation.
    run: activated(context, (x, { weights }) =>
      ops.conv2d(x, weights.weight!, weights.bias ?? null, { stride, padding, groups }),
    ),
  };
};

const separableConv2d: Rule = (context) => {
  const { layer, config, variables } = context;
  if (config.dataFormat === "channelsFirst") reject(layer, 'has dataFormat: "channelsFirst"', 'Use "channelsLast"');
  const { groups, ...depthwise } = depthwiseWeight(context, "depthwise_kernel");
  const { strides: stride, padding, dilationRate: dilation } = config;
  return {
    weights: weightsOf(variables, {
      depthwise,
      pointwise: { of: "pointwise_kernel", axes: [3, 0, 1, 2] },
      bias: { of: "bias" },
    }),
    run: activated(context, (x, { weights }) => {
      const y = ops.conv2d(x, weights.depthwise!, null, { stride, padding, dilation, groups });
      return ops.conv2d(y, weights.pointwise!, weights.bias ?? null);
    }),
  };
};

type Pool = (x: Tensor, windows: Windows) => Tensor;
const maxPool: Pool = (x, windows) => applyAll(maxPoolDefinition, [x], windows)[0] as Tensor;
const avgPool: Pool = (x, windows) => apply(avgPoolDefinition, [x], { ...windows, countIncludePad: false }) as Tensor;

/** Pools with TensorFlow.js's windows. With both paddings, "same" and "valid", every window contains a pixel. */
function pooled(pool: Pool, x: Tensor, filterSize: readonly number[], strides: readonly number[], pad: string): Tensor {
  const windows = pooling(x.shape, { filterSize, strides, pad, dimRoundingMode: undefined });
  return windows === "identity" ? x : pool(x, windows!);
}
const pool2d =
  (pool: Pool): Rule =>
  ({ config }) => {
    const run = inFormat(config, (x) => pooled(pool, x, config.poolSize, config.strides, config.padding));
    return { run: (own, x) => run(x, own) };
  };
const pool1d =
  (pool: Pool): Rule =>
  ({ config: { poolSize, strides, padding } }) => ({
    run: (_, x) => pooled(pool, x.unsqueeze(2), [poolSize[0], 1], [strides[0], 1], padding).squeeze(2),
  });

/** The dims that hold the rows and the columns. */
const spatial = ({ dataFormat }: Config): [number, number] => (dataFormat === "channelsFirst" ? [2, 3] : [1, 2]);

/**
 * Replaces each pixel along a dim with one pixel per fraction, interpolated at that fraction of the way to the next
 * pixel.
 */
function upsample(x: Tensor, dim: number, fractions: readonly number[]): Tensor {
  const size = x.shape[dim]!;
  const count = fractions.length;
  const rest = x.shape.slice(dim + 1);
  const repeated = x.unsqueeze(dim + 1).broadcastTo([...x.shape.slice(0, dim + 1), count, ...rest]);
  const shape = [...x.shape.slice(0, dim), size * count, ...rest];
  if (!fractions.some(Boolean)) return repeated.reshape(shape);
  const next = ops.concat([x.narrow(dim, 1, size - 1), x.narrow(dim, size - 1, 1)], dim);
  const steps = tensor([...fractions]).reshape(count, ...rest.map(() => 1));
  return repeated
    .add(
      next
        .sub(x)
        .unsqueeze(dim + 1)
        .mul(steps),
    )
    .reshape(shape);
}

const upSampling2d: Rule = ({ config: { size, interpolation, dataFormat } }) => {
  const fractions = size.map((n: number) =>
    Array.from({ length: n }, (_, i) => (interpolation === "bilinear" ? i / n : 0)),
  );
  const run = inFormat({ dataFormat }, (x) => upsample(upsample(x, 1, fractions[0]), 2, fractions[1]));
  return { run: (own, x) => run(x, own) };
};

export const image: Readonly<Record<string, Rule>> = {
  Conv1D: conv1d,
  Conv2D: conv2d,
  Conv2DTranspose: conv2dTranspose,
  DepthwiseConv2D: depthwiseConv2d,
  SeparableConv2D: separableConv2d,
  MaxPooling1D: pool1d(maxPool),
  MaxPooling2D: pool2d(maxPool),
  AveragePooling1D: pool1d(avgPool),
  AveragePooling2D: pool2d(avgPool),
  GlobalAveragePooling1D: () => ({ run: (_, x) => x.mean(1) }),
  GlobalAveragePooling2D: ({ config }) => ({ run: (_, x) => x.mean(spatial(config)) }),
  GlobalMaxPooling1D: () => ({ run: (_, x) => x.max(1) }),
  GlobalMaxPooling2D: ({ config }) => ({ run: (_, x) => x.max(spatial(config)) }),
  UpSampling2D: upSampling2d,
  ZeroPadding2D: ({ config }) => {
    const [[top, bottom], [left, right]] = config.padding;
    const run = inFormat(config, (x) => x.pad([0, 0, left, right, top, bottom]));
    return { run: (own, x) => run(x, own) };
  },
  Cropping2D: ({ config }) => {
    const [rows, columns] = config.cropping;
    const run = inFormat(config, (x) =>
      x.slice(null, [rows[0], x.shape[1]! - rows[1]], [columns[0], x.shape[2]! - columns[1]]),
    );
    return { run: (own, x) => run(x, own) };
  },
};
