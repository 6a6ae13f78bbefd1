/**
 * init({ wide: true }): where the wide build runs, and the fallback everywhere else. V8's options apply to a whole process, so each
 * case has its own. test/threads/bits.test.ts compares the wide build's results with those of `relaxed`.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Browser } from "puppeteer-core";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nodeOf } from "../support/node.ts";
import { launch, type Served, serve } from "../support/pages.ts";
import { expectsWide } from "../support/wide.ts";

const FOLDER = "build/wide";
const execute = promisify(execFile);

let site: Served;
beforeAll(async () => {
  const build = await rolldown({ input: { nabla: "src/index.ts" }, platform: "neutral" });
  await build.write({ dir: FOLDER, entryFileNames: "[name].js", chunkFileNames: "[name].js" });
  await build.close();
  writeFileSync(`${FOLDER}/index.html`, '<!doctype html><link rel="icon" href="data:,">');
  site = await serve(FOLDER, { isolated: true });
});
afterAll(() => site?.close());

/** Runs a module on a version of Node, and returns the value that it assigns to `result`. Stderr must stay empty. */
async function run<T>(major: number, body: string, flags: readonly string[] = []): Promise<T> {
  const script = `import { init, info, dispose, tensor } from ${JSON.stringify(`${process.cwd()}/${FOLDER}/nabla.js`)};
    import v8 from "node:v8";
    const set = [], setFlags = v8.setFlagsFromString;
    v8.setFlagsFromString = (flags) => { set.push(flags); setFlags(flags); };
    let result;
    ${body}
    console.log(JSON.stringify(result));`;
  const { path } = await nodeOf(major);
  const { stdout, stderr } = await execute(path, [...flags, "--input-type=module", "-e", script], { timeout: 100_000 });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

interface Outcome {
  readonly build: string;
  readonly wide: string;
  readonly threads: number;
  readonly product: number[][];
  /** The options that nabla passed to V8. */
  readonly set: string[];
}
const START = `await init({ wide: true });
  const { build, wide, threads } = info();
  const product = tensor([[1, 2], [3, 4], [5, 6]]).matmul(tensor([[1, 2], [3, 4]])).toArray();
  result = { build, wide, threads, product, set };`;
const PRODUCT = [[7, 10], [15, 22], [23, 34]]; // biome-ignore format: a matrix
const FLAG = "experimental-wasm-revectorize";
const CHECKED = [`--${FLAG}`, "--wasm-sync-tier-up", "--no-wasm-sync-tier-up"];

describe.each([20, 22, 24, 26])("Node %i", (major) => {
  test("runs the wide build if it can, and otherwise the usual one, with the reason", async () => {
    const outcome = await run<Outcome>(major, START);
    if (expectsWide(major))
      expect(outcome).toEqual({ build: "wide", wide: "as requested", threads: 1, product: PRODUCT, set: CHECKED });
    else
      expect(outcome).toEqual({
        build: major < 22 ? "simd" : "relaxed",
        wide: expect.stringMatching(
          major < 24
            ? RegExp(`^wide needs Node 24 or newer on x64, got Node v${major}\\.\\S+ on ${process.arch}$`)
            : /^(wide needs Node|V8 does not combine)/,
        ),
        threads: 1,
        product: PRODUCT,
        set: major < 24 || process.arch !== "x64" ? [] : [...CHECKED, `--no-${FLAG}`],
      });
  });
});

const NO_GAIN = "V8 does not combine vectors on this processor, or it has no AVX2";

describe("the fallback", () => {
  test.each([
    ["another processor", 'Object.defineProperty(process, "arch", { value: "arm64" });', /got Node v24\.\S+ on arm64$/],
    [
      "another runtime with Node's modules",
      'Object.defineProperty(process, "versions", { value: { ...process.versions, bun: "1.4.5" } });',
      /^wide needs Node 24 or newer on x64, not a browser or another runtime$/,
    ],
  ])("on %s sets no option of V8", async (_, before, reason) => {
    const outcome = await run<Outcome>(24, `${before} ${START}`);
    expect(outcome).toMatchObject({ build: "relaxed", wide: expect.stringMatching(reason), product: PRODUCT, set: [] });
  });
  test("without a gain from combined vectors withdraws the option", async () => {
    const outcome = await run<Outcome>(24, START, ["--liftoff-only"]);
    expect(outcome).toMatchObject({
      build: "relaxed",
      wide: NO_GAIN,
      product: PRODUCT,
      set: [...CHECKED, `--no-${FLAG}`],
    });
  });
  test("after a wrong product withdraws the option", async () => {
    // Turn each fused multiply-add, a·b + c, into c − a·b.
    const patch = `const { Module } = WebAssembly;
      WebAssembly.Module = class extends Module {
        constructor(bytes) {
          const wrong = set.includes("--wasm-sync-tier-up") && bytes.length > 100_000 && !set.some((flag) => flag.startsWith("--no-"));
          for (let i = 2; wrong && i < bytes.length; i++)
            if (bytes[i - 2] === 253 && bytes[i - 1] === 133 && bytes[i] === 2) bytes[i - 1] = 134;
          super(bytes);
        }
      };`;
    const outcome = await run<Outcome>(24, `${patch} ${START}`);
    expect(outcome).toMatchObject({
      build: "relaxed",
      wide: expectsWide(24) ? "V8 computes a wrong product of 17×71×53 with combined vectors" : NO_GAIN,
      product: PRODUCT,
      set: [...CHECKED, `--no-${FLAG}`],
    });
  });
  test("in a page runs the usual build", async () => {
    const browser: Browser = await launch("chrome");
    const page = await browser.newPage();
    await page.goto(site.address);
    const script = `import("${site.address}nabla.js").then(async ({ init, info }) => { await init({ wide: true }); return info(); })`;
    expect(await page.evaluate(script)).toMatchObject({
      build: "relaxed",
      wide: "wide needs Node 24 or newer on x64, not a browser or another runtime",
      threads: 1,
    });
    await browser.close();
  });
});

test.each([`--${FLAG}`, `--${FLAG.replaceAll("-", "_")}`])(
  "%s, which the user has set, is not withdrawn",
  async (option) => {
    const outcome = await run<Outcome>(24, START, ["--liftoff-only", option]);
    expect(outcome).toMatchObject({ build: "relaxed", set: CHECKED });
  },
);

test("synchronous optimization, which the user has set, stays", async () => {
  const { set } = await run<Outcome>(24, START, ["--wasm-sync-tier-up"]);
  expect(set).not.toContain("--no-wasm-sync-tier-up");
});

test("an option that the user has disabled stays disabled", async () => {
  const outcome = await run<Outcome>(24, START, [`--no-${FLAG}`]);
  const wide = `Node was started with --no-${FLAG}`;
  expect(outcome).toMatchObject({ build: "relaxed", wide, product: PRODUCT, set: [] });
});

test("a runtime that imitates Node without a version of V8, such as Cloudflare Workers, runs the usual build", async () => {
  const script = `Object.defineProperty(process, "versions", { value: { node: "24.0.0", v8: "" } }); ${START}`;
  const wide = "wide needs Node 24 or newer on x64, not a browser or another runtime";
  expect(await run<Outcome>(24, script)).toMatchObject({ build: "relaxed", wide, product: PRODUCT, set: [] });
});

test("a worker whose checks fail leaves the option to the main thread", async () => {
  const url = JSON.stringify(`${process.cwd()}/${FOLDER}/nabla.js`);
  const body = `import v8 from "node:v8";
    import { parentPort } from "node:worker_threads";
    const set = [], setFlags = v8.setFlagsFromString;
    v8.setFlagsFromString = (flags) => { set.push(flags); setFlags(flags); };
    performance.now = () => 0;
    const { init, info } = await import(${url});
    await init({ wide: true });
    parentPort.postMessage({ build: info().build, set });`;
  const script = `const { Worker } = await import("node:worker_threads");
    await init({ wide: true });
    const worker = new Worker(${JSON.stringify(body)}, { eval: true, execArgv: ["--input-type=module"] });
    result = await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject));`;
  const outcome = await run<Outcome>(24, script);
  expect(outcome).toEqual({ build: "relaxed", set: expectsWide(24) ? CHECKED : expect.any(Array) });
});

test("wide excludes deterministic, simd and custom modules; a second init with the same options does nothing", async () => {
  const { messages, first, again, after } = await run<Record<string, unknown>>(
    24,
    `const messages = [];
    const attempt = (options) => init(options).catch(({ message }) => void messages.push(message));
    const module = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
    for (const other of [{ deterministic: true }, { build: "simd" }, { module }]) await attempt({ ...other, wide: true });
    await Promise.all([init({ wide: true, threads: 2 }), init({ wide: true, threads: 2 })]);
    const first = info();
    await init({ wide: true, threads: 2 });
    await attempt({ threads: 2 });
    const again = info().build;
    await dispose();
    tensor([1]);
    result = { messages, first, again, after: info() };`,
  );
  const excluded =
    'init: wide computes the bits of build "relaxed". Omit wide, or omit build, deterministic and module.';
  expect(messages).toEqual([
    excluded,
    excluded,
    excluded,
    "init: nabla runs with other options: wide is true, not false. Call init once, before the first tensor, or await dispose() first.",
  ]);
  const build = expectsWide(24) ? "wide" : "relaxed";
  expect(first).toMatchObject({ build, threads: 2 });
  expect(again).toBe(build);
  expect(after).toMatchObject({ build: "relaxed", wide: "init({ wide: true }) was not called", threads: 1 });
});

test("a tensor that is made before init has ended is an error", async () => {
  const script = `const starting = init({ wide: true });
    const x = tensor([1, 2]);
    result = [await starting.catch(({ message }) => message), x.toArray(), info().build, set.at(-1)];`;
  expect(await run(24, script)).toEqual([
    "init: a tensor was made while nabla was starting. Await init before the first tensor.",
    [1, 2],
    "relaxed",
    `--no-${FLAG}`,
  ]);
});
