/** Low-precision numbers as float32, and products with weights of low precision. The kernels are in assembly/kernels/widen.ts. */
import { Op, type WeightFormat } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeWiden, encodeWidenedMatmul } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { type Shape, show, sizeOf, type Value } from "../definition/value.ts";
import { float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";

/** A matrix of low-precision numbers. */
export interface NarrowMatrix {
  /** The numbers, uint8 [rows, bytes of a row]. */
  readonly weight: Value;
  /** The scales of rows or groups, float32 [rows] or [rows, groups]; null if the format has none. */
  readonly scale: Value | null;
  readonly kind: WeightFormat;
}

interface WidenAttributes {
  readonly kind: WeightFormat;
  /** The shape of the result. */
  readonly shape: Shape;
}

interface WidenedMatmulAttributes {
  readonly kind: WeightFormat;
  /** The first row of the weight to use, and the number of rows. */
  readonly first: number;
  readonly count: number;
  readonly hasScale: boolean;
}

/** (w, scale) → float32 of any shape whose last dim is a row. */
export const widenDefinition: OpDefinition<WidenAttributes> = {
  code: Op.Widen,
  name: "widen",
  cost: 0.6,
  infer: (_, { shape }) => [{ shape, dtype: "float32" }],
  encode(encoder, { inputs: [w, scale], outputs: [out], attributes: { kind }, address }) {
    const k = out!.shape.at(-1)!;
    encodeWiden(encoder, {
      out: address(out!),
      w: address(w!),
      scale: scale ? address(scale) : 0,
      m: out!.size / k,
      k,
      kind,
      workspace: encoder.workspace(kernels().widenWorkspace!(k, 1)),
    });
  },
};

/** (x, w, scale if the format has one, bias if there is one) → x·wᵀ + bias. */
export const widenedMatmulDefinition: OpDefinition<WidenedMatmulAttributes> = {
  code: Op.WidenedMatmul,
  name: "widenedMatmul",
  cost: 0.02,
  infer: ([x], { count }) => [{ shape: [x!.shape[0]!, count], dtype: "float32" }],
  products: ([x], [out]) => 2 * out!.size * x!.shape[1]!,
  encode(encoder, { inputs: [x, w, ...rest], outputs: [out], attributes: { kind, first, count, hasScale }, address }) {
    const [m, k] = x!.shape as [number, number];
    const [scale, bias] = hasScale ? rest : [undefined, ...rest];
    // The address of row `first`.
    const from = (part: Value | undefined, bytes: number): number =>
      part ? address(part) + (first * bytes * part.size) / part.shape[0]! : 0;
    encodeWidenedMatmul(encoder, {
      out: address(out!),
      x: address(x!),
      w: from(w, 1),
      scale: from(scale, 4),
      bias: from(bias, 4),
      m,
      n: count,
      k,
      kind,
      workspace: encoder.workspace(kernels().widenedWorkspace!(m, count, k)),
    });
  },
};

/** The numbers in float32. `shape` ends with the length of a row. */
export const widen = ({ weight, scale, kind }: NarrowMatrix, shape: Shape): Value =>
  apply(widenDefinition, scale ? [weight, scale] : [weight], { kind, shape });

/** x·wᵀ + bias for some rows of w, each of k numbers. x: [..., k] → [..., count]. The bits are those of the product with float32 weights. */
export function widenedLinear(
  name: string,
  x: Value,
  { weight, scale, kind }: NarrowMatrix,
  k: number,
  bias: Value | null,
  [first, count]: readonly [first: number, count: number],
): Value {
  const input = float(x, name);
  if (input.shape.at(-1) !== k)
    throw new ShapeError(
      `${name}: ${show(input.shape)} does not fit the weight ${show([weight.shape[0]!, k])}: the last size must be ${k}.`,
    );
  const outer = input.shape.slice(0, -1);
  const inputs = [reshape(input, [sizeOf(outer), k]), weight, ...(scale ? [scale] : []), ...(bias ? [bias] : [])];
  const y = apply(widenedMatmulDefinition, inputs, { kind, first, count, hasScale: scale !== null });
  return reshape(y, [...outer, count]);
}
