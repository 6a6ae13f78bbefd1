/**
 * Fuses steps into the matrix product, convolution or batch normalization before them, whose kernel applies them while
 * the result is in registers or in the cache. The fused steps are activations and, in the backward pass, the
 * multiplication of dY·W by an activation's derivative. After a convolution, they are also batch normalization with
 * known statistics and the addition of another value.
 */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import type { ConvAttributes } from "../../ops/image/conv.ts";
import type { MatmulAttributes } from "../../ops/matrix/matmul.ts";
import { type Operand, type Pass, type Step, usesOf } from "../step.ts";

/** Maps pointwise ops with one operand, the product, to epilogues. */
const activations = new Map([
  [Op.Relu, Activation.Relu],
  [Op.Tanh, Activation.Tanh],
  [Op.Sigmoid, Activation.Sigmoid],
]);
/** Ops with one operand and two bounds. With the bounds 0 and 6, they are relu6. */
const clamps = new Set([Op.HardTanh, Op.Clamp]);
/** Maps pointwise ops with two operands, the product and y, to epilogues. */
const derivatives = new Map([
  [Op.ReluGrad, Activation.ReluGrad],
  [Op.TanhGrad, Activation.TanhGrad],
  [Op.SigmoidGrad, Activation.SigmoidGrad],
]);

/** The epilogue that equals a pointwise step with one operand, bit for bit. */
function activationOf({ op, attributes }: Step): Activation | undefined {
  if (!clamps.has(op.code)) return activations.get(op.code);
  const [low, high] = attributes as readonly number[];
  // A lower bound of −0 would give other bits.
  return Object.is(low, 0) && high === 6 ? Activation.Relu6 : undefined;
}

/** Steps whose kernels can apply an activation. */
const products = new Set([Op.Matmul, Op.Conv, Op.ConvInput, Op.Standardize]);

/** The inputs and attributes with which a step also computes `next`, which reads its result; undefined if its kernel cannot do this. */
function extended(step: Step, next: Step): Pick<Step, "inputs" | "attributes"> | undefined {
  const { op, inputs } = step;
  const attributes = step.attributes as MatmulAttributes & ConvAttributes;
  const { shape, storage, size } = step.outputs[0]!;
  const [x, y, ...more] = next.inputs;
  const others = next.inputs.filter((other) => other.storage !== storage);
  if (attributes.activation !== Activation.None || others.length !== next.inputs.length - 1) return undefined;
  // Broadcasting both operands of a sum can give a larger result. A check has no result.
  if (next.outputs[0]?.size !== size) return undefined;
  const last = op.code === Op.Conv ? (attributes.last ?? [0, 0, 0, 0]) : undefined;
  if (last && !last[3] && next.op.code === Op.Add && x!.size === size && y!.size === size)
    return { inputs: [...inputs, ...others], attributes: { ...attributes, last: last.with(3, inputs.length) } };
  if (x!.storage !== storage || x!.size !== size) return undefined;
  if (last && !attributes.last && next.op.code === Op.Standardize && y!.size === shape.at(-1)) {
    const place = inputs.length;
    const places = [place, place + 1, more.length > 1 ? place + 2 : 0, 0];
    return { inputs: [...inputs, ...others], attributes: { ...attributes, last: places } };
  }
  const activation = activationOf(next);
  if (activation !== undefined) {
    const isClamped = op.code === Op.Standardize || attributes.last;
    return isClamped && activation > Activation.Relu6
      ? undefined
      : { inputs, attributes: { ...attributes, activation } };
  }
  const derivative = op.code === Op.Matmul && inputs.length === 2 ? derivatives.get(next.op.code) : undefined;
  if (derivative === undefined) return undefined;
  return { inputs: [...inputs, { ...y!, shape }], attributes: { ...attributes, activation: derivative } };
}

export const fuseMatmulEpilogues: Pass = (steps, placed) => {
  const uses = usesOf(steps);
  const removed = new Set<number>();
  const result = [...steps];
  steps.forEach((_, i) => {
    const step = result[i]!;
    if (!products.has(step.op.code)) return;
    const out = step.outputs[0]!;
    const { reads, writes } = uses.get(out.storage)!;
    if (placed.has(out.storage) || reads.length !== 1 || writes.length !== 1) return;
    const j = reads[0]!;
    const next = result[j]!;
    const fused = extended(step, next);
    // The product moves to the place of the step that reads its result, so its operands must not change before that step.
    const changes = ({ storage }: Operand): boolean => uses.get(storage)!.writes.some((at) => at > i && at < j);
    if (!fused || step.inputs.some(changes)) return;
    removed.add(i);
    result[j] = {
      ...step,
      ...fused,
      outputs: [{ ...out, storage: next.outputs[0]!.storage }],
      fused: [...(step.fused ?? [step.op.name]), next.op.name],
    };
  });
  return result.filter((_, i) => !removed.has(i));
};
