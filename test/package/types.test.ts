/**
 * The types of the packed package, as users compile against them: the programs in the README and the guide, every entry point, and every
 * resolution mode.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { programs } from "../support/programs.ts";

let project: string;
beforeAll(() => {
  mkdirSync("build", { recursive: true });
  project = resolve(mkdtempSync("build/types-"));
  const root = join(project, "node_modules/nabla");
  mkdirSync(root, { recursive: true });
  const [{ filename }] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", project], { encoding: "utf8" }),
  ) as [{ filename: string }];
  execFileSync("tar", ["-xzf", join(project, filename), "--strip-components=1", "-C", root]);
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

const STRICT: ts.CompilerOptions = {
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
};
/** Skips declaration files in small programs; the programs in the README and the guide already check them. */
const QUICK: ts.CompilerOptions = { skipLibCheck: true };
const { ModuleKind, ModuleResolutionKind } = ts;
const RESOLUTIONS: Record<string, ts.CompilerOptions> = {
  nodenext: { module: ModuleKind.NodeNext, moduleResolution: ModuleResolutionKind.NodeNext },
  node16: { module: ModuleKind.Node16, moduleResolution: ModuleResolutionKind.Node16 },
  bundler: { module: ModuleKind.ESNext, moduleResolution: ModuleResolutionKind.Bundler },
  node10: { module: ModuleKind.ESNext, moduleResolution: ModuleResolutionKind.Node10, ignoreDeprecations: "6.0" },
};

/** Parsed files, which all programs with the same module options share. */
const parsed = new Map<string, ts.SourceFile | undefined>();
function hostOf(options: ts.CompilerOptions): ts.CompilerHost {
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...rest) => {
    const isOwn = !name.includes("/node_modules/");
    const key = `${options.module} ${options.moduleResolution} ${name}`;
    if (isOwn || !parsed.has(key)) parsed.set(key, getSourceFile.call(host, name, ...rest));
    return parsed.get(key);
  };
  return host;
}

/** The compiler's errors in these files (a map from names to texts), as "file:line: TScode message". */
function problems(files: Record<string, string>, options: ts.CompilerOptions): string[] {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
  const names = Object.keys(files).map((name) => join(project, name));
  const all = { ...STRICT, ...options };
  const program = ts.createProgram(names, all, hostOf(all));
  return ts.getPreEmitDiagnostics(program).map(({ file, start, code, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start!).line + 1 : 0;
    return `${basename(file?.fileName ?? "")}:${line}: TS${code} ${ts.flattenDiagnosticMessageText(messageText, " ").slice(0, 200)}`;
  });
}

const shown = Object.fromEntries(
  programs.map(({ page, source }, i) => [`${page.replace(/\W/g, "-")}-${i}.ts`, `${source}\nexport {};\n`]),
);
const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as { exports: Record<string, string | object> };
const entries = Object.keys(exports).flatMap((name) =>
  typeof exports[name] === "object" ? [name.replace(/^\./, "nabla")] : [],
);

describe.each(Object.entries(RESOLUTIONS))("resolved as %s", (_, options) => {
  test("every program in the README and the guide compiles, without an error in a declaration", () => {
    const [bridging, own] = [true, false].map((bridges) =>
      Object.fromEntries(Object.entries(shown).filter(([, text]) => text.includes("@tensorflow/") === bridges)),
    ) as [typeof shown, typeof shown];
    expect(Object.keys(own).length).toBeGreaterThan(20);
    expect(problems(own, options)).toEqual([]);
    expect(Object.keys(bridging).length).toBeGreaterThan(1);
    expect(problems(bridging, { ...options, ...QUICK })).toEqual([]);
  });
  test("every entry has its own types, and no entry has the type any", () => {
    expect(entries).toEqual(
      expect.arrayContaining(["nabla", "nabla/gradients", "nabla/formats", "nabla/serverless", "nabla/tfjs"]),
    );
    // TensorFlow.js's declarations of WebGPU types conflict with TypeScript's.
    const strict = entries.filter((name) => name !== "nabla/tfjs");
    const isAny = "type IsAny<T> = 0 extends 1 & T ? true : false;\n";
    const linesFor = (names: string[]) =>
      names.map((name, i) => `import * as e${i} from "${name}";\nexport const no${i}: IsAny<typeof e${i}> = false;\n`);
    const wrong =
      'import { tensor } from "nabla";\ntensor({});\nimport { nothing } from "nabla/formats";\nexport { nothing };\n';
    expect(problems({ "entries.ts": isAny + linesFor(strict).join(""), "wrong.ts": wrong }, options)).toEqual([
      expect.stringMatching(/^wrong\.ts:2: TS2345 /),
      expect.stringMatching(/^wrong\.ts:3: TS2305 /),
    ]);
    expect(problems({ "tfjs.ts": isAny + linesFor(["nabla/tfjs"]).join("") }, { ...options, ...QUICK })).toEqual([]);
  });
});

describe("CommonJS", () => {
  const required = { "common.cts": 'import { tensor } from "nabla";\nexport const sum = tensor([1]).sum();\n' };
  const imported = {
    "dynamic.cts": 'export const sum = import("nabla").then(({ tensor }) => tensor([1]).sum().item());\n',
  };
  test("compiles if TypeScript knows that require accepts ES modules", () => {
    expect(problems({ ...required, ...imported }, { ...RESOLUTIONS.nodenext!, ...QUICK })).toEqual([]);
  });
  test("needs import() with node16, as the guide says", () => {
    expect(problems(required, { ...RESOLUTIONS.node16!, ...QUICK })).toEqual([
      expect.stringMatching(/^common\.cts:1: TS1479 /),
    ]);
    expect(problems(imported, { ...RESOLUTIONS.node16!, ...QUICK })).toEqual([]);
    expect(readFileSync("docs/guide/browsers.md", "utf8")).toMatch(/TS1479/);
  });
});

describe("toArray()", () => {
  const source = (lines: string): Record<string, string> => ({
    "array.ts": `import { ones, tensor, type NestedArray } from "nabla";\nconst x = ones([2, 3, 4]);\n${lines}\nexport {};\n`,
  });
  test.each([
    [
      "can be indexed to any depth without a cast",
      "const a: number = x.toArray()[0][1][2] + 1;\nx.toArray()[0].map((row: number[]) => row.length);\nexport { a };",
    ],
    [
      "can be assigned to a variable with the array's type",
      "const a: number[][][] = x.toArray();\nconst b: boolean[] = tensor([true]).toArray();\nconst c: number = tensor(3).toArray();\nexport { a, b, c };",
    ],
    [
      "is a NestedArray, which can become a tensor",
      "const a: NestedArray = x.toArray();\nexport const y = [tensor(a), tensor(x.toArray()), ...x.toArray()];",
    ],
  ])("%s", (_, lines) => {
    for (const options of [
      { ...RESOLUTIONS.nodenext!, ...QUICK },
      { ...RESOLUTIONS.bundler!, ...QUICK },
    ])
      expect(problems(source(lines), options)).toEqual([]);
  });
  test("is checked if you give a type argument", () => {
    const lines = "const row = x.toArray<number[][]>()[0];\nrow.length;\nx.toArray<string[]>();";
    expect(problems(source(lines), { ...RESOLUTIONS.bundler!, ...QUICK })).toEqual([
      expect.stringMatching(/^array\.ts:4: TS18048 'row' is possibly 'undefined'/),
      expect.stringMatching(/^array\.ts:5: TS2344 /),
    ]);
  });
});

test("tensors can be declared with `using` if lib has only ES2022 and DOM", () => {
  const text =
    'import { tensor } from "nabla";\nexport function f() {\n  using x = tensor([1]);\n  return x.item();\n}\n';
  expect(problems({ "using.ts": text }, { ...RESOLUTIONS.nodenext!, ...QUICK })).toEqual([]);
});
