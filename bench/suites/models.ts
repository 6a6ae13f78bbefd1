/**
 * Measures the inference and the training steps of whole models, compiled. Results are rates in GFLOP/s, also given as
 * fractions of the ceiling. The FLOPs are those that `profile()` counts: two per multiply-add of a product whose result is used. For some
 * models, the same run also measures a copy with int8 weights; its rate counts the same FLOPs, and a note gives its error.
 */
import { manualSeed, nn } from "../../src/index.ts";
import type { Case, Suite } from "../measure.ts";
import { SEED, tasks } from "../models/index.ts";
import { difference } from "../values.ts";
import { ceiling } from "./matmul.ts";

const FLOAT32 = "nabla compiled";

async function* cases(): AsyncGenerator<Case> {
  for (const { name, make, int8 } of tasks) {
    manualSeed(SEED);
    const { model, run, args, dispose } = make();
    const { flops } = run.profile(args, { calls: 1 });
    const contenders = [ceiling(), { impl: FLOAT32, run: () => void run(...args) }];
    const small = int8?.(await nn.quantize(model), ...args);
    if (small) {
      contenders.push({ impl: "nabla int8", run: () => void small.run(...args) });
      const error = difference(small.run(...args).data, run(...args).data);
      const note = `${name}: with int8 weights, results differ by ${(100 * error).toFixed(2)} %`;
      yield { name, flops, contenders, base: FLOAT32, note };
    } else yield { name, flops, contenders };
    small?.dispose();
    dispose();
  }
}

export const models: Suite = { name: "models", cases };
