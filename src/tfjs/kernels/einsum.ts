/**
 * Einstein summation of one or two tensors. First sums each tensor over the dims that are in neither the other tensor
 * nor the result. If there are two tensors, one batched matrix product does the rest.
 */
import { backend_util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import { sizeOf, type Value } from "../../ops/definition/value.ts";
import { matmulDefinition, PLAIN_PRODUCT } from "../../ops/matrix/matmul.ts";
import { sum } from "../../ops/reduce/reduce.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { permute } from "../../ops/shape/shape.ts";
import { isFilled, type NativeKernel } from "./kernel.ts";

/** A tensor, and the label of each of its dims: a position in the list of all labels. */
interface Term {
  readonly x: Value;
  readonly labels: readonly number[];
}

/** Sums over the dims whose labels are not kept. */
function reduce({ x, labels }: Term, keeps: (label: number) => boolean): Term {
  const dims = labels.flatMap((label, dim) => (keeps(label) ? [] : [dim]));
  return { x: dims.length ? sum(x, dims) : x, labels: labels.filter(keeps) };
}

/** The tensor with its dims in the given order of labels. */
const arrange = ({ x, labels }: Term, order: readonly number[]): Value =>
  permute(
    x,
    order.map((label) => labels.indexOf(label)),
  );

/** Multiplies two terms, and sums the products over the labels that are in both terms but not in the result. */
function multiply(a: Term, b: Term, isInResult: (label: number) => boolean): Term {
  const size = ({ x, labels }: Term, some: readonly number[]): number =>
    sizeOf(some.map((label) => x.shape[labels.indexOf(label)]!));
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter(isInResult);
  const inner = shared.filter((label) => !isInResult(label));
  const rows = a.labels.filter((label) => !shared.includes(label));
  const columns = b.labels.filter((label) => !shared.includes(label));
  /**
   * The term as a batch of matrices, and whether they are transposed. If the term's dims are in the transposed order,
   * the matrices stay transposed, which saves a copy.
   */
  const matrices = (term: Term, first: readonly number[], second: readonly number[]): [Value, boolean] => {
    const isTransposed = `${[...batch, ...second, ...first]}` === `${term.labels}`;
    const [m, n] = isTransposed ? [second, first] : [first, second];
    const shape = [size(term, batch), size(term, m), size(term, n)];
    return [reshape(arrange(term, [...batch, ...m, ...n]), shape), isTransposed];
  };
  const [left, transA] = matrices(a, rows, inner);
  const [right, transB] = matrices(b, inner, columns);
  const product = apply(matmulDefinition, [left, right], { ...PLAIN_PRODUCT, transA, transB });
  const sizes = [...batch, ...rows].map((label) => size(a, [label])).concat(columns.map((label) => size(b, [label])));
  return { x: reshape(product, sizes), labels: [...batch, ...rows, ...columns] };
}

export const einsumKernels: Readonly<Record<string, NativeKernel>> = {
  Einsum: {
    accepts: isFilled,
    run(inputs, { equation }) {
      const tensors = Object.values(inputs);
      const { allDims, summedDims, idDims } = backend_util.decodeEinsumEquation(equation, tensors.length);
      backend_util.checkEinsumDimSizes(allDims.length, idDims, tensors as never);
      const isInResult = (label: number): boolean => !summedDims.includes(label);
      const terms = tensors.map((x, i) => ({ x, labels: idDims[i]! }));
      const others = (i: number) => (label: number) =>
        isInResult(label) || terms.some(({ labels }, k) => k !== i && labels.includes(label));
      const [first, second] = terms.map((term, i) => reduce(term, others(i)));
      const result = second ? multiply(first!, second, isInResult) : first!;
      const order = allDims.map((_, label) => label).filter(isInResult);
      return arrange(result, order);
    },
  },
};
