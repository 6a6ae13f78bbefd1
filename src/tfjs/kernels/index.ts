/** The kernels that run on nabla, keyed by TensorFlow.js's names. */

import { dilationKernels } from "./dilation.ts";
import { einsumKernels } from "./einsum.ts";
import { imageKernels } from "./image.ts";
import { indexKernels } from "./indices.ts";
import type { NativeKernel } from "./kernel.ts";
import { matrixKernels } from "./matrix.ts";
import { normalizeKernels } from "./normalize.ts";
import { pointwiseKernels } from "./pointwise.ts";
import { reduceKernels } from "./reduce.ts";
import { resizeKernels } from "./resize.ts";
import { sequenceKernels } from "./sequence.ts";
import { shapeKernels } from "./shape.ts";
import { sparseKernels } from "./sparse.ts";
import { suppressionKernels } from "./suppression.ts";
import { transformKernels } from "./transform.ts";
import { volumeKernels } from "./volume.ts";

export const kernels: Readonly<Record<string, NativeKernel>> = {
  ...pointwiseKernels,
  ...reduceKernels,
  ...matrixKernels,
  ...einsumKernels,
  ...imageKernels,
  ...indexKernels,
  ...normalizeKernels,
  ...resizeKernels,
  ...shapeKernels,
  ...transformKernels,
  ...suppressionKernels,
  ...sparseKernels,
  ...sequenceKernels,
  ...dilationKernels,
  ...volumeKernels,
};
