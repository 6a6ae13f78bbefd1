/** The op reference is the table's own words. `npm run vitest -- -u` rewrites it. */
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
