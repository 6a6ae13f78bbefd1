/**
 * Sources are short. Bundles are readable: lines have a normal length, names are the same as in the source, and errors print a short stack
 * trace.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { storedBytes } from "../../tools/edits.mjs";
import { breakLines } from "../../tools/lines.mjs";

test("source files have at most 400 lines", () => {
  const files = execFileSync("git", ["ls-files", "*.ts", "*.mjs", "*.css", "*.py"], { encoding: "utf8" })
    .split("\n")
    .filter(Boolean);
  expect(files.length).toBeGreaterThan(500);
  const lengths = files.map((file) => [file, readFileSync(file, "utf8").split("\n").length - 1] as const);
  expect(lengths.filter(([, length]) => length > 400)).toEqual([]);
});

const FOLDERS = ["dist/node", "dist/bin", "dist/src/serverless"];

describe.each(FOLDERS)("%s", (folder) => {
  const files = readdirSync(folder).filter((name) => name.endsWith(".js"));
  test("contains no line of more than 500 characters", () => {
    expect(files.length).toBeGreaterThan(0);
    for (const name of files)
      for (const [i, line] of readFileSync(`${folder}/${name}`, "utf8").split("\n").entries())
        expect(line.length, `${name}:${i + 1}: ${line.slice(0, 80)}`).toBeLessThanOrEqual(500);
  });
});

test("the inlined kernels have lines of at most 120 characters, and decode to the stored bytes of each build", () => {
  const base = readdirSync("dist/node").find((name) => name.startsWith("base"))!;
  const text = readFileSync(`dist/node/${base}`, "utf8");
  const binaries = Array.from(
    text.matchAll(/Buffer\S*\.from\(\s*["`]([A-Za-z0-9+/=\\\n]+)["`]/g),
    ([, base64]) => base64!,
  );
  expect(binaries).toHaveLength(2);
  for (const base64 of binaries) for (const line of base64.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
  const stored = ["simd", "relaxed"].map((build) => storedBytes(build).toString("base64"));
  expect(binaries.map((base64) => base64.replaceAll("\\\n", "")).sort()).toEqual(stored.sort());
});

describe("an uncaught error prints its message and readable frames to a pipe in less than 4 KB", () => {
  test.each([
    ["an op", 'import { tensor } from "nabla"; tensor([1, 2]).add(tensor([1, 2, 3]));', /^ShapeError: add: .*\[2\].*\[3\]/m, /at broadcastShapes /],
    ["a loss", 'import { losses, tensor } from "nabla"; losses.crossEntropy(tensor([[1, 2]]), tensor([7], { dtype: "int32" }));', /^\w+Error: crossEntropy: /m, /at .*crossEntropy /],
    ["a file", 'import { readSafetensors } from "nabla/formats"; readSafetensors(new Uint8Array(3));', /^FormatError: safetensors: the file has 3 bytes/m, /at headerLength /],
    ["a promise", 'import { loadFile } from "nabla/formats"; await loadFile("/nowhere/to/be/found");', /ENOENT: no such file or directory/, /at async loadFile /],
    ["nabla/gradients", 'import { objective } from "nabla/gradients"; objective(() => 1, []).value();', /^\w*Error: /m, /dist\/node\/gradients\.js:\d+/],
    ["nabla/serverless", 'import { inferenceHandler } from "nabla/serverless"; inferenceHandler({});', /^\w*Error: /m, /at inferenceHandler /],
  ])("%s", (_, program, message, frame) => {
    const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(frame);
    expect(stderr.length).toBeLessThan(4096);
  }); // biome-ignore format: a table
});

describe("breaking lines does not change the value of", () => {
  const long = "abcdefghijklmnopqrstuvwxyz".repeat(20);
  const value = (expression: string): unknown => {
    const broken = breakLines(`export default ${expression};\n`);
    for (const line of broken.split("\n")) expect(line.length).toBeLessThanOrEqual(240);
    // biome-ignore lint/security/noGlobalEval: the point of the test
    return globalThis.eval(`(${broken.slice("export default ".length).trimEnd().slice(0, -1)})`);
  };
  test.each<[string, string, unknown]>([
    ["a string", JSON.stringify(long), long],
    ["a string of escapes", `"${"\\u00e9\\x41\\n\\\\\\u{1f600}".repeat(40)}"`, "éA\n\\😀".repeat(40)],
    ["a string as long as the kernels", JSON.stringify(long.repeat(1000)), long.repeat(1000)],
    ["a template", `\`${long}\${1 + 1}${long}\``, `${long}2${long}`],
    ["a list", `[${Array.from({ length: 200 }, (_, i) => i)}]`, Array.from({ length: 200 }, (_, i) => i)],
    ["calls and conditions", `[1].map((x) => ${"x === 2 ? 3 : ".repeat(60)}Math.max(x, 7))`, [7]],
  ])("%s", (_, expression, expected) => {
    expect(value(expression)).toEqual(expected);
  });
  test("a regular expression", () => {
    const source = `(?:${"\\/\\d[a-z\"']|\\u0041".repeat(30)})`;
    expect(value(`/${source}/gu`)).toEqual(new RegExp(source, "gu"));
  });
  test("a tagged template, which stays as it is because its tag sees the raw text", () => {
    const code = `export default String.raw\`${long}\`;\n`;
    expect(breakLines(code)).toBe(code);
  });
  test("short lines, which stay as they are", () => {
    const code = 'const a = [1, 2];\nexport { a as "b" };\n';
    expect(breakLines(code)).toBe(code);
  });
});
