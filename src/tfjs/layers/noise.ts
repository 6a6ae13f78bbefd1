/** Layers that are random in training mode and do nothing in evaluation mode. */
import { normal } from "../../core/creation.ts";
import { bernoulli } from "../../core/functions.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type Config, type Rule, reject } from "./plan.ts";

/** Zeroes elements of x with probability `rate` and scales the others. Like TensorFlow.js, it returns x unchanged if the rate is 0 or 1. */
export const dropped = (x: Tensor, rate: number, shape = x.shape): Tensor =>
  rate > 0 && rate < 1 ? x.mul(bernoulli(shape, 1 - rate, 1 / (1 - rate))) : x;

/** Applies `run` in training only; otherwise returns x unchanged. */
const inTraining =
  (run: (x: Tensor) => Tensor): ReturnType<Rule>["run"] =>
  ({ training }, x) =>
    training ? run(x) : x;

/** A dropout layer. If a size in the noise's shape is null, the input's size is used instead. */
const dropout =
  (shapeOf: (config: Config) => readonly (number | null)[] | null): Rule =>
  ({ layer, config }) => {
    const { rate, seed } = config;
    if (seed != null) reject(layer, `has the seed ${seed}`, "Create it without a seed, and call nabla's manualSeed");
    const noiseShape = shapeOf(config);
    return {
      run: inTraining((x) =>
        dropped(
          x,
          rate,
          noiseShape?.map((n, i) => n ?? x.shape[i]!),
        ),
      ),
    };
  };

const SELU = { alpha: 1.6732632423543772, scale: 1.0507009873554805 };

export const noise: Readonly<Record<string, Rule>> = {
  Dropout: dropout(({ noiseShape }) => noiseShape),
  SpatialDropout1D: dropout(() => [null, 1, null]),
  GaussianNoise: ({ config: { stddev } }) => ({ run: inTraining((x) => x.add(normal(x.shape, 0, stddev))) }),
  GaussianDropout: ({ config: { rate } }) => ({
    run: inTraining((x) => (rate > 0 && rate < 1 ? x.mul(normal(x.shape, 1, Math.sqrt(rate / (1 - rate)))) : x)),
  }),
  AlphaDropout: ({ config: { rate }, layer: { noiseShape } }) => ({
    run: inTraining((x) => {
      if (!(rate > 0 && rate < 1)) return x;
      // Dropped elements become the limit of selu at −∞, and a·x + b restores mean 0 and variance 1 (Klambauer et al. 2017). In
      // TensorFlow.js, they become the limit's negative, which shifts the mean.
      const low = -SELU.alpha * SELU.scale;
      const a = ((1 - rate) * (1 + rate * low ** 2)) ** -0.5;
      const kept = bernoulli((noiseShape ?? x.shape) as number[], 1 - rate);
      return x
        .mul(kept)
        .sub(kept.sub(1).mul(low))
        .mul(a)
        .add(-a * low * rate);
    }),
  }),
};
