/** Code blocks, commands, options, names and paths in the documentation exist and are correct. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { experiments } from "../../lab/experiments/index.ts";
import { exercises } from "../../lab/practice/index.ts";
import { valueOf } from "../support/doctest.ts";
import { blocksOf, pages, programs } from "../support/programs.ts";

const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
const read = (page: string): string => readFileSync(page, "utf8");

describe.each(pages)("%s", (page) => {
  const blocks = blocksOf(page);
  test("has only code blocks in known languages", () => {
    for (const { info, line } of blocks) expect(["ts", "sh", "html", "text", "py"], `line ${line}`).toContain(info);
  });
  test("names existing npm scripts and commands", () => {
    const code = `${blocks.map(({ text }) => text).join("\n")}\n${Array.from(read(page).matchAll(/`([^`\n]+)`/g), ([, text]) => text).join("\n")}`;
    for (const [, name] of code.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name);
    for (const [, name] of code.matchAll(/npx nabla (?!--)(\w+)/g))
      expect(["info", "mnist", "bench", "lab", "practice", "serve"]).toContain(name);
    for (const [, name] of code.matchAll(/npx nabla lab ([a-z][\w-]+)/g))
      expect(experiments.map((one) => one.name)).toContain(name);
    for (const [, name] of code.matchAll(/npx nabla practice ([a-z][\w-]+)/g))
      expect(exercises.map((one) => one.name)).toContain(name);
  });
  test("names existing files and folders", () => {
    const missing = Array.from(
      read(page).matchAll(/`((?:assembly|src|lab|cli|tools|docs|examples|bench|test)\/[\w./-]*)`/g),
      ([, path]) => path!,
    ).filter((path) => !existsSync(path));
    expect(missing).toEqual([]);
  });
});

test("the README has at most 150 lines", () => {
  expect(read("README.md").trimEnd().split("\n").length).toBeLessThanOrEqual(150);
});

test("the guide has programs with results on most pages", () => {
  expect(programs.length).toBeGreaterThan(30);
  const claims = programs.flatMap(({ source }) => source.match(/; \/\/ \S/g) ?? []);
  expect(claims.length).toBeGreaterThan(80);
});

test("analysis.md names every experiment of the lab, and existing functions", async () => {
  const text = read("docs/guide/analysis.md");
  const table = text.slice(text.indexOf("| section |"), text.indexOf("The [reference]"));
  const named = Array.from(table.matchAll(/`([\w-]+)`/g), ([, name]) => name!);
  expect(named.length).toBeGreaterThan(80);
  for (const { name, functions } of experiments) {
    expect(named).toContain(name);
    for (const f of functions) expect(named, `${name} shows ${f}`).toContain(f);
  }
  const known = new Set([...Object.keys(await import("nabla/gradients")), ...experiments.map(({ name }) => name)]);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test("practice.md names every exercise, in its order", () => {
  const named = Array.from(read("docs/guide/practice.md").matchAll(/^\| `([\w-]+)`/gm), ([, name]) => name!);
  expect(named).toEqual(exercises.map(({ name }) => name));
});

test("layers.md names every layer, loss, optimizer and schedule", async () => {
  const { losses, nn, optim } = await import("nabla");
  const text = read("docs/guide/layers.md");
  const isClass = (value: unknown): boolean => typeof value === "function" && /^class /.test(String(value));
  const bases = ["Module", "BatchNorm", "Sequential", "Optimizer", "ParamGroup", "LRScheduler"];
  const names = [
    ...Object.entries(nn).flatMap(([name, value]) => (isClass(value) ? [name] : [])),
    ...Object.entries(optim).flatMap(([name, value]) => (isClass(value) ? [name] : [])),
    ...Object.keys(losses),
  ].filter((name) => !bases.includes(name));
  expect(names.length).toBeGreaterThan(70);
  for (const name of names) expect(text).toMatch(new RegExp(`\\b${name}\\b`));
});

describe("the migration pages", () => {
  test.each(["docs/guide/pytorch.md", "docs/guide/tensorflow.md"])("%s names existing functions", async (page) => {
    const nabla: Record<string, unknown> = await import("nabla");
    const formats: Record<string, unknown> = await import("nabla/formats");
    const text = read(page);
    const rows = text.slice(text.indexOf("## Names"), text.indexOf("## Differences")).split("\n");
    const cells = rows.flatMap((row) => row.split(" | ").slice(1).at(-1) ?? []).join("\n");
    const called = Array.from(cells.matchAll(/(?<![\w.])((?:[a-z]\w*\.)*[a-zA-Z]\w*)\(/g), ([, name]) => name!);
    expect(called.length).toBeGreaterThan(20);
    const { Tensor } = nabla as { Tensor: { prototype: object } };
    for (const name of called) {
      if (name === "console.log") continue;
      const path = name.split(".");
      const isMethod = ["x", "w", "a", "labels", "optimizer", "model"].includes(path[0]!);
      const found = isMethod
        ? path[1]! in Tensor.prototype || ["minimize", "forward"].includes(path[1]!)
        : path.reduce<unknown>((object, key) => (object as Record<string, unknown> | undefined)?.[key], {
            ...nabla,
            ...formats,
          });
      expect(found, `${page}: ${name}`).toBeTruthy();
    }
  });
});

describe("the parser of results in comments", () => {
  test.each<[string, unknown]>([
    ["[-12, -4], the article's first example", [-12, -4]],
    ["[[0], [1]]", [[0], [1]]],
    ['"float32"', "float32"],
    ['"a: [1] (b)"', "a: [1] (b)"],
    ["true", true],
    ["null (none)", null],
    ["-Infinity", Number.NEGATIVE_INFINITY],
    ["1.5e-3", 0.0015],
    ['{ kind: "vanishing", at: [0, 1] }', { kind: "vanishing", at: [0, 1] }],
    ["≈ 0.17", 0.1672],
  ])("reads %s as a value", (comment, value) => expect(value).toEqual(valueOf(comment)));
  test.each([
    "dropout is on",
    "true if it is large",
    "[batch, 10]",
    "2 threads",
    "{ not: closed",
    "≈ two",
    "keeps a.1",
  ])("reads %s as prose", (comment) => expect(typeof valueOf(comment)).toBe("symbol"));
  test("rejects a value that differs", () => expect(0.18).not.toEqual(valueOf("≈ 0.17")));
});

test("the guide includes existing examples", () => {
  const included = readdirSync("docs/guide").flatMap((name) =>
    Array.from(read(`docs/guide/${name}`).matchAll(/^<<< \.\.\/\.\.\/(\S+)/gm), ([, path]) => path!),
  );
  expect(included.length).toBeGreaterThan(5);
  for (const path of included) expect(existsSync(path), path).toBe(true);
});
