/**
 * Compares runs on several threads with runs on one, in the same process and memory. For the contender with one thread, programs are
 * encoded so that no op is shared. The last rows use twice as many threads as cores, which should cost little. The notes give the
 * overhead of threads: the time of a barrier, and of a call that has to wake threads.
 */
import { availableParallelism } from "node:os";
import { compile, dispose, info, init, rand, randn, type Tensor, tidy } from "../../src/index.ts";
import { sharing } from "../../src/ops/definition/work.ts";
import { optionsOf } from "../builds.ts";
import { type Case, type Contender, median, type Suite } from "../measure.ts";
import { NablaTraining } from "../nabla.ts";
import { trainingTasks } from "../training.ts";

const ONE = "1 thread";
const ELEMENTS = 2 ** 20;
const LIMITS = { ...sharing };

/** Runs f with threads sharing the work of no op, of every op, or (by default) only of ops that are large enough. */
function withSharing<T>(mode: "none" | "all" | "default", f: () => T): T {
  const limit = { none: Infinity, all: 1e-9, default: undefined }[mode];
  Object.assign(sharing, limit === undefined ? LIMITS : { least: limit, program: limit });
  try {
    return f();
  } finally {
    Object.assign(sharing, LIMITS);
  }
}

/** The same eager call on one thread and on all threads. Each eager call decides for itself whether to share its work. */
function eagerContenders(threads: number, call: () => Tensor): Contender[] {
  const run = (): void => tidy(() => void call());
  return [
    { impl: ONE, run: () => withSharing("none", run) },
    { impl: `${threads} threads`, run },
  ];
}

/** A compiled step, recorded once with sharing and once without. */
function compiledContenders(threads: number, name: string): { contenders: Contender[]; free: () => void } {
  const training = trainingTasks.find((one) => one.name === name)!;
  const record = (mode: "none" | "default"): NablaTraining =>
    withSharing(mode, () => {
      const model = new NablaTraining(training, "compiled");
      model.step();
      return model;
    });
  const [one, all] = [record("none"), record("default")];
  return {
    contenders: [
      { impl: ONE, run: () => void one.step() },
      { impl: `${threads} threads`, run: () => void all.step() },
    ],
    free: () => [one, all].forEach((model) => model.dispose()),
  };
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const time = (f: () => void): number => {
  const before = performance.now();
  f();
  return 1000 * (performance.now() - before);
};

/**
 * Measures the time of a barrier in microseconds: times a compiled chain of products that are too small to share, with and without
 * sharing.
 */
function measureBarrier(): number {
  const COUNT = 200;
  const x = rand([8, 8]);
  const chain = (): Tensor => {
    let y = x;
    for (let i = 0; i < COUNT; i++) y = y.matmul(x);
    return y;
  };
  const programs = (["none", "all"] as const).map((mode) => {
    const program = compile(chain);
    withSharing(mode, () => program());
    return program;
  });
  const times = programs.map((program) => {
    for (let i = 0; i < 300; i++) program();
    return median(Array.from({ length: 300 }, () => time(program)));
  });
  for (const program of programs) program.dispose();
  x.dispose();
  return (times[1]! - times[0]!) / COUNT;
}

/** Describes the time of a 256 × 256 × 256 product: in back-to-back calls, and after pauses in which the workers fall asleep. */
async function measureWaking(): Promise<string> {
  const [a, b] = [randn([256, 256]), randn([256, 256])];
  const call = (): void => tidy(() => void a.matmul(b));
  const busy = median(Array.from({ length: 200 }, () => time(call)));
  const alone = withSharing("none", () => median(Array.from({ length: 200 }, () => time(call))));
  const afterPause: number[] = [];
  const aloneAfterPause: number[] = [];
  for (let i = 0; i < 30; i++) {
    await pause(20);
    afterPause.push(time(call));
    await pause(20);
    aloneAfterPause.push(withSharing("none", () => time(call)));
  }
  for (const x of [a, b]) x.dispose();
  const us = (values: number[]): string => median(values).toFixed(0);
  return `256×256×256 product: ${busy.toFixed(0)} µs back to back (${alone.toFixed(0)} µs on one thread), ${us(afterPause)} µs after a 20 ms pause (${us(aloneAfterPause)} µs on one thread)`;
}

async function* cases(): AsyncGenerator<Case> {
  const cores = availableParallelism();
  const { build } = info();
  const counts = [...new Set([2, 4, 2 * cores])].filter((n) => n <= Math.max(2, cores) || n === 2 * cores);
  for (const threads of counts) {
    await dispose();
    await init({ threads, ...optionsOf(build) });
    if (info().threads !== threads)
      throw new Error(`threads: there must be ${threads} threads, got ${info().threads}: ${info().reason}.`);
    const label = threads > cores ? `${threads} threads, ${cores} cores: ` : "";
    for (const n of [128, 256, 512, 1024]) {
      const [a, b] = [randn([n, n]), randn([n, n])];
      const note = n === 128 ? await measureCosts(threads) : undefined;
      yield {
        name: `${label}${n}³`,
        flops: 2 * n ** 3,
        base: ONE,
        contenders: eagerContenders(threads, () => a.matmul(b)),
        ...(note ? { note } : {}),
      };
      for (const x of [a, b]) x.dispose();
    }
    for (const { name } of trainingTasks) {
      const { contenders, free } = compiledContenders(threads, name);
      yield { name: `${label}${name}`, base: ONE, contenders };
      free();
    }
    const [x, y] = [rand([ELEMENTS]), rand([ELEMENTS])];
    const calls: Record<string, () => Tensor> = { add: () => x.add(y), gelu: () => x.gelu(), sum: () => x.sum() };
    for (const [name, call] of Object.entries(calls))
      yield { name: `${label}${name} 2²⁰`, base: ONE, contenders: eagerContenders(threads, call) };
    for (const z of [x, y]) z.dispose();
  }
  await dispose();
  await init(optionsOf(build));
}

const measureCosts = async (threads: number): Promise<string> =>
  `${threads} threads: a barrier takes ${measureBarrier().toFixed(2)} µs; ${await measureWaking()}`;

export const threads: Suite = { name: "threads", cases };
