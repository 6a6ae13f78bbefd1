/**
 * Convolutions of images, with channels last. Three ops compute each other's gradients: conv, its gradient with respect
 * to the input (the transposed convolution), and its gradient with respect to the weight. A 1-d convolution treats
 * sequences as images of height 1.
 */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import { draft } from "../../runtime/encoder.ts";
import { allowsWinograd, kernels } from "../../runtime/engine.ts";
import { SCRATCH } from "../../runtime/heap.ts";
import { type ConvCode, encodeConv } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { requireType, type Value } from "../definition/value.ts";
import { activationGrad } from "../matrix/matmul.ts";
import { sum } from "../reduce/reduce.ts";

export type Pair = readonly [height: number, width: number];

/** The geometry of the forward convolution, which the three ops share. */
export interface ConvAttributes {
  readonly stride: Pair;
  /**
   * The padding above and to the left of the image. `inputSize` and `outputSize` determine the padding below and to the
   * right.
   */
  readonly pad: Pair;
  readonly dilation: Pair;
  readonly groups: number;
  readonly activation: Activation;
  /**
   * The indices, among the inputs, of the operands [mean, scale, shift, addend] of a last step, act((y − mean)·scale +
   * shift + addend); 0 for an absent operand. The last step then also applies the activation. Only compile's passes set
   * it, for conv, after all gradients have been recorded.
   */
  readonly last?: readonly number[];
  /** The height and width of x. */
  readonly inputSize: Pair;
  /** The height and width of y. */
  readonly outputSize: Pair;
  readonly kernelSize: Pair;
}

/** The number of pixels that a dilated kernel spans along one dim. */
export const span = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

const encodeAs: (code: ConvCode) => OpDefinition<ConvAttributes>["encode"] =
  (code) =>
  (encoder, { inputs, outputs: [out], attributes, address }) => {
    const [a, b, third] = inputs;
    const { last } = attributes;
    const bias = last?.includes(2) ? undefined : third;
    const [mean, scale, shift, addend] = [0, 1, 2, 3].map((i) => (last?.[i] ? address(inputs[last[i]!]!) : 0));
    const { stride, pad, dilation, groups, activation, inputSize, outputSize, kernelSize } = attributes;
    const x = code === Op.ConvInput ? out! : a!;
    const y = code === Op.Conv ? out! : code === Op.ConvInput ? a! : b!;
    const [[height, width], [outHeight, outWidth]] = [inputSize, outputSize];
    const [[kernelHeight, kernelWidth], [strideH, strideW]] = [kernelSize, stride];
    const [[padTop, padLeft], [dilationH, dilationW]] = [pad, dilation];
    const operands = {
      out: address(out!),
      a: address(a!),
      b: address(b!),
      bias: bias ? address(bias) : 0,
      batch: x.shape[0]!,
      height,
      width,
      channels: x.shape[3]!,
      outHeight,
      outWidth,
      outChannels: y.shape[3]!,
      kernelHeight,
      kernelWidth,
      strideH,
      strideW,
      padTop,
      padLeft,
      dilationH,
      dilationW,
      groups,
      activation: last ? Activation.None : activation,
      finish: last ? 1 + activation : 0,
      mean: mean!,
      scale: scale!,
      shift: shift!,
      addend: addend!,
      winograd: allowsWinograd() ? 1 : 0,
      workspace: 0,
    };
    // Write a draft of the instruction first, from which convWorkspace computes the size of the workspace.
    encodeConv(draft, code, operands);
    operands.workspace = encoder.workspace(kernels().convWorkspace!(SCRATCH));
    encodeConv(encoder, code, operands);
  };

const productsOf = (pixels: number, w: Value): number => 2 * pixels * w.size;
const channelSums = (dy: Value): Value => sum(dy, [0, 1, 2]);

/**
 * act(Σ x·w + bias), with channels last, where Σ sums over the kernel's taps and the channels of a group. dx:
 * convInput, dw: convWeight, dbias: Σ dy.
 */
export const convDefinition: OpDefinition<ConvAttributes> = {
  code: Op.Conv,
  cost: 0.02,
  name: "conv",
  saves: "both",
  infer([x, w, bias], { outputSize }) {
    for (const v of bias ? [x!, w!, bias] : [x!, w!]) requireType("conv", v, "float32");
    return [{ shape: [x!.shape[0]!, ...outputSize, w!.shape[0]!], dtype: "float32" }];
  },
  products: ([, w], [y]) => productsOf(y!.size / y!.shape[3]!, w!),
  encode: encodeAs(Op.Conv),
  vjp(dy, { inputs: [x, w, bias], outputs: [y], attributes, needs }) {
    const d = activationGrad[attributes.activation](dy, y!);
    const plain = { ...attributes, activation: Activation.None };
    return [
      needs[0] ? apply(convInputDefinition, [d, w!], plain) : null,
      needs[1] ? apply(convWeightDefinition, [x!, d], plain) : null,
      ...(bias ? [needs[2] ? channelSums(d) : null] : []),
    ];
  },
};

/**
 * The gradient of conv with respect to its input. The op also serves as the transposed convolution, with a bias and an
 * activation. d dy: conv, dw: convWeight.
 */
export const convInputDefinition: OpDefinition<ConvAttributes> = {
  code: Op.ConvInput,
  cost: 0.02,
  name: "convInput",
  saves: "both",
  infer([dy, w, bias], { inputSize, groups }) {
    for (const v of bias ? [dy!, w!, bias] : [dy!, w!]) requireType("convTranspose", v, "float32");
    return [{ shape: [dy!.shape[0]!, ...inputSize, w!.shape[3]! * groups], dtype: "float32" }];
  },
  products: ([dy, w]) => productsOf(dy!.size / dy!.shape[3]!, w!),
  encode: encodeAs(Op.ConvInput),
  vjp(g, { inputs: [dy, w, bias], outputs: [dx], attributes, needs }) {
    const d = activationGrad[attributes.activation](g, dx!);
    const plain = { ...attributes, activation: Activation.None };
    return [
      needs[0] ? apply(convDefinition, [d, w!], plain) : null,
      needs[1] ? apply(convWeightDefinition, [d, dy!], plain) : null,
      ...(bias ? [needs[2] ? channelSums(d) : null] : []),
    ];
  },
};

/** The gradient of conv with respect to its weight, from x and dy. dx: convInput, d dy: conv. */
export const convWeightDefinition: OpDefinition<ConvAttributes> = {
  code: Op.ConvWeight,
  cost: 0.02,
  name: "convWeight",
  saves: "input",
  infer: ([x, dy], { kernelSize, groups }) => [
    { shape: [dy!.shape[3]!, ...kernelSize, x!.shape[3]! / groups], dtype: "float32" },
  ],
  products: ([, dy], [dw]) => productsOf(dy!.size / dy!.shape[3]!, dw!),
  encode: encodeAs(Op.ConvWeight),
  vjp: (g, { inputs: [x, dy], attributes, needs }) => [
    needs[0] ? apply(convInputDefinition, [dy!, g], attributes) : null,
    needs[1] ? apply(convDefinition, [x!, g], attributes) : null,
  ],
};
