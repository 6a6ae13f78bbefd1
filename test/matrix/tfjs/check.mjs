/**
 * Multiplies matrices with TensorFlow.js, and converts a tensor from nabla to TensorFlow.js and back. If both libraries share one heap,
 * a conversion allocates nothing, and a write to nabla's tensor also changes both converted tensors.
 */
export function check(tf, { memory, noGrad, tensor }, { fromTfjs, toTfjs }) {
  const backend = tf.getBackend();
  const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[1], [1]])); // biome-ignore format: matrices
  const own = tensor([1, 2]);
  const { bytes } = memory();
  const theirs = toTfjs(own);
  const back = fromTfjs(theirs);
  const allocated = memory().bytes - bytes;
  noGrad(() => own.copyFrom([3, 4]));
  return {
    backend,
    product: [...product.dataSync()],
    allocated,
    theirs: [...theirs.dataSync()],
    back: back.toArray(),
  };
}
