/** Matrix products. One op covers transposed operands, broadcast batches, a bias and an activation. */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { Error, ShapeError } from "../../runtime/errors.ts";
import { encodeMatmul } from "../../runtime/instructions.ts";
import { apply, type OpDefinition, type Operand } from "../definition/op.ts";
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  requireType,
  type Shape,
  show,
  sizeOf,
  type Value,
} from "../definition/value.ts";
import { reluGrad, sigmoidGrad, tanhGrad } from "../pointwise/activation.ts";
import { mul } from "../pointwise/arithmetic.ts";
import { lt, where } from "../pointwise/comparison.ts";
import { float } from "../pointwise/pointwise.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { transpose } from "../shape/shape.ts";

export interface MatmulAttributes {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly activation: Activation;
}

export const PLAIN_PRODUCT: MatmulAttributes = {
  transA: false,
  transB: false,
  alpha: 1,
  activation: Activation.None,
};

/** The sizes of op(A)·op(B): [m, k] × [kb, n]. The caller must check that k and kb are equal. */
export function sizes(
  a: { shape: Shape },
  b: { shape: Shape },
  { transA, transB }: MatmulAttributes,
): { m: number; n: number; k: number; kb: number } {
  const [rowsA, colsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, colsB] = b.shape.slice(-2) as [number, number];
  return {
    m: transA ? colsA : rowsA,
    k: transA ? rowsA : colsA,
    kb: transB ? colsB : rowsB,
    n: transB ? rowsB : colsB,
  };
}

/**
 * Throws, because products that are fused with a derivative have no gradient. Only compile's passes create such
 * products, after all gradients have been recorded.
 */
function fusedOnly(): never {
  throw new Error("matmul: a product that was fused with a derivative has no gradient.");
}

export const activationGrad: Record<Activation, (dy: Value, y: Value) => Value> = {
  [Activation.None]: (dy) => dy,
  [Activation.Relu]: reluGrad,
  [Activation.Relu6]: (dy, y) => where(lt(y, 6), reluGrad(dy, y), 0),
  [Activation.Tanh]: tanhGrad,
  [Activation.Sigmoid]: sigmoidGrad,
  [Activation.ReluGrad]: fusedOnly,
  [Activation.TanhGrad]: fusedOnly,
  [Activation.SigmoidGrad]: fusedOnly,
};

/** Whether the third operand is not a bias but the output y at which a derivative is evaluated. */
export const readsOutput = ({ activation }: MatmulAttributes): boolean => activation >= Activation.ReluGrad;

/**
 * act(α·op(A)·op(B) + bias) or, in compiled functions, α·op(A)·op(B)·act′, with act′ evaluated at the output y. dA =
 * dC·Bᵀ, dB = Aᵀ·dC (both use transposition flags), dbias = Σ rows of dC.
 */
export const matmulDefinition: OpDefinition<MatmulAttributes> = {
  code: Op.Matmul,
  cost: 0.02,
  name: "matmul",
  saves: "both",
  infer([a, b, third], attributes) {
    const bias = readsOutput(attributes) ? undefined : third;
    for (const x of third ? [a!, b!, third] : [a!, b!]) requireType("matmul", x, "float32");
    const { m, n, k, kb } = sizes(a!, b!, attributes);
    if (k !== kb) {
      const flipped = attributes.transB ? b!.shape.at(-2) : b!.shape.at(-1);
      const hint =
        flipped === k ? ` Did you mean x.matmul(w.${b!.shape.length > 2 ? "transpose(-2, -1)" : "t()"})?` : "";
      throw new ShapeError(
        `matmul: ${show(a!.shape)} × ${show(b!.shape)} do not fit: inner sizes ${k} and ${kb} differ.${hint}`,
      );
    }
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n)) {
      throw new ShapeError(
        `matmul: the bias is ${show(bias.shape)}, but the product has ${n} columns: it must be [${n}].`,
      );
    }
    return [
      {
        shape: [...broadcastShapes("matmul", a!.shape.slice(0, -2), b!.shape.slice(0, -2)), m, n],
        dtype: "float32",
      },
    ];
  },
  products: ([a, b], [out], attributes) => 2 * out!.size * sizes(a!, b!, attributes).k,
  encode(encoder, { inputs: [a, b, third], outputs: [out], attributes, address }) {
    const { m, n, k } = sizes(a!, b!, attributes);
    const [bias, y] = readsOutput(attributes) ? [undefined, third] : [third, undefined];
    const batch = out!.shape.slice(0, -2);
    const [first, second] = [a!, b!].map((x) => broadcastStrides(x.shape.slice(0, -2), batch)) as [number[], number[]];
    const [transA, transB] = [Number(attributes.transA), Number(attributes.transB)];
    encodeMatmul(encoder, {
      out: address(out!),
      a: address(a!),
      b: address(b!),
      bias: bias ? address(bias) : 0,
      y: y ? address(y) : 0,
      m,
      n,
      k,
      transA,
      transB,
      alpha: attributes.alpha,
      activation: attributes.activation,
      workspace: encoder.workspace(kernels().gemmWorkspace!(m, n, k, transA, transB)),
      dims: collapse(batch, first, second),
    });
  },
  vjp(dy, { inputs: [a, b, bias], outputs: [y], attributes: { transA, transB, alpha, activation }, needs }) {
    const d = activationGrad[activation](dy, y!);
    const product = (left: Value, right: Value, transLeft: boolean, transRight: boolean) =>
      apply(matmulDefinition, [left, right], {
        ...PLAIN_PRODUCT,
        transA: transLeft,
        transB: transRight,
        alpha,
      });
    return [
      needs[0] ? (transA ? product(b!, d, transB, true) : product(d, b!, false, !transB)) : null,
      needs[1] ? (transB ? product(d, a!, true, transA) : product(a!, d, !transA, false)) : null,
      ...(bias ? [needs[2] ? sum(d, d.shape.map((_, i) => i).slice(0, -1)) : null] : []),
    ];
  },
};

/** If a is a batch and b is a single matrix, computes one tall product instead of a batch of products. */
function tall(a: Value, b: Value, bias: Value | undefined, attributes: MatmulAttributes): Value {
  const inputs = (x: Value) => (bias ? [x, b, bias] : [x, b]);
  if (a.shape.length <= 2 || b.shape.length !== 2 || attributes.transA)
    return apply(matmulDefinition, inputs(a), attributes);
  const rows = sizeOf(a.shape.slice(0, -1));
  const product = apply(matmulDefinition, inputs(reshape(a, [rows, a.shape.at(-1)!])), attributes);
  return reshape(product, [...a.shape.slice(0, -1), product.shape[1]!]);
}

function operand(x: Operand): Value {
  if (typeof x === "number" || !x.shape.length)
    throw new ShapeError("matmul: operands must have at least one dimension, got a number or a tensor []. Use mul.");
  return float(x);
}

/**
 * The matrix product a·b. dA = dC·Bᵀ, dB = Aᵀ·dC.
 *
 * a: [..., m, k], b: [..., k, n] → [..., m, n], float32. Leading dims broadcast. A vector is treated as a row on the
 * left and as a column on the right, and the result drops that dim.
 *
 * @throws ShapeError if the inner sizes differ or an operand is a number
 * @example
 * ```ts
 * const a = tensor([[1, 2], [3, 4]]);
 * a.matmul(tensor([[1, 0], [1, 1]])).toArray(); // [[3, 2], [7, 4]]
 * a.matmul(tensor([1, 1])).toArray(); // [3, 7]
 * ```
 * @op
 */
export function matmul(a: Operand, b: Operand): Value {
  const [x, y] = [operand(a), operand(b)];
  const left = x.shape.length === 1 ? reshape(x, [1, x.size]) : x;
  const right = y.shape.length === 1 ? reshape(y, [y.size, 1]) : y;
  const product = tall(left, right, undefined, PLAIN_PRODUCT);
  const shape = product.shape.filter(
    (_, i) =>
      !(x.shape.length === 1 && i === product.shape.length - 2) &&
      !(y.shape.length === 1 && i === product.shape.length - 1),
  );
  return reshape(product, shape);
}

/**
 * The scalar product Σ aᵢ·bᵢ of two vectors. Derivatives b, a.
 *
 * a, b: [n] → [], float32.
 *
 * @throws ShapeError if the operands are not vectors of the same length
 * @example
 * ```ts
 * const a = tensor([1, 2, 3]);
 * a.dot(tensor([4, 5, 6])).item(); // 32
 * ```
 * @op
 */
export function dot(a: Operand, b: Operand): Value {
  const [x, y] = [operand(a), operand(b)];
  if (x.shape.length !== 1 || y.shape.length !== 1 || x.size !== y.size) {
    throw new ShapeError(
      `dot: the operands must be vectors of the same length, got ${show(x.shape)} and ${show(y.shape)}. Use matmul for matrices.`,
    );
  }
  return sum(mul(x, y));
}

/**
 * A linear layer: x·wᵀ + bias. dx = dy·w, dw = dyᵀ·x, dbias = Σ dy.
 *
 * x: [..., in] of any type, w: [out, in], bias: [out] → [..., out], float32.
 *
 * @param w The weight, float32.
 * @param bias The bias to add to each row, float32. Omit it or pass null for no bias.
 * @throws ShapeError if the sizes do not match
 * @throws DTypeError if w or bias is not float32
 * @example
 * ```ts
 * const w = tensor([[1, 2], [3, 4], [5, 6]]);
 * linear(tensor([1, 1]), w, tensor([0, 0, 1])).toArray(); // [3, 7, 12]
 * ```
 * @op function
 */
export function linear(x: Value, w: Value, bias?: Value | null): Value {
  const input = float(x, "linear");
  requireType("linear", w, "float32", "weight");
  if (bias) requireType("linear", bias, "float32", "bias");
  if (input.shape.at(-1) !== w.shape[1] || w.shape.length !== 2) {
    const isUnflattened = input.shape.length > 2 && sizeOf(input.shape.slice(1)) === w.shape[1];
    throw new ShapeError(
      `linear: ${show(input.shape)} does not fit the weight ${show(w.shape)}: the last size must be ${w.shape[1]}.` +
        (isUnflattened ? " Flatten the samples first: x.flatten(1) or nn.Flatten." : ""),
    );
  }
  const rows = input.shape.length === 1 ? reshape(input, [1, input.size]) : input;
  const y = tall(rows, w, bias ?? undefined, { ...PLAIN_PRODUCT, transB: true });
  return input.shape.length === 1 ? reshape(y, [w.shape[0]!]) : y;
}

/**
 * Transposes the last two dims.
 *
 * x: [..., m, n] → [..., n, m], with x's type.
 *
 * @throws ShapeError if x has fewer than 2 dims
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.mT().toArray(); // [[1, 3], [2, 4]]
 * ```
 * @op
 */
export const mT = (x: Value): Value => transpose(x, -2, -1);
