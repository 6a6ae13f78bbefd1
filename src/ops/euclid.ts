/** The table entry of the Euclidean norm along the middle of [outer, n, inner]. reduce.ts has the function. */
import { Op, Reduce } from "../../assembly/opcodes.ts";
import { encodeAlone } from "../runtime/engine.ts";
import { div, eq, mul, where } from "./arithmetic.ts";
import type { OpDefinition } from "./op.ts";
import { reshape } from "./shape.ts";
import type { Shape } from "./value.ts";

export interface NormAttributes {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
  /** The result's shape. */
  readonly shape: Shape;
}

/** Results that are too few to share by themselves, and the elements of the pieces that they are computed in. */
const [FEW, PIECE] = [64, 8192];

export const normDefinition: OpDefinition<NormAttributes> = {
  code: Op.Norm,
  name: "norm",
  doc: "√Σ x², of squares in float64, so that none overflows. dx = dy·x/y, 0 where y = 0.",
  saves: "both",
  infer: (_, { shape }) => [{ shape, dtype: "float32" }],
  encode(encoder, { inputs: [x], outputs: [y], attributes: { outer, n, inner }, address }) {
    const length = Math.max(32, Math.floor(PIECE / inner));
    const pieces = outer * Math.ceil(inner / 4) < FEW && n >= 8 * length ? Math.ceil(n / length) : 0;
    const partial = encoder.workspace(4 * outer * pieces * inner);
    const encode = (out: number, from: number, count: number, piece: number): void => {
      encoder.begin(Op.Norm, Reduce.words);
      encoder.set(Reduce.out, out);
      encoder.set(Reduce.x, from);
      encoder.set(Reduce.outer, outer);
      encoder.set(Reduce.n, count);
      encoder.set(Reduce.inner, inner);
      encoder.set(Reduce.piece, piece);
      encoder.end();
    };
    if (!pieces) return encode(address(y!), address(x!), n, 0);
    encode(partial, address(x!), n, length);
    encodeAlone(encoder, () => encode(address(y!), partial, pieces, 0));
  },
  vjp(dy, { inputs: [x], outputs: [y], attributes: { outer, n, inner } }) {
    const [d, size] = [dy, y!].map((v) => reshape(v, [outer, 1, inner])) as [typeof dy, typeof dy];
    const isZero = eq(size, 0);
    // x/y is at most 1, however large or small both are.
    const direction = div(reshape(x!, [outer, n, inner]), where(isZero, 1, size));
    return [reshape(mul(direction, where(isZero, 0, d)), x!.shape)];
  },
  reference([x], { outer, n, inner, shape }) {
    const squares = new Float64Array(outer * inner);
    squares.forEach((_, to) => {
      const [o, j] = [Math.floor(to / inner), to % inner];
      for (let i = 0; i < n; i++) squares[to]! += x!.data[(o * n + i) * inner + j]! ** 2;
    });
    return [{ shape, data: squares.map(Math.sqrt) }];
  },
  samples: [
    [1, 1, 1],
    [1, 5, 1],
    [3, 33, 1],
    [0, 3, 1],
    [1, 5, 3],
    [2, 33, 5],
    [3, 70, 4],
    [2, 97, 37],
  ].map(([outer, n, inner]) => ({
    inputs: [{ shape: [outer!, n!, inner!] }],
    attributes: { outer: outer!, n: n!, inner: inner!, shape: [outer!, 1, inner!] },
  })),
};
