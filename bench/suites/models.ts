/**
 * Measures the inference and the training steps of whole models, compiled. Results are rates in GFLOP/s, also given as
 * fractions of the ceiling. The FLOPs are those that `profile()` counts: two per multiply-add of a product whose result is used. For some
 * models, the same run also measures a copy with int8 weights; its rate counts the same FLOPs.
 */
import { manualSeed, nn } from "../../src/index.ts";
import type { Case, Suite } from "../measure.ts";
import { infer, tasks } from "../models/index.ts";
import { ceiling } from "./matmul.ts";

const FLOAT32 = "nabla compiled";

async function* cases(): AsyncGenerator<Case> {
  for (const { name, make, int8 } of tasks) {
    manualSeed(1);
    const { model, run, args, dispose } = make();
    const { flops } = run.profile(args, { calls: 1 });
    const small = int8 ? infer(await nn.quantize(model), args[0]!) : undefined;
    const contenders = [ceiling(), { impl: FLOAT32, run: () => void run(...args) }];
    if (small) contenders.push({ impl: "nabla int8", run: () => void small.run(...small.args) });
    yield { name, flops, contenders, ...(small && { base: FLOAT32 }) };
    small?.dispose();
    dispose();
  }
}

export const models: Suite = { name: "models", cases };
