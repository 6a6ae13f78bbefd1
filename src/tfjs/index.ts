/** A TensorFlow.js backend: `import "nabla/tfjs"` registers nabla's kernels and makes them the default. */
import { version_cpu } from "@tensorflow/tfjs-backend-cpu";
import {
  findBackendFactory,
  getKernelsForBackend,
  registerBackend,
  registerKernel,
  setBackend,
} from "@tensorflow/tfjs-core";
import { Error } from "../runtime/errors.ts";
import { BACKEND, NablaBackend } from "./backend.ts";
import { installGradients } from "./gradients.ts";
import { draw } from "./kernels/draw.ts";
import { kernels } from "./kernels/index.ts";
import { kernelFunc } from "./kernels/kernel.ts";
import { installOptimizers } from "./optimizers.ts";
import { installSaving } from "./saving.ts";

// Each copy of nabla has its own memory, which the kernels of another copy cannot read.
if (findBackendFactory(BACKEND))
  throw new Error(
    "nabla/tfjs: another copy of nabla is already a backend of TensorFlow.js. Install one version of nabla, and bundle it only once.",
  );
const cpuKernels = getKernelsForBackend("cpu");
// Using version_cpu also keeps the import: bundlers would drop an unused one, because tfjs-backend-cpu's package.json
// says that its Node build has no side effects.
if (!cpuKernels.length)
  throw new Error(
    `nabla/tfjs: @tensorflow/tfjs-backend-cpu ${version_cpu} registered no kernels. If a bundler dropped them, mark the package as having side effects, or as external.`,
  );
for (const config of cpuKernels) {
  const { kernelName, kernelFunc: cpu } = config;
  const native = kernels[kernelName];
  const own = kernelName === "Draw" ? draw(cpu) : native ? kernelFunc(native, cpu) : cpu;
  registerKernel({ ...config, backendName: BACKEND, kernelFunc: own });
}
// Priority 10 is higher than the priorities of TensorFlow.js's own backends, so nabla stays the default.
registerBackend(BACKEND, () => new NablaBackend(), 10);
installGradients();
installSaving();
installOptimizers();
void setBackend(BACKEND);

export { fromTfjs, toTfjs } from "./convert.ts";
export { fromLayersModel, type LayerModule, type LayersModel, type LayersModule } from "./layers/index.ts";
