/**
 * Gradients that replace TensorFlow.js's own while nabla's backend is active, because they need fewer kernels. Second
 * derivatives equal TensorFlow.js's, which treats the outputs that a gradient saves as constants.
 */
import {
  add,
  broadcast_util,
  broadcastTo,
  div,
  type GradConfig,
  getGradient,
  mul,
  type NamedAttrMap,
  neg,
  registerGradient,
  registerKernel,
  reshape,
  rsqrt,
  square,
  sub,
  sum,
  type Tensor,
  engine as tfEngine,
  util,
  zeros,
  zerosLike,
} from "@tensorflow/tfjs-core";
import type { Value } from "../ops/definition/value.ts";
import { leakyReluGrad, reluGrad, sigmoidGrad, tanhGrad } from "../ops/pointwise/activation.ts";
import { clampGrad } from "../ops/pointwise/extremes.ts";
import { softmaxGrad } from "../ops/reduce/rows.ts";
import { DTypeError } from "../runtime/errors.ts";
import { BACKEND } from "./backend.ts";
import { type Attributes, kernelFunc } from "./kernels/kernel.ts";

type Gradients = Record<string, () => Tensor>;
/**
 * Returns functions that compute the gradients of a kernel's inputs, keyed by the inputs' names, or null to use
 * TensorFlow.js's own gradient. `saved` holds the tensors that TensorFlow.js's own gradient saves.
 */
type Rule = (dy: Tensor, saved: Tensor[], attributes: Attributes) => Gradients | null;

/**
 * Replaces a kernel's gradient by a rule while nabla's backend is active. If the rule returns null, TensorFlow.js's own
 * gradient runs.
 */
function replace(kernelName: string, rule: Rule): void {
  const original = getGradient(kernelName);
  // If `@tensorflow/tfjs` has not registered its gradients, there is nothing to replace.
  if (!original) return;
  const gradFunc: GradConfig["gradFunc"] = (dy, saved, attributes) =>
    (tfEngine().backendName === BACKEND && rule(dy as Tensor, saved, attributes)) ||
    original.gradFunc(dy, saved, attributes);
  registerGradient({ ...original, gradFunc });
}

/**
 * The derivative of a kernel with one input: (dy, value) → dx, where value is the input or the output, as TensorFlow.js
 * saves it.
 */
interface Derivative {
  readonly input: string;
  readonly run: (dy: Value, value: Value, attributes: Attributes) => Value;
}

const derivatives: Readonly<Record<string, Derivative>> = {
  Relu: { input: "x", run: (dy, x) => reluGrad(dy, x) },
  // As in TensorFlow.js, the derivative is 0 at 0 and 1 at 6.
  Relu6: { input: "x", run: (dy, x) => reluGrad(clampGrad(dy, x, 0, 6), x) },
  ClipByValue: {
    input: "x",
    run: (dy, x, { clipValueMin, clipValueMax }) => clampGrad(dy, x, clipValueMin, clipValueMax),
  },
  LeakyRelu: { input: "x", run: (dy, x, { alpha }) => leakyReluGrad(dy, x, alpha) },
  Sigmoid: { input: "x", run: (dy, y) => sigmoidGrad(dy, y) },
  Tanh: { input: "x", run: (dy, y) => tanhGrad(dy, y) },
  Softmax: { input: "logits", run: softmaxGrad },
};

/** Registers a derivative as the kernel `<name>Grad`, with a gradient of its own. */
function installDerivative(name: string, { input, run }: Derivative): void {
  const kernelName = `${name}Grad`;
  const call = (dy: Tensor, value: Tensor, attributes: Attributes): Tensor =>
    tfEngine().runKernel(kernelName, { dy, value }, attributes as NamedAttrMap);
  const refuse = (): never => {
    throw new DTypeError(`${kernelName}: dy and value must be float32. Cast them with tf.cast(x, "float32").`);
  };
  registerKernel({
    kernelName,
    backendName: BACKEND,
    kernelFunc: kernelFunc({ run: ({ dy, value }, attributes) => run(dy!, value!, attributes) }, refuse),
  });
  registerGradient({
    kernelName,
    inputsToSave: ["dy", "value"],
    // The gradient of `value` is 0: functions that save their input are piecewise linear, and TensorFlow.js treats
    // saved outputs as constants.
    gradFunc: (d, [, value], attributes) => ({
      dy: () => call(d as Tensor, value!, attributes),
      value: () => zerosLike(value!),
    }),
  });
  replace(name, (dy, [value], attributes) =>
    dy.dtype === "float32" && value!.dtype === "float32" ? { [input]: () => call(dy, value!, attributes) } : null,
  );
}

/** Sums x over the dims along which a tensor of the given shape was broadcast to the shape of x. */
function summed(x: Tensor, shape: number[]): Tensor {
  const dims = broadcast_util.getReductionAxes(shape, x.shape);
  return dims.length ? reshape(sum(x, dims), shape) : x;
}

/** Limits a rule to float32 operands, whose gradients need no casts. */
const ofFloats =
  (rule: (dy: Tensor, a: Tensor, b: Tensor) => Gradients): Rule =>
  (dy, [a, b]) =>
    [dy, a!, b!].every(({ dtype }) => dtype === "float32") ? rule(dy, a!, b!) : null;

/** The gradient of a sum along `axis`: repeats dy along the summed dims, to the shape of x. */
function spread(dy: Tensor, x: Tensor, axis: number | number[]): Tensor {
  const shape = [...x.shape];
  for (const dim of util.parseAxisParam(axis, x.shape)) shape[dim] = 1;
  const kept = reshape(dy, shape);
  // If x is empty, use zeros, because broadcastTo cannot turn a dim of size 1 into one of size 0.
  return x.size ? broadcastTo(kept, x.shape) : zeros(x.shape, dy.dtype);
}

/**
 * The gradients of batch normalization with one mean and one variance per channel. All of them follow from two sums
 * over the pixels: the sum of dy, and the sum of dy times the normalized input.
 */
const batchNorm: Rule = (dy, [x, mean, variance, scale], { varianceEpsilon }) => {
  if (mean!.rank !== 1) return null;
  const pixels = x!.shape.slice(0, -1).map((_, dim) => dim);
  const inverse = rsqrt(add(variance!, varianceEpsilon));
  const factor = scale ? mul(inverse, scale) : inverse;
  const offset = sum(dy, pixels);
  const ofScale = sum(mul(dy, mul(sub(x!, mean!), inverse)), pixels);
  return {
    x: () => mul(dy, factor),
    mean: () => mul(mul(offset, factor), -1),
    variance: () => mul(mul(ofScale, mul(factor, inverse)), -0.5),
    scale: () => ofScale.clone(),
    offset: () => offset.clone(),
  };
};

export function installGradients(): void {
  for (const [name, derivative] of Object.entries(derivatives)) installDerivative(name, derivative);
  replace(
    "Multiply",
    ofFloats((dy, a, b) => ({ a: () => summed(mul(dy, b), a.shape), b: () => summed(mul(dy, a), b.shape) })),
  );
  replace(
    "RealDiv",
    ofFloats((dy, a, b) => ({
      a: () => summed(div(dy, b), a.shape),
      b: () => neg(div(summed(mul(dy, a), b.shape), square(b))),
    })),
  );
  replace("Sum", (dy, [x], { axis }) => ({ x: () => spread(dy, x!, axis) }));
  replace("Mean", (dy, [x], { axis }) => ({
    x: () => spread(div(dy, Math.max(1, x!.size / Math.max(1, dy.size))), x!, axis),
  }));
  replace("FusedBatchNorm", batchNorm);
}
