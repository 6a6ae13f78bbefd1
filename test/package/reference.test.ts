/** The op reference is the table's own words. `npm run vitest -- -u` writes it anew. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { AnyOp } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";

test("src/ops/REFERENCE.md says what the op table says", async () => {
  const rows = (Object.values(table) as AnyOp[]).map((op) => {
    const gradient = op.mutates ? "in place" : op.vjp ? "any order" : "none";
    return `| \`${op.name}\` | ${op.doc.replaceAll("|", "\\|")} | ${gradient} |`;
  });
  const text = [
    "# Op reference",
    "",
    "Written from the op table (`table.ts`) by the tests. Names ending in `Grad` are derivative kernels. `≤ n ulp` bounds the error",
    "over all of float32, in both builds, in spacings of float32 at the exact result (test/ops/accuracy.test.ts).",
    "",
    "| op | what it computes, and its derivative | gradients |",
    "|---|---|---|",
    ...rows,
    "",
  ].join("\n");
  await expect(text).toMatchFileSnapshot("../../src/ops/REFERENCE.md");
});

test("the README names every experiment of the lab, and functions that there are", async () => {
  const readme = readFileSync("README.md", "utf8");
  const { experiments } = await import("../../lab/experiments/index.ts");
  for (const { name, functions } of experiments) {
    expect(readme).toContain(`[\`${name}\`](lab/experiments/${name}.ts)`);
    for (const f of functions) expect(readme, `${name} shows ${f}`).toContain(`\`${f}\``);
  }
  const face = Object.keys(await import("nabla/gradients"));
  const table = readme.slice(readme.indexOf("| the article's section"), readme.indexOf("Per-sample gradients take"));
  const named = Array.from(table.matchAll(/`(\w+)`(?!\])/g), ([, name]) => name!).filter(
    (name) => !/^nabla/.test(name),
  );
  expect(named.length).toBeGreaterThan(60);
  for (const name of named) if (!experiments.some((e) => e.name === name)) expect(face).toContain(name);
});
