/** Follows src/ops/README.md: adds its composed op to a copy of the sources, and runs it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generated } from "../../tools/generate.mjs";

const root = mkdtempSync(join(tmpdir(), "nabla-op-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The op in the README. */
const [, op = ""] = /\n```ts\n([\s\S]*?\n}\n)```\n/.exec(readFileSync("src/ops/README.md", "utf8")) ?? [];

beforeAll(async () => {
  for (const path of ["src", "assembly", ".biome.json", ".gitignore", "tsconfig.json"])
    cpSync(path, join(root, path), { recursive: true });
  symlinkSync(resolve("node_modules"), join(root, "node_modules"));
  const file = join(root, "src/ops/pointwise/activation.ts");
  writeFileSync(file, `${readFileSync(file, "utf8")}\n${op}`);
  for (const [name, text] of await generated(root)) writeFileSync(join(root, name), text);
  const bundle = await rolldown({ input: join(root, "src/index.ts"), platform: "neutral" });
  await bundle.write({ file: join(root, "bundle.mjs"), codeSplitting: false });
});

test("the README's op becomes a method and a function, and both check their arguments", async () => {
  expect(op).toContain("export function sinh(");
  const { sinh, tensor, grad } = (await import(pathToFileURL(join(root, "bundle.mjs")).href)) as Record<
    string,
    (...args: unknown[]) => { toArray(): number[]; sinh(...args: unknown[]): { toArray(): number[]; sum(): unknown } }
  >;
  const x = tensor!([0, 1]);
  expect(x.sinh().toArray()[1]).toBeCloseTo(Math.sinh(1), 5);
  expect(sinh!(x).toArray()[1]).toBeCloseTo(Math.sinh(1), 5);
  expect(() => x.sinh(1)).toThrow("sinh: takes no arguments, got 1");
  expect(() => sinh!("1")).toThrow('sinh: x must be a tensor or a number, got "1"');
  const slope = grad!((y: typeof x) => y.sinh().sum()) as unknown as (y: unknown) => { toArray(): number[] };
  expect(slope(x).toArray()[1]).toBeCloseTo(Math.cosh(1), 5);
});

test("the type of the method contains the op's documentation, unchanged", () => {
  const methods = readFileSync(join(root, "src/ops/methods.ts"), "utf8");
  expect(methods).toMatch(
    /\* sinh x = \(eˣ − e⁻ˣ\)\/2, the hyperbolic sine\.[^/]*?x: any shape → the same shape, float32\./,
  );
  expect(methods).toContain("  sinh(): Tensor;");
});
