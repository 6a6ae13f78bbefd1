/**
 * Saves tensors for gradients without a kernel call. TensorFlow.js clones each saved tensor with a kernel call, and
 * these calls make up as much as a third of all kernel calls in a training step.
 */
import { type Tensor, engine as tfEngine } from "@tensorflow/tfjs-core";
import { BACKEND } from "./backend.ts";

/** While nabla's backend is active, replaces the engine's method that clones the tensors to be saved. */
export function installSaving(): void {
  const tf = tfEngine();
  const methods = tf as unknown as { clone(x: Tensor): Tensor };
  const original = methods.clone;
  // Other versions of TensorFlow.js may lack this method. Without this method, saving is slower, but works.
  if (!original) return;
  methods.clone = (x) => {
    const { gradientDepth, profiling } = tf.state;
    // Clone as TensorFlow.js does for higher derivatives, which need the clone's own gradient, and for profiling, which
    // reports the clone's kernel call.
    if (tf.backendName !== BACKEND || gradientDepth > 1 || profiling) return original.call(tf, x);
    const { dataId, shape, dtype } = x;
    tf.backend.incRef(dataId);
    return tf.makeTensorFromTensorInfo({ dataId, shape, dtype });
  };
}
