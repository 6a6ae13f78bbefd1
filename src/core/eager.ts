/**
 * Eager mode: checks each op, allocates the op's outputs, runs the op, and records it for autograd. Importing this
 * module installs it.
 */

import { verify } from "../ops/definition/check.ts";
import { type AnyOp, installExecutor } from "../ops/definition/op.ts";
import { type DType, show, type Value } from "../ops/definition/value.ts";
import { encodeShared } from "../ops/definition/work.ts";
import { immediate } from "../runtime/encoder.ts";
import { TraceError, TypeError } from "../runtime/errors.ts";
import { currentWatch } from "./anomaly.ts";
import { context, currentRecorder, isGradEnabled, withRecorder } from "./context.ts";
import { rejectOtherCopy } from "./copies.ts";
import { currentNode, Node as GraphNode } from "./graph.ts";
import { journalWrite, tick } from "./memory.ts";
import { captureSite } from "./site.ts";
import { Tensor } from "./tensor.ts";

const address = (value: Value): number => (value as Tensor).storage("op").address;
const read = (value: Value): ArrayLike<number> => (value as Tensor).live();

const NOTHING: readonly number[] = [];

/** The error for an operand that is not a tensor from this copy of nabla. */
function notATensor(op: string, i: number, value: unknown): TypeError {
  rejectOtherCopy(op, `operand ${i + 1}`, value);
  return new TypeError(`${op}: operand ${i + 1} must be a tensor, got ${value === null ? "null" : typeof value}.`);
}

function execute(op: AnyOp, inputs: readonly Value[], attributes: unknown): Tensor[] {
  let tensors = inputs as readonly Tensor[];
  const recorder = currentRecorder();
  tick();
  for (const tensor of tensors) {
    if (!(tensor instanceof Tensor)) throw notATensor(op.name, inputs.indexOf(tensor), tensor);
    if (tensor.intact(op.name).symbolic && !recorder) {
      throw new TraceError(
        `${op.name}: a ${tensor.dtype} tensor ${show(tensor.shape)} was made while compile recorded a function, so it has no memory. ` +
          "Make it outside the function, or return it.",
      );
    }
  }
  const specs = op.infer(tensors, attributes);
  if (context.checkpoint) tensors = context.checkpoint.enter(op, tensors, attributes) as readonly Tensor[];
  if (op.checks && !recorder) verify(op, tensors, attributes, read);
  const watch = recorder ? null : currentWatch();
  watch?.before(op, tensors, attributes);
  const written = op.mutates?.(tensors, attributes) ?? NOTHING;
  if (!recorder) for (const i of written) journalWrite(tensors[i]!.storage(op.name));
  const outputs: Tensor[] = [];
  try {
    for (const spec of specs) outputs.push(Tensor.allocate(spec, op.name));
    watch?.add(outputs);
    if (recorder) recorder.record(op, tensors, outputs, attributes);
    else encodeShared(op, immediate, { inputs: tensors, outputs, attributes, address }, true);
  } catch (error) {
    for (const output of outputs) output.dispose();
    throw error;
  }
  for (const i of written) tensors[i]!.storage(op.name).bumpVersion();
  watch?.after(op, tensors, outputs, attributes);
  if (isGradEnabled() && op.vjp && tensors.some((x) => x.requiresGrad)) {
    const edges = tensors.map((x) => x.edge);
    const node = new GraphNode<Tensor>(op, attributes, edges, tensors, outputs);
    if (recorder) {
      const site = recorder.siteOf(outputs[0]!.storage(op.name));
      node.site = () => site;
    } else if (watch) node.site = currentNode()?.site ?? captureSite();
    for (let k = 0; k < (op.differentiable ?? 1); k++) outputs[k]!.attach(node.output(k));
  }
  return outputs;
}

/**
 * For each dtype, a cache of tensors that hold numbers used as operands. A full cache evicts its least recently used
 * tensor.
 */
const constants: Partial<Record<DType, Map<number | string, Tensor>>> = {};
const MAX_CONSTANTS = 256;
const allConstants = new WeakSet<Tensor>();

/** Whether `constant` made a tensor. User code can neither reach nor replace such a tensor. */
export const isConstant = (x: Tensor): boolean => allConstants.has(x);

/** The cached tensor with shape [] that holds a number. */
export function constant(value: number, dtype: DType): Tensor {
  constants[dtype] ??= new Map();
  const known = constants[dtype];
  // A Map treats −0 and 0 as the same key.
  const key = Object.is(value, -0) ? "-0" : value;
  let made = known.get(key);
  if (made && !made.isDisposed) {
    // Move the tensor to the end, so that adding an op's second operand does not evict the first one.
    known.delete(key);
    known.set(key, made);
    return made;
  }
  made = withRecorder(null, () => Tensor.allocate({ shape: [], dtype }, "constant")).keep();
  made.live()[0] = value;
  allConstants.add(made);
  known.set(key, made);
  if (known.size > MAX_CONSTANTS) {
    const [oldest, tensor] = known.entries().next().value!;
    known.delete(oldest);
    tensor.dispose();
  }
  return made;
}

installExecutor({
  execute,
  constant,
  reshape(x, shape) {
    if (!(x instanceof Tensor)) throw notATensor("reshape", 0, x);
    return x.alias(shape);
  },
});
