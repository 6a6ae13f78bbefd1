/** Matrix products, with a fused bias and activation. */
import { broadcast_util, util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import { sizeOf, type Value } from "../../ops/definition/value.ts";
import { matmulDefinition } from "../../ops/matrix/matmul.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { finish, fusedActivation } from "./activation.ts";
import type { NativeKernel } from "./kernel.ts";

interface Transposition {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** The number of columns of op(b). */
const columns = (b: Value, { transposeB }: Transposition): number => b.shape.at(transposeB ? -2 : -1)!;

/**
 * act(op(a)·op(b) + bias), where op(x) is x or xᵀ, the batches broadcast, and bias is a vector with one element per
 * column.
 */
function product(
  a: Value,
  b: Value,
  bias: Value | undefined,
  { transposeA: transA = false, transposeB: transB = false }: Transposition,
  activation = fusedActivation(undefined),
): Value {
  // Check the shapes as TensorFlow.js does, with the same messages.
  const [ka, kb] = [a.shape.at(transA ? -2 : -1)!, b.shape.at(transB ? -1 : -2)!];
  const [outerA, outerB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcast_util.assertAndGetBroadcastShape(outerA, outerB);
  util.assert(
    ka === kb,
    () =>
      `Error in matMul: inner shapes (${ka}) and (${kb}) of Tensors with shapes ${a.shape} and ${b.shape} ` +
      `and transposeA=${transA} and transposeB=${transB} must match.`,
  );
  // One product with all rows is faster than a product for each matrix of the batch.
  const isTall = !transA && a.shape.length > 2 && sizeOf(outerB) === 1;
  const left = isTall ? reshape(a, [sizeOf(a.shape.slice(0, -1)), ka]) : a;
  const right = isTall ? reshape(b, b.shape.slice(-2)) : b;
  const attributes = { transA, transB, alpha: 1, activation };
  const y = apply(matmulDefinition, bias ? [left, right, bias] : [left, right], attributes);
  return isTall ? reshape(y, [...batch, a.shape.at(-2)!, columns(b, { transposeB: transB })]) : y;
}

const isEmpty = (a: Value, b: Value): boolean => a.size === 0 || b.size === 0;

export const matrixKernels: Readonly<Record<string, NativeKernel>> = {
  BatchMatMul: {
    run: ({ a, b }, attributes) => (isEmpty(a!, b!) ? null : product(a!, b!, undefined, attributes)),
  },
  _FusedMatMul: {
    run(inputs, attributes) {
      const { a, b, bias } = inputs;
      if (isEmpty(a!, b!)) return null;
      const n = columns(b!, attributes);
      // Only a bias with one element per column can be fused; a bias of any other shape is added afterwards.
      const row = bias && bias.size === n && bias.shape.at(-1) === n ? reshape(bias, [n]) : undefined;
      return finish(inputs, attributes, bias !== undefined && !row, (activation) =>
        product(a!, b!, row, attributes, activation),
      );
    },
  },
};
