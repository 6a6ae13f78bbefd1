/**
 * Results are bit-identical for any number of threads: ops, layers, optimizers and training. Runs 1 to 4 threads that share work of any
 * size, in two versions of Node and in pages and workers of Chromium and Firefox. The simd build produces the same bits in all
 * environments; the relaxed build produces the same bits within each environment, and so does the wide build.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { nn, optim } from "nabla";
import type { Browser } from "puppeteer-core";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Plan, Run } from "../support/bits.ts";
import { concrete, layers, optimizers, schedules } from "../support/layers.ts";
import { nodeOf } from "../support/node.ts";
import { BROWSERS, launch, type Served, serve, watchErrors } from "../support/pages.ts";
import { expectsWide } from "../support/wide.ts";

const FOLDER = "build/threads";
const root = process.cwd();

test("every layer, optimizer and schedule has a case", () => {
  expect(Object.keys(layers).sort()).toEqual(concrete(nn, nn.Module).sort());
  expect(Object.keys(optimizers).sort()).toEqual(concrete(optim, optim.Optimizer).sort());
  expect(Object.keys(schedules).sort()).toEqual(concrete(optim, optim.LRScheduler).sort());
});

let site: Served;
beforeAll(async () => {
  const build = await rolldown({
    input: { bits: "test/support/bits.ts", "nabla-worker": "src/runtime/threads/nabla-worker.ts" },
    platform: "neutral",
    resolve: { alias: { nabla: `${root}/src/index.ts` } },
  });
  await build.write({ dir: FOLDER, entryFileNames: "[name].js", chunkFileNames: "[name].js" });
  await build.close();
  writeFileSync(`${FOLDER}/index.html`, '<!doctype html><link rel="icon" href="data:,">');
  site = await serve(FOLDER, { isolated: true });
});
afterAll(() => site?.close());

const plan = (build: Plan["build"], threads: number, compiled: boolean, everything = true): Plan => ({
  build,
  threads,
  compiled,
  everything,
});
/**
 * 1 and 2 threads in eager and compiled mode, then more threads in one of the modes. In the relaxed build, each number of threads runs in
 * only one mode.
 */
const plans = (more: readonly number[]): Plan[] => [
  ...[1, 2].flatMap((threads) => [plan("simd", threads, false), plan("simd", threads, true)]),
  ...more.map((threads) => plan("simd", threads, threads % 2 === 1)),
  plan("relaxed", 1, false),
  ...[2, ...more].map((threads) => plan("relaxed", threads, threads % 2 === 0)),
  // Training with the library's default thresholds for sharing.
  ...(["simd", "relaxed"] as const).map((build) => plan(build, more.at(-1) ?? 2, true, false)),
];

const nameOf = ({ build, threads, compiled, everything }: Plan): string =>
  `${build}, ${threads} threads, ${compiled ? "compiled" : "eager"}, ${everything ? "everything" : "large work"} shared`;

/** How many differing results a message lists. */
const LISTED = 50;

/** The names of the results that differ between two runs, as text; empty if all are equal. */
function differences(run: Run, where: string, other: Run, elsewhere: string): string[] {
  const names = Object.keys(run.everything ? { ...other.hashes, ...run.hashes } : run.hashes);
  const wrong = names.filter((name) => run.hashes[name] !== other.hashes[name]);
  if (!wrong.length) return [];
  const more = wrong.length > LISTED ? `, and ${wrong.length - LISTED} more` : "";
  return [
    `${where}, ${nameOf(run)}: ${wrong.length} of ${names.length} results differ from those of ${elsewhere}, ${nameOf(other)}: ` +
      `${wrong.slice(0, LISTED).join("; ")}${more}`,
  ];
}

/** The first run of the simd build. Runs in all environments must match it. */
let reference: { readonly run: Run; readonly where: string } | undefined;

/**
 * Runs all plans in one environment and compares their results with those of one thread there and, for the simd build, with those of
 * other environments.
 */
async function check(
  where: string,
  all: readonly Plan[],
  runAll: (all: readonly Plan[]) => Promise<Run[]>,
): Promise<void> {
  const runs = await runAll(all);
  expect(runs.length).toBe(all.length);
  for (const run of runs) {
    const what = `${where}, ${nameOf(run)}`;
    const { running, threads, workers, jobs, alone, lossDrops, hashes } = run;
    expect(running, what).toMatchObject({ threads, build: run.build });
    expect(running.reason, what).toMatch(/^as requested(?!.*died)/);
    // With fewer cores than threads, a worker may miss all of a few hundred jobs, because no job waits for it.
    const busy = run.everything ? threads - 1 : Math.min(threads - 1, 1);
    expect(workers, `${what}: workers that took part`).toBeGreaterThanOrEqual(busy);
    expect(workers, `${what}: workers that took part`).toBeLessThanOrEqual(threads - 1);
    const least = threads > 1 ? (run.everything ? 4800 : 200) : 0;
    expect(jobs, `${what}: programs that were shared`).toBeGreaterThanOrEqual(least);
    expect(alone, `${what}: programs that workers ran alone`).toBeGreaterThanOrEqual(Math.floor(least / 64));
    expect(Object.keys(hashes).length, what).toBeGreaterThan(run.everything ? 1500 : 10);
    if (threads === 1)
      for (const [network, fell] of Object.entries(lossDrops))
        expect(fell, `${what}: how much the loss of ${network} fell`).toBeGreaterThan(0);
  }
  const first = (build: Plan["build"]): Run => runs.find((run) => run.build === build)!;
  const [own, simd] = [runs.flatMap((run) => differences(run, where, first(run.build), where)), first("simd")];
  expect(own, "one thread's bits").toEqual([]);
  reference ??= { run: simd, where };
  expect(differences(simd, where, reference.run, reference.where), "the same bits everywhere").toEqual([]);
}

describe("Node", () => {
  const execute = promisify(execFile);
  async function onNode(major: number, flags: readonly string[], all: readonly Plan[]): Promise<Run[]> {
    const script = `import { runAll } from ${JSON.stringify(`${root}/${FOLDER}/bits.js`)};
      console.log(JSON.stringify(await runAll(${JSON.stringify(all)})));`;
    const args = [...flags, "--input-type=module", "-e", script];
    const { path } = await nodeOf(major);
    const { stdout } = await execute(path, args, { timeout: 100_000, maxBuffer: 1 << 26 });
    return JSON.parse(stdout) as Run[];
  }
  for (const major of [20, 24]) {
    test(`Node ${major} gives the same bits`, async () => {
      const flags = major < 22 ? ["--experimental-wasm-relaxed-simd"] : [];
      await check(`Node ${major}`, plans([3, 4]), (all) => onNode(major, flags, all));
    });
  }
  test("the wide build gives the bits of the relaxed build, on 1 to 3 threads, in optimized code", async () => {
    const [relaxed] = await onNode(24, [], [plan("relaxed", 1, false)]);
    // Run only optimized code, because V8's baseline compiler does not combine vectors.
    const runs = await onNode(
      24,
      ["--no-liftoff"],
      [plan("wide", 1, false), plan("wide", 2, true), plan("wide", 3, false)],
    );
    for (const run of runs) {
      expect(run.running).toMatchObject({ build: expectsWide(24) ? "wide" : "relaxed", threads: run.threads });
      expect(differences(run, "Node 24", relaxed!, "Node 24")).toEqual([]);
      expect(Object.keys(run.hashes).length).toBeGreaterThan(1500);
    }
  });
});

describe.each(BROWSERS)("%s", (name) => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch(name);
  }, 60_000);
  afterAll(() => browser?.close());

  /**
   * Evaluates a script on a new page, which must have no errors. The script is text because the test runner would rewrite a
   * function.
   */
  async function onPage(script: string): Promise<Run[]> {
    const page = await browser.newPage();
    const errors = watchErrors(page, site.address);
    await page.goto(site.address);
    const runs = (await page.evaluate(script)) as Run[];
    expect(errors).toEqual([]);
    await page.close();
    return runs;
  }
  const module = (): string => JSON.stringify(`${site.address}bits.js`);

  test("the main thread of a page, which cannot sleep, gives the same bits", async () => {
    await check(`${name}, main thread`, plans([3, 4]), (all) =>
      onPage(`import(${module()}).then(({ runAll }) => runAll(${JSON.stringify(all)}))`),
    );
  });

  test("a worker that a page starts, with nested workers, gives the same bits", async () => {
    await check(`${name}, in a worker`, plans([]), (all) => {
      const text = `import { runAll } from ${module()};
        runAll(${JSON.stringify(all)}).then((runs) => postMessage({ runs }), (error) => postMessage({ error: String(error) }));`;
      return onPage(`new Promise((resolve, reject) => {
        const url = URL.createObjectURL(new Blob([${JSON.stringify(text)}], { type: "text/javascript" }));
        // Firefox collects a worker that nothing refers to, even while it waits for a promise.
        const worker = (globalThis.bits = new Worker(url, { type: "module" }));
        worker.onerror = (event) => reject(new Error(event.message || "the worker could not be started"));
        worker.onmessage = ({ data: { runs, error } }) => (error ? reject(new Error(error)) : resolve(runs));
      })`);
    });
  });
});
