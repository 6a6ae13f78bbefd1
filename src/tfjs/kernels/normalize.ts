/** Batch normalization, and normalization over neighbouring channels. */
import type { Value } from "../../ops/definition/value.ts";
import { add, div, mul, square, sub } from "../../ops/pointwise/arithmetic.ts";
import { pow, rsqrt } from "../../ops/pointwise/exponential.ts";
import { newView, type View } from "../view.ts";
import { type Attributes, isFilled, type NativeKernel } from "./kernel.ts";

/** For each channel, the sum over the channels that are at most `radius` away. */
function neighbourSums(x: View, radius: number): View {
  const channels = x.shape.at(-1)!;
  const out = newView(x.shape, "float32");
  const [values, sums] = [x.live(), out.live()];
  for (let pixel = 0; pixel < values.length; pixel += channels)
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let k = Math.max(0, c - radius), end = Math.min(channels - 1, c + radius); k <= end; k++)
        sum += values[pixel + k]!;
      sums[pixel + c] = sum;
    }
  return out;
}

/** bias + alpha·Σx² over neighbouring channels (Krizhevsky et al. 2012, § 3.3). */
const energy = (x: Value, { depthRadius, bias, alpha }: Attributes): Value =>
  add(mul(neighbourSums(square(x) as View, depthRadius), alpha), bias);

export const normalizeKernels: Readonly<Record<string, NativeKernel>> = {
  FusedBatchNorm: {
    run({ x, scale, offset, mean, variance }, { varianceEpsilon = 1e-3 }) {
      const inverse = rsqrt(add(variance!, varianceEpsilon));
      const scaled = mul(sub(x!, mean!), scale ? mul(inverse, scale) : inverse);
      return offset ? add(scaled, offset) : scaled;
    },
  },
  LRN: {
    accepts: isFilled,
    run: ({ x }, attributes) => mul(x!, pow(energy(x!, attributes), -attributes.beta)),
  },
  // dx = dy·e^−β − 2αβ·x·Σ dy·y/e over neighbouring channels, where e is the energy.
  LRNGrad: {
    accepts: isFilled,
    run({ x, y, dy }, attributes) {
      const { alpha, beta, depthRadius } = attributes;
      const e = energy(x!, attributes);
      const shares = neighbourSums(div(mul(dy!, y!), e) as View, depthRadius);
      return add(mul(dy!, pow(e, -beta)), mul(mul(x!, shares), -2 * alpha * beta));
    },
  },
};
