/** Converts tensors between TensorFlow.js and nabla without a copy. */
import { type Rank, type Tensor as TfTensor, engine as tfEngine } from "@tensorflow/tfjs-core";
import { Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { cast } from "../ops/shape/shape.ts";
import { DisposedError, DTypeError, TraceError, TypeError } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";
import { BACKEND, type NablaBackend } from "./backend.ts";
import { isNumeric } from "./entry.ts";
import { View } from "./view.ts";

/** nabla's backend, which need not be the active one. */
const backend = (): NablaBackend => tfEngine().findBackend(BACKEND) as NablaBackend;

/**
 * Converts a TensorFlow.js tensor to a nabla tensor. The two share their memory, so nothing is copied, and each can be
 * disposed without the other. Do not write to the result in place: TensorFlow.js assumes that tensors never change.
 * Gradients do not flow between the libraries.
 *
 * x: any shape; float32, int32 or bool → the same shape and type.
 *
 * @param x A TensorFlow.js tensor. If its data is on another backend, the data moves to nabla's backend.
 * @throws TypeError if x is not a TensorFlow.js tensor
 * @throws DTypeError if x holds strings or complex numbers
 * @throws DisposedError if x was disposed
 * @example
 * ```ts
 * const step = compile((x: Tensor) => x.square().sum());
 * step(fromTfjs(tf.tensor1d([1, 2]))).item(); // 5
 * ```
 */
export function fromTfjs(x: TfTensor): Tensor {
  if (typeof x !== "object" || x === null || !("dataId" in x))
    throw new TypeError("fromTfjs: x is not a TensorFlow.js tensor. Pass a tf.Tensor.");
  if (!isNumeric(x.dtype))
    throw new DTypeError(
      `fromTfjs: nabla has no ${x.dtype} tensors. Pass float32, int32 or bool. For complex numbers, pass tf.real(x) and tf.imag(x).`,
    );
  if (x.isDisposed)
    throw new DisposedError(
      `fromTfjs: the ${x.dtype} tensor ${show(x.shape)} was disposed. Convert it earlier, or keep it with tf.keep(x).`,
    );
  const { storage, shape, dtype } = backend().view(x);
  return Tensor.wrap(storage.retain(), { shape: [...shape], dtype }, null, "fromTfjs");
}

/**
 * Converts a nabla tensor to a TensorFlow.js tensor on nabla's backend. Each can be disposed without the other. The two
 * share their memory, so nothing is copied, unless `x` may be overwritten later because it is a parameter, a result of
 * a compiled function, or a tensor that you kept with `keep()`. If you plan to write to any other tensor in place, pass
 * a clone of it.
 *
 * x: any shape → the same shape and type; uint8 becomes int32.
 *
 * @param x A nabla tensor.
 * @throws TypeError if x is not a tensor
 * @throws DisposedError if x was disposed
 * @throws TraceError while compile records the calling function
 * @example
 * ```ts
 * tf.sum(toTfjs(tensor([1, 2]))).dataSync(); // [3]
 * ```
 */
export function toTfjs<R extends Rank = Rank>(x: Tensor): TfTensor<R> {
  requireKind("toTfjs", "x", "tensor", x);
  if (x.storage("toTfjs").symbolic)
    throw new TraceError(
      "toTfjs: compile records nabla's ops only. Return the tensor from the function, and convert it outside.",
    );
  const typed = (x.dtype === "uint8" ? cast(x, "int32") : x.storage("toTfjs").isPinned ? x.clone() : x) as Tensor;
  const view = new View(typed.storage("toTfjs").retain(), [...x.shape], typed.dtype, x.size);
  if (typed !== x) typed.dispose();
  return tfEngine().makeTensorFromTensorInfo(backend().adopt(view), backend()) as TfTensor<R>;
}
