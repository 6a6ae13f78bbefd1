/**
 * Compares whole training steps (forward, backward, Adam): nabla, eager and compiled, with pure JS. All must reach the same loss. The
 * suite also measures optimizer updates alone, with normal gradients and long after the gradients have vanished, and steps of a large
 * embedding with dense and with sparse gradients.
 */
import { compile, nn, optim, randint, randn, type Tensor, zeros } from "../../src/index.ts";
import { type Case, PURE, type Suite } from "../measure.ts";
import { NablaTraining } from "../nabla.ts";
import { PureTraining } from "../pure/training.ts";
import { requireLosses, STEPS, trainingTasks } from "../training.ts";

function* cases(): Generator<Case> {
  for (const training of trainingTasks) {
    const own = { eager: new NablaTraining(training, "eager"), compiled: new NablaTraining(training, "compiled") };
    const models = { [PURE]: new PureTraining(training), "nabla eager": own.eager, "nabla compiled": own.compiled };
    const losses = Object.entries(models).map(([impl, model]) => ({
      impl,
      steps: Array.from({ length: STEPS }, () => model.step()),
    }));
    for (const { impl, steps } of losses) requireLosses(`${training.name}, ${impl}`, steps, losses[0]!.steps);
    yield {
      name: training.name,
      contenders: Object.entries(models).map(([impl, model]) => ({
        impl,
        run: () => void model.step(),
        reset: () => model.reset(),
      })),
      note: `${training.name}: loss at step ${STEPS}: ${losses.map(({ impl, steps }) => `${impl} ${steps.at(-1)!.toPrecision(6)}`).join(", ")}`,
    };
    for (const model of Object.values(own)) model.dispose();
  }
}

const PARAMETERS = 65_536;
const GRADIENTS = "with gradients";
const optimizers: Record<string, (p: Tensor) => { step(): void; dispose(): void }> = {
  Adam: (p) => new optim.Adam([p], { lr: 1e-3 }),
  RMSProp: (p) => new optim.RMSProp([p], { lr: 1e-3 }),
  "SGD with momentum": (p) => new optim.SGD([p], { lr: 1e-3, momentum: 0.9 }),
};

/**
 * Measures updates with gradients, and updates after the state has decayed: denormal numbers would make the latter several times slower.
 */
function* updates(): Generator<Case> {
  for (const [name, make] of Object.entries(optimizers)) {
    const own = [1, 0].map((gradient) => {
      const p = randn([PARAMETERS]).keep();
      p.requiresGrad = true;
      const optimizer = make(p);
      // The mean of squared gradients decays by a factor of 0.999 or 0.99 per step. Starting at 10⁻³⁴, it would become denormal during the
      // warm-up.
      p.grad = randn([PARAMETERS])
        .mul(gradient ? 1e-2 : 1e-17)
        .keep();
      for (let i = 0; i < 5; i++) optimizer.step();
      if (!gradient) p.grad = zeros([PARAMETERS]).keep();
      for (let i = 0; i < 2000; i++) optimizer.step();
      return { p, optimizer };
    });
    yield {
      name: `${name}, ${PARAMETERS} parameters`,
      base: GRADIENTS,
      contenders: own.map(({ optimizer }, i) => ({
        impl: i ? "gradients vanished" : GRADIENTS,
        run: () => optimizer.step(),
      })),
    };
    for (const { p, optimizer } of own) {
      optimizer.dispose();
      p.dispose();
    }
  }
}

const ROWS = 50_000;
const WIDTH = 128;
const TOKENS = 256;
const BATCHES = 64;
const DENSE = "Adam";

/** Compiled steps of a table of which each batch uses a few rows. The batches differ, so most rows that a step uses are not in a cache. */
function* embeddings(): Generator<Case> {
  const batches = Array.from({ length: BATCHES }, () => randint(0, ROWS, [TOKENS]).keep());
  const own = [DENSE, "SparseAdam"].map((impl) => {
    const layer = new nn.Embedding(ROWS, WIDTH, { sparse: impl !== DENSE });
    const optimizer = impl === DENSE ? new optim.Adam(layer.parameters()) : new optim.SparseAdam(layer.parameters());
    const train = compile((x: Tensor) => optimizer.minimize(() => layer.forward(x).square().mean()));
    let at = 0;
    return { impl, layer, optimizer, train, run: () => void train(batches[at++ % BATCHES]!) };
  });
  yield {
    name: `embedding ${ROWS}×${WIDTH}, ${TOKENS} tokens`,
    base: DENSE,
    contenders: own.map(({ impl, run }) => ({ impl, run })),
  };
  for (const { layer, optimizer, train } of own) {
    train.dispose();
    optimizer.dispose();
    layer.dispose();
  }
  for (const batch of batches) batch.dispose();
}

export const step: Suite = {
  name: "step",
  *cases() {
    yield* cases();
    yield* updates();
    yield* embeddings();
  },
};
