/** Layers that merge several tensors. */
import * as ops from "../../core/functions.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type Rule, reject } from "./plan.ts";

/**
 * A layer that combines its inputs with f, from left to right. Inputs with fewer dims get dims of size 1 after the
 * batch dim.
 */
const folded =
  (f: (a: Tensor, b: Tensor) => Tensor, end = (y: Tensor, _count: number): Tensor => y): Rule =>
  () => ({
    run(_, ...inputs) {
      const rank = Math.max(...inputs.map(({ shape }) => shape.length));
      const expanded = inputs.map((x) =>
        x.reshape(x.shape[0]!, ...new Array<number>(rank - x.shape.length).fill(1), ...x.shape.slice(1)),
      );
      return end(
        expanded.reduce((a, b) => f(a, b)),
        inputs.length,
      );
    },
  });

/** TensorFlow.js's lower bound for a vector's squared length. */
const EPSILON = 1e-7;
const normalize = (x: Tensor, dim: number): Tensor =>
  x.div(ops.maximum(x.square().sum(dim, { keepdim: true }), EPSILON).sqrt());

/** Multiplies two tensors with 2 or 3 dims, and sums the products along one dim of each. */
const dot: Rule = ({ config: { axes, normalize: normalizes } }) => ({
  run(_, ...inputs) {
    const dims = inputs.map(({ shape }, i) => {
      const dim: number = Array.isArray(axes) ? axes[i] : axes;
      return dim < 0 ? dim + shape.length : dim;
    });
    const [a, b] = normalizes ? inputs.map((x, i) => normalize(x, dims[i]!)) : inputs;
    if (a!.shape.length === 2 && b!.shape.length === 2) return a!.mul(b!).sum(1, { keepdim: true });
    // Turn vectors into matrices whose inner dim is summed: a becomes a row, b a column.
    const left = a!.shape.length === 2 ? a!.unsqueeze(1) : dims[0] === 2 ? a! : a!.transpose(1, 2);
    const right = b!.shape.length === 2 ? b!.unsqueeze(2) : dims[1] === 1 ? b! : b!.transpose(1, 2);
    const y = left.matmul(right);
    return a!.shape.length === 2 ? y.squeeze(1) : b!.shape.length === 2 ? y.squeeze(2) : y;
  },
});

export const merge: Readonly<Record<string, Rule>> = {
  Add: folded((a, b) => a.add(b)),
  Average: folded(
    (a, b) => a.add(b),
    (y, count) => y.mul(1 / count),
  ),
  Concatenate({ layer, config: { axis } }) {
    if (axis < -1)
      reject(
        layer,
        `has axis: ${axis}, for which TensorFlow.js concatenates along the last dim`,
        "Use a positive axis or -1",
      );
    return { run: (_, ...inputs) => ops.concat(inputs, axis) };
  },
  Dot: dot,
  Maximum: folded(ops.maximum),
  Minimum: folded(ops.minimum),
  Multiply: folded((a, b) => a.mul(b)),
};
