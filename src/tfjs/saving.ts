/**
 * Saves tensors for gradients without a kernel call. TensorFlow.js clones each of them, and these clones make up as
 * much as a third of all calls in a training step.
 */
import { type Tensor, engine as tfEngine } from "@tensorflow/tfjs-core";
import { BACKEND } from "./backend.ts";

/** While nabla's backend is active, replaces the engine's method that clones the tensors to be saved. */
export function installSaving(): void {
  const tf = tfEngine();
  const methods = tf as unknown as { clone(x: Tensor): Tensor };
  const original = methods.clone;
  // Other versions of TensorFlow.js may lack this method. They work without the replacement.
  if (!original) return;
  methods.clone = (x) => {
    const { gradientDepth, profiling } = tf.state;
    // Only the tape of a higher derivative needs the clone's own gradient, and only a profile needs its kernel call.
    if (tf.backendName !== BACKEND || gradientDepth > 1 || profiling) return original.call(tf, x);
    const { dataId, shape, dtype } = x;
    tf.backend.incRef(dataId);
    return tf.makeTensorFromTensorInfo({ dataId, shape, dtype });
  };
}
