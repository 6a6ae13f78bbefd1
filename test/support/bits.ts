/**
 * Hashes the bits of nabla's results for ops, layers, optimizers and training. Runs in Node, on pages and in workers;
 * test/threads/bits.test.ts bundles it and compares the hashes for different numbers of threads.
 */
import {
  compile,
  dispose,
  info,
  init,
  losses,
  manualSeed,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import type { Op } from "../../assembly/opcodes.ts";
import { tensorsIn } from "../../src/core/scope.ts";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { sharing } from "../../src/ops/definition/work.ts";
import { table } from "../../src/ops/table.ts";
import { samplesOf } from "../ops/oracles/index.ts";
import { type Case, cases, UPDATES, updateCases } from "./cases.ts";
import { type Learner, layers, optimizers, schedules } from "./layers.ts";
import { draw, seeded, toTensor } from "./oracle.ts";
import { Watch } from "./watch.ts";

export interface Plan {
  readonly threads: number;
  readonly build: "simd" | "relaxed" | "wide";
  /** Whether the work is compiled. */
  readonly compiled: boolean;
  /**
   * Whether to share work of any size. If false, the library decides what to share, and the plan only trains networks.
   */
  readonly everything: boolean;
}

export interface Run extends Plan {
  /** The result of info(). */
  readonly running: { readonly build: string; readonly threads: number; readonly reason: string };
  /** The number of programs that threads shared. */
  readonly jobs: number;
  /** How many of these programs were left to the workers alone. */
  readonly alone: number;
  /** The number of workers that took part in at least one program. */
  readonly workers: number;
  readonly milliseconds: number;
  /** How much the loss of each network fell. */
  readonly lossDrops: Record<string, number>;
  readonly hashes: Record<string, string>;
}

/** Runs a function `times` times in eager or compiled mode, and returns `use(result)` for the last result. */
type Way = <T, U>(f: () => T, use: (result: T) => U, times?: number) => U;

const eager: Way = (f, use, times = 1) =>
  tidy(() => {
    for (let i = 1; i < times; i++) tidy(() => void f());
    return use(f());
  });
const compiled: Way = (f, use, times = 1) => {
  const run = compile(f);
  for (let i = 1; i < times; i++) run();
  const used = use(run());
  run.dispose();
  return used;
};

/** The FNV-1a hash of the bits of all elements. */
function hashOf(arrays: Iterable<ArrayBufferView>): string {
  let hash = 0x811c9dc5;
  for (const { buffer, byteOffset, byteLength } of arrays)
    for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}
const bitsIn = (value: unknown): string => hashOf(Array.from(tensorsIn(value), ({ data }) => data));

type Hashes = Record<string, string>;

/** Hashes the results of every op, on its samples and on inputs that are large enough to be shared. */
function ops(way: Way): Hashes {
  const hashes: Hashes = {};
  for (const [key, op] of Object.entries(table) as [string, AnyOp][]) {
    const code = Number(key) as Op;
    const samples = samplesOf(op).map(({ inputs, attributes }, i) => (): Case => {
      const random = seeded(100 + i);
      return { inputs: inputs.map((input) => toTensor(draw(input, random), input)), attributes };
    });
    const made = tidy(() => cases(code).length);
    const large = Array.from({ length: made }, (_, i) => (): Case => cases(code)[i]!);
    const updates = UPDATES.includes(code) ? updateCases(code) : [];
    [...samples, ...large, ...updates].forEach((make, i) => {
      tidy(() => {
        manualSeed(3);
        const { inputs, attributes } = make();
        manualSeed(4);
        hashes[`op ${op.name} ${i}`] = way(
          () => applyAll(op, inputs, attributes),
          (outputs) => bitsIn(outputs.length ? outputs : inputs),
        );
      });
    });
  }
  return hashes;
}

/** Public ops to run, with their gradients, on tensors that are large enough for many shares. */
const large: Record<string, (x: Tensor, index: Tensor) => Tensor> = {
  matmul: (x) => x.matmul(x.t()),
  "matmul, batched": (x) => x.reshape([7, 30, 60]).matmul(x.reshape([7, 60, 30])),
  "matrix times vector": (x) => x.matmul(x.narrow(0, 0, 1).flatten()),
  "sum of columns": (x) => x.sum(0),
  "sum of rows": (x) => x.sum(1),
  "sum of all": (x) => x.sum(),
  "largest of columns": (x) => x.max(0),
  "norm of all": (x) => x.square().mean().sqrt(),
  variance: (x) => x.var(0),
  cumsum: (x) => x.cumsum(0),
  permute: (x) => x.reshape([70, 30, 6]).permute([2, 0, 1]),
  slice: (x) => x.narrow(1, 7, 150),
  broadcast: (x) => x.mul(x.narrow(0, 3, 1)).add(x.narrow(1, 5, 1)),
  indexSelect: (x, index) => x.indexSelect(0, index),
  softmax: (x) => x.softmax(1),
};

function functions(way: Way): Hashes {
  const hashes: Hashes = {};
  for (const [name, f] of Object.entries(large)) {
    tidy(() => {
      manualSeed(5);
      const [x, index] = [randn([70, 180]), randint(0, 70, [300])];
      x.requiresGrad = true;
      hashes[`large ${name}`] = way(
        () => {
          x.clearGrad();
          const y = f(x, index);
          y.mul(y.sin()).sum().backward();
          return y;
        },
        (y) => bitsIn([y, x.grad]),
      );
    });
  }
  return hashes;
}

/** For every layer in training mode, hashes initial parameters, outputs, gradients of inputs and parameters, and buffers. */
function layerBits(way: Way): Hashes {
  const hashes: Hashes = {};
  for (const [name, make] of Object.entries(layers)) {
    tidy(() => {
      manualSeed(6);
      make().forEach(({ layer, given }, i) => {
        const what = `layer ${name} ${i}`;
        hashes[`${what}: parameters`] = bitsIn(layer.stateDict());
        const leaves = [...tensorsIn(given)].filter(({ dtype }) => dtype === "float32");
        for (const x of leaves) x.requiresGrad = true;
        manualSeed(7);
        way(
          () => {
            layer.zeroGrad();
            for (const x of leaves) x.clearGrad();
            const outputs: unknown = layer.forward(...given);
            // L = Σ y·sin y
            const parts = Array.from(tensorsIn(outputs), (y) => y.mul(y.sin()).sum());
            parts.reduce((a, b) => a.add(b)).backward();
            return outputs;
          },
          (outputs) => {
            hashes[`${what}: forward`] = bitsIn(outputs);
            hashes[`${what}: input gradients`] = bitsIn(leaves.map(({ grad }) => grad));
            hashes[`${what}: parameter gradients`] = bitsIn(layer.parameters().map(({ grad }) => grad));
            hashes[`${what}: buffers`] = bitsIn(layer.buffers());
          },
        );
        layer.dispose();
      });
    });
  }
  return hashes;
}

/** Hashes the outputs of an encoder with a KeyValueCache, for a prompt and for the steps after it. */
function generation(way: Way): Hashes {
  return tidy(() => {
    manualSeed(8);
    const layer = () => new nn.TransformerEncoderLayer(24, 3, { dimFeedforward: 70, dropout: 0, batchFirst: true });
    const model = new nn.TransformerEncoder([layer(), layer()]);
    const cache = new nn.KeyValueCache(5, 40);
    const run = (x: Tensor, times: number): string =>
      way(() => noGrad(() => model.forward(x, { isCausal: true, cache })), bitsIn, times);
    const hashes = { "generation: prompt": run(randn([5, 17, 24]), 1), "generation: steps": run(randn([5, 1, 24]), 9) };
    model.dispose();
    cache.dispose();
    return hashes;
  });
}

/** Hashes the initial values that are computed partly in JavaScript. */
function initialValues(): Hashes {
  const { kaimingNormal, kaimingUniform, orthogonal, truncNormal, xavierNormal, xavierUniform } = nn.init;
  return tidy(() => {
    manualSeed(11);
    const all = Object.entries({ kaimingNormal, kaimingUniform, orthogonal, truncNormal, xavierNormal, xavierUniform });
    return Object.fromEntries(all.map(([name, fill]) => [`init ${name}`, bitsIn(fill(zeros([70, 40])))]));
  });
}

/** Hashes five steps of every optimizer and 30 learning rates of every schedule. */
function learners(way: Way): Hashes {
  const hashes: Hashes = {};
  const each = (name: string, make: (params: Tensor[]) => Learner | optim.LBFGS, own: Way): void => {
    tidy(() => {
      manualSeed(8);
      const inner = new nn.Linear(40, 70, { bias: false });
      const model = new nn.Sequential(inner, new nn.Tanh(), new nn.Linear(70, 30, { bias: false }));
      const [x, y] = [randn([50, 40]), randn([50, 30])];
      const optimizer = make(model.parameters());
      own(
        () => optimizer.minimize(() => losses.mse(model.forward(x), y)),
        (loss) => {
          const state = optimizer instanceof optim.LBFGS ? null : optimizer.stateDict().state;
          hashes[`optimizer ${name}`] = bitsIn([loss, model.stateDict(), state]);
        },
        5,
      );
      if (!(optimizer instanceof optim.LBFGS)) optimizer.dispose();
      model.dispose();
    });
  };
  for (const [name, makers] of Object.entries(optimizers))
    makers.forEach((make, i) => void each(`${name} ${i}`, make, way));
  // L-BFGS reads values, so it cannot be compiled.
  each("LBFGS", (params) => new optim.LBFGS(params, { lineSearchFn: "strongWolfe", maxIter: 3 }), eager);
  for (const [name, make] of Object.entries(schedules)) {
    const optimizer = new optim.Adam([randn([1])], { lr: 0.01 });
    const schedule = make(optimizer);
    const rates = Float32Array.from({ length: 30 }, () => {
      schedule.step();
      return optimizer.paramGroups[0]!.rate.item();
    });
    hashes[`schedule ${name}`] = hashOf([rates]);
    optimizer.dispose();
  }
  return hashes;
}

const PIXELS = 28 * 28;
const BATCH = 64;

/** Batches of synthetic digits: ten random patterns with noise. */
function digits(batches: number): { x: Tensor; labels: Tensor }[] {
  const random = seeded(9);
  const patterns = Float32Array.from({ length: 10 * PIXELS }, () => Number(random() < 0.2));
  return Array.from({ length: batches }, () => {
    const labels = Int32Array.from({ length: BATCH }, () => Math.floor(10 * random()));
    const pixels = new Float32Array(BATCH * PIXELS);
    for (let i = 0; i < pixels.length; i++) {
      const pattern = patterns[labels[Math.floor(i / PIXELS)]! * PIXELS + (i % PIXELS)]!;
      pixels[i] = 0.5 * pattern + random() - 0.5;
    }
    return { x: tensor(pixels, [BATCH, 28, 28, 1]), labels: tensor(labels) };
  });
}

/** Reads a digit row by row, as a sequence of 28 steps. */
class Rows extends nn.Module {
  readonly last: nn.Linear;
  constructor(
    readonly inner: nn.LSTM | nn.TransformerEncoderLayer,
    width: number,
  ) {
    super();
    this.last = new nn.Linear(width, 10);
  }
  forward(x: Tensor): Tensor {
    const rows = x.reshape([x.shape[0]!, 28, 28]);
    const y = this.inner.forward(rows);
    return this.last.forward(Array.isArray(y) ? y[1][0].squeeze(0) : y.mean(1));
  }
}

/** The networks to train, and the number of steps. */
const networks: Record<string, { readonly steps: number; readonly make: () => nn.Module }> = {
  "784-128-10": {
    steps: 200,
    make: () => new nn.Sequential(new nn.Flatten(), new nn.Linear(PIXELS, 128), new nn.ReLU(), new nn.Linear(128, 10)),
  },
  CNN: {
    steps: 8,
    make: () =>
      new nn.Sequential(
        ...[new nn.Conv2d(1, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU(), new nn.MaxPool2d(2)],
        ...[new nn.Conv2d(8, 16, 3), new nn.ReLU(), new nn.MaxPool2d(2), new nn.Flatten()],
        ...[new nn.Dropout(0.25), new nn.Linear(400, 10)],
      ),
  },
  LSTM: { steps: 6, make: () => new Rows(new nn.LSTM(28, 48, { batchFirst: true }), 48) },
  transformer: {
    steps: 6,
    make: () =>
      new Rows(new nn.TransformerEncoderLayer(28, 4, { dimFeedforward: 64, batchFirst: true, normFirst: true }), 28),
  },
};

/** Trains with Adam, clipped gradients and averaged weights. Hashes all parameters and losses, and returns how much each loss fell. */
function training(isCompiled: boolean): Pick<Run, "hashes" | "lossDrops"> {
  const hashes: Hashes = {};
  const lossDrops: Record<string, number> = {};
  tidy(() => {
    const batches = digits(20);
    for (const [name, { steps, make }] of Object.entries(networks)) {
      manualSeed(10);
      const model = make();
      const optimizer = new optim.Adam(model.parameters(), { lr: 3e-3 });
      const average = new optim.EMA(model.parameters(), { decay: 0.9 });
      const step = (x: Tensor, labels: Tensor): Tensor =>
        tidy(() => {
          const loss = losses.crossEntropy(model.forward(x), labels);
          optimizer.zeroGrad();
          loss.backward();
          optim.clipGradNorm(model.parameters(), 1);
          optimizer.step();
          average.update();
          return loss.detach();
        });
      const program = isCompiled ? compile(step) : undefined;
      const seen = Float32Array.from({ length: steps }, (_, i) => {
        const { x, labels } = batches[i % batches.length]!;
        return tidy(() => (program ?? step)(x, labels).item());
      });
      lossDrops[name] = seen[0]! - seen[steps - 1]!;
      hashes[`training ${name}: losses`] = hashOf([seen]);
      hashes[`training ${name}: parameters`] = bitsIn(model.stateDict());
      hashes[`training ${name}: average`] = bitsIn(average.averages);
      program?.dispose();
      average.dispose();
      optimizer.dispose();
      model.dispose();
    }
  });
  return { hashes, lossDrops };
}

/** The library's default thresholds for sharing work. */
const USUAL = { ...sharing };

/** Starts nabla, runs a plan, and disposes nabla. */
async function run(plan: Plan): Promise<Run> {
  const { threads, build, everything } = plan;
  Object.assign(sharing, everything ? { least: 1e-9, program: 1e-9 } : USUAL);
  const before = performance.now();
  await init(build === "wide" ? { threads, wide: true } : { threads, build });
  const watch = new Watch();
  const way = plan.compiled ? compiled : eager;
  const small = everything
    ? { ...ops(way), ...functions(way), ...layerBits(way), ...generation(way), ...initialValues(), ...learners(way) }
    : {};
  const { hashes, lossDrops } = training(plan.compiled);
  await watch.seeAll();
  const running = info();
  await dispose();
  const { jobs, alone, seen } = watch;
  const milliseconds = performance.now() - before;
  return {
    ...plan,
    running,
    jobs,
    alone,
    workers: seen.size,
    milliseconds,
    lossDrops,
    hashes: { ...small, ...hashes },
  };
}

/** Runs the plans in sequence, each on a new engine. @throws Error that names the plan that failed */
export async function runAll(plans: readonly Plan[]): Promise<Run[]> {
  const runs: Run[] = [];
  for (const plan of plans) {
    try {
      runs.push(await run(plan));
    } catch (error) {
      throw new Error(`${JSON.stringify(plan)}: ${error instanceof Error ? error.stack : error}`);
    }
  }
  return runs;
}
