/**
 * `nabla/tfjs` from the tarball: with its peers alone and with all of TensorFlow.js, in every version of Node, in Deno and Bun, bundled for
 * Node, and on a page built by Vite.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { serve } from "../support/pages.ts";
import { openPuppeteer } from "./engines.ts";
import { binaryOf, canRequire, commandOf, lastJson, MAJORS, TOOLS } from "./project.ts";
import { run } from "./run.ts";

const { tarball, nodes } = inject("matrix");
const folder = join(dirname(tarball), "tfjs");
const VERSION = "4.22.0";
/** The packages that each project installs besides nabla. */
const PROJECTS = {
  peers: ["@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-cpu"],
  all: ["@tensorflow/tfjs"],
};
const project = (name: keyof typeof PROJECTS): string => join(folder, name);

beforeAll(async () => {
  const install = async ([name, packages]: [string, string[]]): Promise<void> => {
    const cwd = join(folder, name);
    mkdirSync(cwd, { recursive: true });
    cpSync("test/matrix/tfjs", cwd, { recursive: true });
    writeFileSync(join(cwd, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
    const wanted = [tarball, ...packages.map((one) => `${one}@${VERSION}`)];
    await run("npm", ["install", ...wanted, "--ignore-scripts", "--no-audit", "--no-fund"], { cwd });
  };
  await Promise.all(Object.entries(PROJECTS).map(install));
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The result of check.mjs if both libraries share one heap. */
const CHECKED = { backend: "nabla", product: [3, 7], allocated: 0, theirs: [3, 4], back: [3, 4] };

describe.each(MAJORS)("Node %i", (major) => {
  const node = nodes[major]!;
  if (node.missing !== undefined) {
    test("is available", () => expect.fail(node.missing));
    return;
  }
  const { path, version } = node;

  test("import: nabla is the backend before anything is awaited, and shares one heap with TensorFlow.js", async () => {
    expect(await lastJson(path, ["core.mjs"], { cwd: project("peers") })).toEqual(CHECKED);
  });
  test.runIf(canRequire(version))("require returns the same modules", async () => {
    expect(await lastJson(path, ["core.cjs"], { cwd: project("peers") })).toEqual({ ...CHECKED, same: true });
  });
  test("with all of TensorFlow.js, nabla stays the default, and model.fit learns", async () => {
    const result = await lastJson(path, ["union.mjs"], { cwd: project("all") });
    expect(result).toEqual({ ...CHECKED, learned: true, backends: ["cpu", "nabla"] });
  });
});

test.each([
  ["Deno", binaryOf("@deno", "deno"), ["run", "--no-prompt"]],
  ["Bun", binaryOf("@oven", "bin/bun"), ["run"]],
])(
  "%s, without permissions or flags: nabla is the backend before anything is awaited, and shares one heap with TensorFlow.js",
  async (_, path, args) => {
    expect(await lastJson(path, [...args, "core.mjs"], { cwd: project("peers") })).toEqual(CHECKED);
  },
);

const ESBUILD = ["core.mjs", "--bundle", "--platform=node"];
const BUN = ["build", "core.mjs", "--target=node"];

/**
 * For each bundler, the file that it writes and the command that bundles core.mjs for Node. The bundle must contain the
 * copy of tfjs-core that the program imports, and no other. The bundle runs in an empty folder, where it cannot load
 * packages.
 */
test.each<[string, string, string, (output: string) => string[]]>([
  ["esbuild", "core.cjs", commandOf("esbuild"), (output) => [...ESBUILD, `--outfile=${output}`]],
  // With custom conditions, esbuild does not set the condition "module".
  [
    "esbuild, custom conditions",
    "core.cjs",
    commandOf("esbuild"),
    (output) => [...ESBUILD, "--conditions=source", `--outfile=${output}`],
  ],
  [
    "webpack",
    "core.cjs",
    process.execPath,
    (output) => [`${TOOLS}/hosts/webpack.mjs`, project("peers"), "core.mjs", dirname(output), "node"],
  ],
  [
    "vite",
    "core.js",
    commandOf("vite"),
    (output) => ["build", "--ssr", "core.mjs", "--outDir", dirname(output), "--config", "noexternal.config.js"],
  ],
  ["bun build", "core.mjs", binaryOf("@oven", "bin/bun"), (output) => [...BUN, `--outfile=${output}`]],
])(
  "bundled for Node by %s: nabla is the backend of the program's copy of TensorFlow.js",
  async (_, file, command, argsFor) => {
    const cwd = project("peers");
    writeFileSync(join(cwd, "noexternal.config.js"), "export default { ssr: { noExternal: true } };");
    const bundled = mkdtempSync(join(tmpdir(), "nabla-bundled-"));
    try {
      writeFileSync(join(bundled, "package.json"), `{ "type": "module" }`);
      const output = join(bundled, "dist", file);
      await run(command, argsFor(output), { cwd });
      expect(await lastJson(process.execPath, [output], { cwd: bundled })).toEqual(CHECKED);
    } finally {
      rmSync(bundled, { recursive: true });
    }
  },
);

test("a page built by Vite: nabla is the backend before anything is awaited, and model.fit learns", async () => {
  const cwd = project("all");
  writeFileSync(
    join(cwd, "index.html"),
    `<!doctype html><link rel="icon" href="data:,"><script type="module" src="./page.js"></script>`,
  );
  await run(commandOf("vite"), ["build", "--base", "./"], { cwd });
  const [chromium, site] = await Promise.all([openPuppeteer("chrome"), serve(join(cwd, "dist"))]);
  try {
    const { value, errors } = await chromium.visit(site.address, "run()");
    expect(value).toEqual({ ...CHECKED, learned: true, backends: ["cpu", "nabla", "webgl"] });
    expect(errors).toEqual([]);
  } finally {
    site.close();
    await chromium.close();
  }
});
