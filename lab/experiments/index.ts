/** All experiments, in the article's order. */
import type { AnyExperiment } from "../experiment.ts";
import directionalDerivative from "./directional-derivative.ts";

export const experiments: readonly AnyExperiment[] = [directionalDerivative];
