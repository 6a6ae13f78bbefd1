/** Editors show documentation for everything public: specific text, shapes, the actual defaults, and examples that run. */
import { describe, expect, test } from "vitest";
import { readDeclarations } from "../../tools/declarations.mjs";
import { run } from "../support/doctest.ts";
import { type Hover, hovers } from "../support/hover.ts";

const all = hovers();
const { ops, fieldsOf } = readDeclarations();
/** The paths under which the API exposes an op: as a function and as a method. */
const pathsOf = (op: (typeof ops)[number]): string[] => [
  ...(op.function ? [`nabla.${op.function}`] : []),
  ...(op.method ? [`nabla.Tensor#${op.method}`] : []),
];
const at = (path: string): Hover => {
  const found = all.find((one) => one.path === path);
  if (!found) throw new Error(`the public API has no ${path}`);
  return found;
};
/** The names that examples can import. */
const exported = all.filter(({ path }) => /^nabla\.\w+$/.test(path)).map(({ name }) => name);
const plain = ({ text }: Hover): string => text.replaceAll(/\s+/g, " ");

describe("the language service's documentation", () => {
  test("covers every export, member and option", () => {
    expect(all.length).toBeGreaterThan(2000);
    expect(all.filter(({ text }) => !text).map(({ path }) => path)).toEqual([]);
  });
  test("contains more than a default", () => {
    expect(
      all
        .filter(
          (one) =>
            !plain(one)
              .replace(/Default:? .*$/, "")
              .trim(),
        )
        .map(({ path }) => path),
    ).toEqual([]);
  });
  test("differs between exports", () => {
    const seen = new Map<string, Hover>();
    const repeated: string[] = [];
    for (const one of all.filter(({ kind }) => kind === "export")) {
      const other = seen.get(plain(one));
      // Two names of one declaration may share the declaration's documentation.
      if (other && (other.file !== one.file || other.at !== one.at)) repeated.push(`${one.path} = ${other.path}`);
      seen.set(plain(one), one);
    }
    expect(repeated).toEqual([]);
  });
  test("differs between the members of a class and between the options of a function", () => {
    const seen = new Map<string, string>();
    const repeated: string[] = [];
    for (const one of all.filter(({ kind }) => kind !== "export")) {
      const key = `${one.path.replace(/[#.][^#.]*$/, "")}: ${plain(one)}`;
      if (seen.has(key) && seen.get(key) !== one.name) repeated.push(`${one.path} = ${seen.get(key)}`);
      seen.set(key, one.name);
    }
    expect(repeated).toEqual([]);
  });
});

describe("the documentation of ops", () => {
  test("contains shapes and an example that shows a value", () => {
    const faults = ops.flatMap(pathsOf).filter((path) => {
      const { text, tags } = at(path);
      const example = tags.find(({ name }) => name === "example")?.text ?? "";
      return !text.includes("→") || !/\/\/ /.test(example);
    });
    expect(ops.length).toBeGreaterThan(120);
    expect(faults).toEqual([]);
  });
  test("describes every argument of a method except options", () => {
    const faults = ops.flatMap((op) => {
      const family =
        op.parameters[0]?.type === "Operand" && op.parameters.length <= 2 && op.parameters[1]?.name === "b";
      const own = op.parameters.filter(({ isOptions, name }, i) => !isOptions && !(i === 0 && name === "x") && !family);
      const documented = op.tags.filter(({ tag }) => tag === "param").map(({ text }) => /^\w+/.exec(text)?.[0]);
      return own.filter(({ name }, i) => i > 0 && !documented.includes(name)).map(({ name }) => `${op.name}: ${name}`);
    });
    expect(faults).toEqual([]);
  });
  test("states the same defaults as the code", () => {
    const faults = ops.flatMap((op) => {
      const statedIn = (text: string | undefined): string | undefined =>
        /Default (.+?)(?:\.$|, |\. [A-Z]|$)/.exec(text ?? "")?.[1];
      const parameters = op.parameters.flatMap((one) => {
        if (one.isOptions) {
          const fields = fieldsOf(one.type);
          return Object.entries(one.defaults ?? {}).map(([name, value]) => [
            name,
            value,
            statedIn(fields.find((field) => field.name === name)?.text),
          ]);
        }
        if (one.default === undefined) return [];
        const tag = op.tags.find(({ tag: kind, text }) => kind === "param" && text.startsWith(`${one.name} `));
        return [[one.name, one.default, statedIn(tag?.text)]];
      });
      return parameters
        .filter(([, actual, stated]) => actual !== stated)
        .map(([name, actual, stated]) => `${op.name}: ${name} is ${actual}, but the documentation says ${stated}`);
    });
    expect(faults).toEqual([]);
  });
  test.each(ops.map((op) => [op.name, op] as const))("the example of %s shows the right values", async (name, op) => {
    const code = op.tags.find(({ tag }) => tag === "example")!.text.replace(/^```ts\n|\n```$/g, "");
    const used = exported.filter((one) => new RegExp(`(?<![.\\w])${one}\\(`).test(code));
    const claims = await run(`import { ${used.join(", ")} } from "nabla";\n${code}`, `hover-${name}`);
    expect(claims.length).toBeGreaterThan(0);
    for (const { expression, actual, expected } of claims) expectNear(actual, expected, expression);
  });
});

/** Compares nested arrays and numbers to three decimals. */
function expectNear(actual: unknown, expected: unknown, what: string): void {
  if (Array.isArray(expected)) {
    expect(actual, what).toHaveLength(expected.length);
    expected.forEach((one, i) => void expectNear((actual as unknown[])[i], one, what));
  } else if (typeof expected === "number") expect(actual, what).toBeCloseTo(expected, 3);
  else expect(actual, what).toBe(expected);
}

test("the generated files match the declarations in src/ops", async () => {
  const { generate } = await import("../../tools/generate.mjs");
  await generate(process.cwd(), { check: true });
});
