/** Bundles the installed tarball with every bundler and runs the result: pages in Chromium, programs in Node. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { serve } from "../support/pages.ts";
import { type Engine, openPuppeteer } from "./engines.ts";
import { binaryOf, commandOf, expectKnown, type Result, recordResult, TOOLS, versionOf } from "./project.ts";
import { run } from "./run.ts";

const { project: cwd } = inject("matrix");
const TWO = JSON.stringify({ deterministic: true, threads: 2 });
const RESOLVE = ["-p", join(TOOLS, "node_modules/@rollup/plugin-node-resolve/dist/cjs/index.js")];
const ESBUILD = ["--bundle", "--platform=node", "--format=esm"];

/** Names that occur only in optimizers' code, and that no minifier shortens. */
const OPTIMIZER = /\b(expAvgSq|momentumBuffer)\b/;

/** The HTML of a page with a script. */
const pageOf = (script: string): string =>
  `<!doctype html><link rel="icon" href="data:,"><script type="module" src="./${script}"></script>`;

interface Bundler {
  readonly name: string;
  readonly package: string;
  /** Bundles a script for pages into a folder, with the bundler's default configuration. */
  bundle(entry: string, folder: string): Promise<unknown>;
}

const BUNDLERS: readonly Bundler[] = [
  {
    name: "Vite, build",
    package: "vite",
    async bundle(entry, folder) {
      const page = `${folder}.html`;
      writeFileSync(join(cwd, page), pageOf(entry));
      const config = `export default { base: "./", build: { outDir: "${folder}", rolldownOptions: { input: "${page}" } } };`;
      writeFileSync(join(cwd, `${folder}.config.js`), config);
      await run(commandOf("vite"), ["build", "--config", `${folder}.config.js`], { cwd });
      renameSync(join(cwd, folder, page), join(cwd, folder, "index.html"));
    },
  },
  {
    name: "webpack",
    package: "webpack",
    bundle: (entry, folder) => run(process.execPath, [`${TOOLS}/hosts/webpack.mjs`, cwd, entry, join(cwd, folder)]),
  },
  {
    name: "esbuild",
    package: "esbuild",
    bundle: (entry, folder) =>
      run(commandOf("esbuild"), [entry, "--bundle", "--format=esm", `--outdir=${folder}`, "--minify"], { cwd }),
  },
  {
    name: "rollup",
    package: "rollup",
    bundle: (entry, folder) => run(commandOf("rollup"), [entry, "--dir", folder, "--silent", ...RESOLVE], { cwd }),
  },
  {
    name: "bun build",
    package: "bun",
    bundle: (entry, folder) =>
      run(binaryOf("@oven", "bin/bun"), ["build", entry, "--outdir", folder, "--minify"], { cwd }),
  },
];

let chromium: Engine;
beforeAll(async () => {
  chromium = await openPuppeteer("chrome");
});
afterAll(() => chromium?.close());

/** Serves a bundled script on a cross-origin isolated page, and evaluates an expression there. */
async function visit<T>(folder: string, entry: string, expression: string): Promise<{ value: T; errors: string[] }> {
  const page = join(cwd, folder, "index.html");
  if (!existsSync(page)) writeFileSync(page, pageOf(entry));
  // The user's own worker, which nabla must not mistake for one of nabla's.
  writeFileSync(join(cwd, folder, "worker.js"), "addEventListener('message', () => postMessage('mine'));");
  const site = await serve(join(cwd, folder), { isolated: true });
  try {
    return await chromium.visit<T>(site.address, expression);
  } finally {
    site.close();
  }
}

/** Expects the known bits, two threads and no errors. */
function expectTrainedOnTwoThreads({ value, errors }: { value: Result; errors: string[] }): void {
  expectKnown(value);
  expect(value.threads, value.reason).toBe(2);
  // If the bundler does not copy the worker's file, the request for the file fails, and nabla uses the inlined source.
  expect(errors.filter((error) => !/nabla-worker\.js|status of 404/.test(error))).toEqual([]);
}

/** All JavaScript in a folder. */
const codeIn = (folder: string): string =>
  readdirSync(join(cwd, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .map((file) => readFileSync(join(cwd, folder, file), "utf8"))
    .join("\n");

describe.each(BUNDLERS)("$name", (bundler) => {
  const slug = bundler.name.replace(/\W+/g, "-").toLowerCase();

  test("a page trains to the known bits on two threads", async () => {
    await bundler.bundle("page.js", slug);
    expectTrainedOnTwoThreads(await visit(slug, "page.js", `run(${TWO})`));
    expect(codeIn(slug)).toMatch(OPTIMIZER);
    recordResult(bundler.name, versionOf(bundler.package), "Chromium, 2 threads");
  });

  test("a page that only multiplies matrices and computes gradients contains no optimizer", async () => {
    const folder = `${slug}-matmul`;
    await bundler.bundle("matmul.js", folder);
    expect(codeIn(folder)).not.toMatch(OPTIMIZER);
    const { value, errors } = await visit(folder, "matmul.js", "run()");
    expect(value).toEqual({ product: [[3], [7]], gradient: [[1, 1], [1, 1]] }); // biome-ignore format: matrices
    expect(errors).toEqual([]);
  });

  test("a page that imports saveFile contains no modules of Node, and its error says that there is no file system", async () => {
    const folder = `${slug}-saving`;
    await bundler.bundle("saving.js", folder);
    expect(codeIn(folder)).not.toMatch(/(from|import\(|require\()\s*["'`](node:)?(fs|os|path)\b/);
    const { value, errors } = await visit(folder, "saving.js", "run()");
    expect(value).toMatch(/^saveFile: this platform has no file system/);
    expect(errors).toEqual([]);
  });
});

test("Vite, dev: a page trains to the known bits on two threads", async () => {
  const [server, address] = await startVite();
  try {
    expectTrainedOnTwoThreads(await chromium.visit<Result>(address, `run(${TWO})`));
  } finally {
    server.kill();
  }
  recordResult("Vite, dev", versionOf("vite"), "Chromium, 2 threads");
});

/** Starts a development server. Returns its process and its address. */
async function startVite(): Promise<[ChildProcess, string]> {
  const env = { ...process.env, NO_COLOR: "1" };
  const server = spawn(process.execPath, [join(TOOLS, "node_modules/vite/bin/vite.js"), "--host", "127.0.0.1"], {
    cwd,
    env,
  });
  const address = await new Promise<string>((resolve, reject) => {
    let output = "";
    const onOutput = (text: Buffer): void => {
      const found = /http:\/\/127\.0\.0\.1:\d+\//.exec((output += text));
      if (found) resolve(found[0]);
    };
    server.stdout.on("data", onOutput);
    server.stderr.on("data", onOutput);
    server.on("error", reject);
    server.on("exit", () => reject(new Error(output)));
  });
  return [server, address];
}

describe("the program from docs/guide/threads.md, bundled for Node", () => {
  const [, program] = /^```ts\n([\s\S]*?)```/m.exec(readFileSync("docs/guide/threads.md", "utf8"))!;
  const claims = program!.replace(/^(.*); \/\/ (\d+)$/m, "console.log($1 === $2);");

  test.each([
    ["esbuild", "esbuild", [...ESBUILD, "--outdir=threads-esbuild"]],
    ["esbuild, minified", "esbuild", [...ESBUILD, "--minify", "--outdir=threads-minified"]],
    ["rollup", "rollup", ["--dir", "threads-rollup", "--silent", ...RESOLVE]],
  ])("%s: gives the result in its comment, on all cores", async (_, command, args) => {
    writeFileSync(join(cwd, "threads.js"), claims);
    await run(commandOf(command), ["threads.js", ...args], { cwd });
    const folder = args.map((arg) => /threads-\w+/.exec(arg)?.[0]).find(Boolean)!;
    const [isRight, threads] = (await run(process.execPath, [`${folder}/threads.js`], { cwd })).trim().split("\n");
    expect(isRight).toBe("true");
    expect(Number.parseInt(threads!, 10)).toBe(Math.min(availableParallelism(), 8));
  });
});

/** Code that creates a safetensors file with one tensor, [1, 2]. */
const FILE = `
const header = new TextEncoder().encode(JSON.stringify({ x: { dtype: "F32", shape: [2], data_offsets: [0, 8] } }).padEnd(72));
const file = new Uint8Array(88);
file[0] = header.length;
file.set(header, 8);
new Float32Array(file.buffer, 80, 2).set([1, 2]);`;

describe.each(["esbuild", "rollup"])("a single name bundled for pages by %s", (name) => {
  const { bundle } = BUNDLERS.find((bundler) => bundler.name === name)!;

  test.each([
    ["tensor", "nabla", "console.log(tensor([1, 2]).add(1).sum().item());", "5"],
    ["zeros", "nabla", "console.log(zeros([2]).add(1).sum().item());", "2"],
    ["randperm", "nabla", "console.log(randperm(4).sum().item());", "6"],
    ["nn", "nabla", "console.log(new nn.Linear(2, 3).bias.mul(0).sum().item());", "0"],
    [
      "readSafetensors",
      "nabla/formats",
      `${FILE}
const { x } = readSafetensors(file).tensors;
x.requiresGrad = true;
x.square().sum().backward();
console.log(x.grad.sum().item());`,
      "6",
    ],
  ])("%s of %s", async (imported, module, program, printed) => {
    const entry = `single-${imported}.js`;
    writeFileSync(join(cwd, entry), `import { ${imported} } from "${module}";\n${program}\n`);
    const folder = `single-${name}-${imported}`;
    await bundle(entry, folder);
    expect((await run(process.execPath, [join(folder, entry)], { cwd })).trim()).toBe(printed);
  });
});
