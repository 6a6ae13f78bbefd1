/** Batch normalization. */
import { add, mul, sub } from "../../ops/pointwise/arithmetic.ts";
import { rsqrt } from "../../ops/pointwise/exponential.ts";
import type { NativeKernel } from "./kernel.ts";

export const normalizeKernels: Readonly<Record<string, NativeKernel>> = {
  FusedBatchNorm: {
    run({ x, scale, offset, mean, variance }, { varianceEpsilon }) {
      const inverse = rsqrt(add(variance!, varianceEpsilon));
      const scaled = mul(sub(x!, mean!), scale ? mul(inverse, scale) : inverse);
      return offset ? add(scaled, offset) : scaled;
    },
  },
};
