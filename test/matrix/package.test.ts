/** The tarball as tools read it: exports under every condition, types, publint, are-the-types-wrong, and no eval. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import ts from "typescript";
import { describe, expect, inject, test } from "vitest";
import { commandOf, TOOLS } from "./project.ts";
import { run } from "./run.ts";

const { project, tarball } = inject("matrix");
const root = join(project, "node_modules/nabla");
const CONDITIONS = ["workerd", "edge-light", "deno", "bun", "node", "browser", "default"];
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, string | Record<string, string>>;
  bin: Record<string, string>;
  dependencies?: object;
};
const files = readdirSync(root, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll("\\", "/"));

/** The names that users can import. A name with `*` stands for every file that it matches. */
const specifiers = Object.entries(manifest.exports).flatMap(([name, target]) => {
  const subpath = name.replace(/^\./, "nabla");
  if (!name.includes("*")) return [subpath];
  const [before, after] = (target as string).replace(/^\.\//, "").split("*") as [string, string];
  const matches = files.filter(
    (file) => file.startsWith(before) && file.endsWith(after) && file.length > before.length,
  );
  expect(matches, `${name} matches files`).not.toEqual([]);
  return matches.map((file) => subpath.replace("*", file.slice(before.length, file.length - after.length)));
});

/** The names without a file extension, which are modules and have types. */
const modules = specifiers.filter((name) => !/\.\w+$/.test(name));

const { create } = createRequire(join(TOOLS, "package.json"))("enhanced-resolve") as {
  create: { sync(options: object): (folder: string, request: string) => string | false };
};

describe("exports", () => {
  test.each(CONDITIONS)('under the condition "%s", every name resolves to a file in the tarball', (condition) => {
    const resolve = create.sync({ conditionNames: [condition, "import"], extensions: [] });
    for (const specifier of specifiers) {
      const file = resolve(project, specifier);
      expect(file && files.includes(relative(root, file).replaceAll("\\", "/")), specifier).toBe(true);
    }
  });
  test.each(["workerd", "edge-light"])('the condition "%s" has separate files for every module', (condition) => {
    const [own, others] = [condition, "default"].map((name) => create.sync({ conditionNames: [name, "import"] }));
    for (const specifier of modules) expect(own!(project, specifier), specifier).not.toBe(others!(project, specifier));
  });
  test("every module has declarations under every condition", () => {
    for (const condition of CONDITIONS) {
      const resolve = create.sync({ conditionNames: ["types", condition, "import"] });
      for (const specifier of modules) expect(resolve(project, specifier), specifier).toMatch(/\.d\.ts$/);
    }
  });
  test("the files of the commands exist", () => {
    for (const path of Object.values(manifest.bin)) expect(existsSync(join(root, path)), path).toBe(true);
  });
});

test("publint finds no problem", async () => {
  const output = await run(commandOf("publint"), ["run", tarball, "--strict"]);
  expect(output).toMatch(/All good!/);
});

test("are-the-types-wrong finds no problem in the types of ES modules", async () => {
  const output = await run(commandOf("attw"), [tarball, "--profile", "esm-only", "--format", "ascii", "--no-emoji"]);
  for (const name of modules) expect(output).toContain(`"${name}"\n\nnode16 (from ESM): OK (ESM)\nbundler: OK`);
});

test("a strict program compiles against the tarball, without skipLibCheck", () => {
  const every = join(project, "every.ts");
  // The peers of nabla/tfjs are not installed here, so test/package/types.test.ts checks the types of nabla/tfjs instead.
  const own = modules.filter((name) => name !== "nabla/tfjs");
  writeFileSync(every, own.map((name, i) => `export * as module${i} from "${name}";\n`).join(""));
  const program = ts.createProgram([join(project, "consumer.ts"), every], {
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  });
  const problems = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
  expect(problems).toEqual([]);
});

/** Whether a syntax node runs text as code: eval(…), Function(…), new Function(…). */
function runsText(node: ts.Node): boolean {
  const isCall = ts.isCallExpression(node) || ts.isNewExpression(node);
  if (!isCall || !ts.isIdentifier(node.expression)) return false;
  return node.expression.text === "Function" || node.expression.text === "eval";
}

test("no file in the tarball evaluates strings as code", () => {
  const scripts = files.filter((file) => /\.[cm]?js$/.test(file));
  expect(scripts.length).toBeGreaterThan(50);
  const found: string[] = [];
  for (const file of scripts) {
    const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      if (runsText(node)) found.push(`${file}: ${node.getText().slice(0, 60)}`);
      node.forEachChild(visit);
    };
    visit(source);
  }
  expect(found).toEqual([]);
});

test("the package depends only on the loader, and the core imports only its own files", async () => {
  expect(Object.keys(manifest.dependencies ?? {})).toEqual(["@assemblyscript/loader"]);
  const metafile = join(project, "core.json");
  const args = ["node_modules/nabla/dist/src/index.js", "--bundle", "--format=esm", "--packages=external"];
  await run(commandOf("esbuild"), [...args, "--outfile=core.js", `--metafile=${metafile}`, "--log-level=error"], {
    cwd: project,
  });
  const { inputs } = JSON.parse(readFileSync(metafile, "utf8")) as {
    inputs: Record<string, { imports: { path: string; external?: boolean }[] }>;
  };
  const outside = Object.values(inputs).flatMap(({ imports }) =>
    imports.filter(({ external }) => external).map(({ path }) => path),
  );
  expect(Object.keys(inputs).length).toBeGreaterThan(20);
  expect(outside).toEqual([]);
});
