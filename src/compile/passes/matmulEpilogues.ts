/**
 * Fuses a pointwise step into the matrix product or convolution before it, whose kernel applies the step while the
 * result is in registers. The step is an activation or, in the backward pass, the multiplication of dY·W by an
 * activation's derivative.
 */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import type { MatmulAttributes } from "../../ops/matrix/matmul.ts";
import { type Pass, type Step, usesOf } from "../step.ts";

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

const isProduct = ({ op }: Step): boolean => op.code === Op.Matmul || op.code === Op.Conv || op.code === Op.ConvInput;

export const fuseMatmulEpilogues: Pass = (steps, placed) => {
  const uses = usesOf(steps);
  const removed = new Set<number>();
  const result = [...steps];
  steps.forEach((step, i) => {
    const attributes = step.attributes as MatmulAttributes;
    if (!isProduct(step) || attributes.activation !== Activation.None) return;
    const { storage, size } = step.outputs[0]!;
    const { reads, writes } = uses.get(storage)!;
    if (placed.has(storage) || reads.length !== 1 || writes.length !== 1) return;
    const j = reads[0]!;
    const next = steps[j]!;
    const y = next.inputs[1];
    const [x, ...rest] = next.inputs;
    if (x!.storage !== storage || x!.size !== size || rest.some((other) => other.storage === storage)) return;
    const activation = activationOf(next) ?? (step.op.code === Op.Matmul ? derivatives.get(next.op.code) : undefined);
    if (activation === undefined) return;
    if (y) {
      // y must be computed before the product, and must not change between the product and the pointwise step.
      if (step.inputs.length > 2 || (uses.get(y.storage)?.writes ?? []).some((at) => at >= i && at <= j)) return;
      const made = uses.get(y.storage)?.writes[0];
      if (y.storage.symbolic && made !== undefined && made > i) return;
    }
    removed.add(j);
    const out = step.outputs[0]!;
    const fused: Step = {
      ...step,
      inputs: y ? [...step.inputs, { ...y, shape: out.shape }] : step.inputs,
      outputs: [{ ...out, storage: next.outputs[0]!.storage }],
      attributes: { ...attributes, activation },
      fused: [step.op.name, next.op.name],
    };
    result[i] = fused;
  });
  return result.filter((_, i) => !removed.has(i));
};
