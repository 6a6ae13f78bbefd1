/** Grayscale dilation of images, with channels last, for nabla/tfjs. */
import { Op } from "../../../assembly/opcodes.ts";
import { encodeMaxPool } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { requireType, type Shape, sizeOf, type Value } from "../definition/value.ts";
import { gatherDefinitions } from "../index/gather.ts";
import { reshape } from "../shape/reshape.ts";
import { type MaxPoolAttributes, maxPoolOperands, toPlaces } from "./pool.ts";

/**
 * The gradient with respect to the filter: each element of dy is added at the tap that gave the largest sum in the
 * element's window.
 */
export function toTaps(dy: Value, taps: Value, shape: Shape): Value {
  const [n, channels] = [shape[0]! * shape[1]!, shape[2]!];
  const rows = (x: Value): Value => reshape(x, [x.size / channels, channels]);
  return reshape(apply(gatherDefinitions.scatterAdd, [rows(dy), rows(taps)], { dim: 0, n }), shape);
}

/**
 * The largest sum of a pixel and its tap in each window, and where the two are: the pixel's position in the image, and
 * the tap's position in the filter. dx, dfilter: dy, added at these positions.
 *
 * x: [batch, height, width, channels], filter: [kernelHeight, kernelWidth, channels] → [batch, outHeight, outWidth, channels].
 */
export const dilationDefinition: OpDefinition<MaxPoolAttributes> = {
  code: Op.Dilation,
  cost: 0.6,
  name: "dilation",
  saves: [3, 4],
  infer([x, filter], { outputSize }) {
    requireType("dilation", x!, "float32");
    requireType("dilation", filter!, "float32", "filter");
    const shape = [x!.shape[0]!, ...outputSize, x!.shape[3]!];
    return [
      { shape, dtype: "float32" },
      { shape, dtype: "int32" },
      { shape, dtype: "int32" },
    ];
  },
  below: ([x], { kernelSize }) => [undefined, x!.shape[1]! * x!.shape[2]!, sizeOf(kernelSize)],
  flops: (_, [y], { kernelSize }) => y!.size * sizeOf(kernelSize),
  encode(encoder, { inputs: [x, filter], outputs: [y, places, taps], attributes, address }) {
    encodeMaxPool(encoder, Op.Dilation, {
      ...maxPoolOperands(x!, attributes, address),
      out: address(y!),
      places: places ? address(places) : 0,
      taps: taps ? address(taps) : 0,
      filter: address(filter!),
    });
  },
  vjp: (dy, { inputs: [x, filter], outputs: [, places, taps], attributes, needs }) => [
    needs[0] ? toPlaces(dy, places!, x!.shape, attributes) : null,
    needs[1] ? toTaps(dy, taps!, filter!.shape) : null,
  ],
};

/** Only the largest sums, without positions and without a gradient. */
export const dilationValuesDefinition: OpDefinition<MaxPoolAttributes> = {
  code: dilationDefinition.code,
  cost: dilationDefinition.cost,
  name: "dilationValues",
  infer: (inputs, attributes) => [dilationDefinition.infer(inputs, attributes)[0]!],
  flops: dilationDefinition.flops!,
  encode: dilationDefinition.encode,
};
