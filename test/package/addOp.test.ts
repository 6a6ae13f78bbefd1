/** Follows src/ops/README.md: adds its composed op and its kernel to a copy of the sources, and checks that they work. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Oracle, Reference } from "../ops/oracles/oracle.ts";

const root = mkdtempSync(join(tmpdir(), "nabla-op-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The code samples in the README, in order. */
const [composed = "", formula = "", entry = "", samples = ""] = [
  ...readFileSync("src/ops/README.md", "utf8").matchAll(/^( *)```ts\n([\s\S]*?\n)\1```$/gm),
].map(([, indent = "", code = ""]) => code.replaceAll(new RegExp(`^${indent}`, "gm"), ""));

/** The imports that the samples need. */
const IMPORTS = `import { Op } from "../../../assembly/opcodes.ts";
import type { Operand } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { add, mul, neg } from "./arithmetic.ts";
import { exp } from "./exponential.ts";
import { unary } from "./pointwise.ts";
`;

interface Result {
  toArray(): number[];
}
interface Input extends Result {
  cosh(...args: unknown[]): Input;
  sinh(...args: unknown[]): Input;
  sum(): unknown;
}
interface Copy {
  tensor(values: readonly number[]): Input;
  grad(f: (x: Input) => unknown): (x: Input) => Input;
  cosh(x: unknown): Result;
  sinh(x: unknown): Result;
  oracles: Record<number, Oracle<unknown>>;
  Op: Record<string, number>;
}
let copy: Copy;

const edit = (path: string, change: (text: string) => string): void =>
  writeFileSync(join(root, path), change(readFileSync(join(root, path), "utf8")));

beforeAll(async () => {
  for (const path of ["src", "assembly", "tools", "test/ops/oracles", ".biome.json", ".gitignore", "asconfig.json"])
    cpSync(path, join(root, path), { recursive: true });
  cpSync("tsconfig.json", join(root, "tsconfig.json"));
  symlinkSync(resolve("node_modules"), join(root, "node_modules"));
  writeFileSync(join(root, "src/ops/pointwise/hyperbolic.ts"), `${IMPORTS}\n${composed}\n${entry}`);
  edit("assembly/formulas.ts", (text) => `${text}\n${formula}`);
  edit("test/ops/oracles/activation.ts", (text) => text.replace("activation = {\n", `activation = {\n${samples}`));
  execFileSync(process.execPath, [join(root, "tools/generate.mjs")], { cwd: root });
  execFileSync(process.execPath, [join(root, "tools/wasm.mjs")], { cwd: root, stdio: "pipe" });
  const input = join(root, "entry.ts");
  writeFileSync(
    input,
    `export * from "./src/index.ts";
export { oracles } from "./test/ops/oracles/index.ts";
export { Op } from "./assembly/opcodes.ts";
`,
  );
  const bundle = await rolldown({ input, platform: "neutral" });
  await bundle.write({ file: join(root, "bundle.mjs"), codeSplitting: false });
  copy = (await import(pathToFileURL(join(root, "bundle.mjs")).href)) as Copy;
}, 300_000);

test("the composed op becomes a method, a function and a signature", () => {
  expect(composed).toContain("export function cosh(");
  const x = copy.tensor([0, 1]);
  expect(x.cosh().toArray()[1]).toBeCloseTo(Math.cosh(1), 5);
  expect(copy.cosh(x).toArray()[1]).toBeCloseTo(Math.cosh(1), 5);
  expect(() => x.cosh(1)).toThrow("cosh: takes no arguments, got 1");
  expect(() => copy.cosh("1")).toThrow('cosh: x must be a tensor or a number, got "1"');
  expect(
    copy
      .grad((y) => y.cosh().sum())(x)
      .toArray()[1],
  ).toBeCloseTo(Math.sinh(1), 5);
});

test("its documentation is part of the method's type, unchanged", () => {
  const methods = readFileSync(join(root, "src/ops/methods/hyperbolic.ts"), "utf8");
  expect(methods).toMatch(
    /\* cosh x = \(eˣ \+ e⁻ˣ\)\/2, the hyperbolic cosine\.[^/]*?x: any shape → the same shape, float32\./,
  );
  expect(methods).toContain("  cosh(): Tensor;");
});

test("a formula, an entry and samples are enough for a kernel, which agrees with its oracle", () => {
  const { reference, samples } = copy.oracles[copy.Op.Sinh!]!;
  const values = Array.from({ length: 37 }, (_, i) => Math.fround(-4 + i * 0.217));
  const input: Reference = { shape: [37], data: values };
  const [expected] = reference([input], samples[0]!.attributes);
  const actual = copy.tensor(values).sinh().toArray();
  for (const [i, value] of actual.entries())
    expect(Math.abs(value - expected!.data[i]!)).toBeLessThan(4e-7 * Math.abs(expected!.data[i]!) + 1e-9);
  for (const x of [-0, 88.7, 89, 104, Infinity, -Infinity, Number.NaN].map(Math.fround)) {
    const [y] = copy.sinh(copy.tensor([x])).toArray();
    const exact = Math.fround(Math.sinh(x));
    if (Number.isFinite(exact) && exact) expect(Math.abs(y! / exact - 1), `sinh(${x})`).toBeLessThan(1e-6);
    else expect(y, `sinh(${x})`).toBe(exact);
  }
  const small = copy.sinh(copy.tensor([1e-6])).toArray()[0]!;
  expect(Math.abs(small / Math.sinh(Math.fround(1e-6)) - 1)).toBeLessThan(2e-7);
});

test("the kernel has gradients of any order", () => {
  const { grad } = copy;
  const x = copy.tensor([0.5, 2]);
  const first = grad((y) => y.sinh().sum());
  expect(first(x).toArray()[1]).toBeCloseTo(Math.cosh(2), 5);
  expect(grad((y) => first(y).sum())(x).toArray()[0]).toBeCloseTo(Math.sinh(0.5), 5);
});

test("the code, the kernel and the reference are generated", () => {
  expect(readFileSync(join(root, "assembly/opcodes.ts"), "utf8")).toMatch(
    /Family\.Unary << Head\.family,\n( {2}\w+,\n)+ {2}Sinh,\n\n/,
  );
  expect(readFileSync(join(root, "assembly/kernels/pointwise.ts"), "utf8")).toContain("case Op.Sinh: sinh(");
  expect(readFileSync(join(root, "src/ops/REFERENCE.md"), "utf8")).toContain(
    "| `sinh` | sinh x, the hyperbolic sine. Derivative cosh x. | any order |",
  );
});
