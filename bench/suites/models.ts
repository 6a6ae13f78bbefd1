/**
 * Measures the inference and the training steps of whole models, compiled. Results are rates in GFLOP/s, also given as
 * fractions of the ceiling. The FLOPs are those that `profile()` counts: two per multiply-add of a product whose result is used.
 */
import { manualSeed } from "../../src/index.ts";
import type { Case, Suite } from "../measure.ts";
import { tasks } from "../models/index.ts";
import { ceiling } from "./matmul.ts";

function* cases(): Generator<Case> {
  for (const { name, make } of tasks) {
    manualSeed(1);
    const { run, args, dispose } = make();
    const { flops } = run.profile(args, { calls: 1 });
    yield { name, flops, contenders: [ceiling(), { impl: "nabla compiled", run: () => void run(...args) }] };
    dispose();
  }
}

export const models: Suite = { name: "models", cases };
