/** A TensorFlow.js backend: `import "nabla/tfjs"` registers nabla's kernels and makes them the default. */
import "@tensorflow/tfjs-backend-cpu";
import { getKernelsForBackend, registerBackend, registerKernel, setBackend } from "@tensorflow/tfjs-core";
import { BACKEND, NablaBackend } from "./backend.ts";
import { kernelFunc } from "./kernels/kernel.ts";
import { kernels } from "./kernels/index.ts";

for (const config of getKernelsForBackend("cpu")) {
  const native = kernels[config.kernelName];
  registerKernel({
    ...config,
    backendName: BACKEND,
    kernelFunc: native ? kernelFunc(native, config.kernelFunc) : config.kernelFunc,
  });
}
// Higher than the priorities of TensorFlow.js's own backends, so that it stays the default.
registerBackend(BACKEND, () => new NablaBackend(), 10);
void setBackend(BACKEND);
