/** A hook for module.register: nabla's bundle uses the TensorFlow.js of this folder, not the copy in the project's node_modules. */
export const resolve = (specifier, context, next) =>
  next(specifier, specifier.startsWith("@tensorflow/") ? { ...context, parentURL: import.meta.url } : context);
