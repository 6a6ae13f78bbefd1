/**
 * Programs load only the parts of the kernels that their ops need. An op must work with the base and the part that its family names in
 * assembly/opcodes.ts, and without the other parts.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dispose, init, manualSeed, nn, randn, tidy } from "nabla";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { Family, Op } from "../../assembly/opcodes.ts";
import { type AnyOp, applyAll, familyOf } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";
import type { Build } from "../../src/runtime/load.ts";
import { cases } from "../support/cases.ts";

const PARTS = readdirSync("src/runtime/parts").map((file) => file.replace(".ts", ""));
/** The families in their order; the first is 1. */
const families = /enum Family \{([\s\S]*?)\}/.exec(readFileSync("assembly/opcodes.ts", "utf8"))![1]!;
const partsOfFamilies = Array.from(families.matchAll(/^ {2}\w+.*,(?: \/\/ part (\w+))?/gm), ([, part]) => part ?? "");
const partOf = (op: AnyOp): string => partsOfFamilies[(familyOf(op) satisfies Family) - 1]!;
const ops = Object.entries(table).map(([code, op]) => [Number(code) as Op, op as AnyOp] as const);

/** Runs layers on a random input, and computes their gradients. */
const train = (shape: number[], ...layers: nn.Module[]): void => {
  new nn.Sequential(...layers)
    .forward(randn(shape, { requiresGrad: true }))
    .sum()
    .backward();
};
/** Calls that need a part: those of support/cases.ts, and layers. */
const CALLS: Record<string, (() => void)[]> = {
  "": [() => train([5, 3], new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 1))],
  image: [
    () => train([2, 12, 12, 2], new nn.Conv2d(2, 4, 3), new nn.MaxPool2d(2)),
    () => train([2, 12, 12, 4], new nn.Conv2d(4, 4, 3, { groups: 4 }), new nn.AvgPool2d(2)),
    () => train([2, 12, 12, 8], new nn.Conv2d(8, 8, 3, { padding: 1 }), new nn.ConvTranspose2d(8, 2, 3, { stride: 2 })),
    () => train([1, 4, 4, 2], new nn.Upsample({ scaleFactor: 2, mode: "bilinear" })),
  ],
  norm: [
    () => train([5, 8], new nn.LayerNorm(8)),
    () => train([70, 300], new nn.BatchNorm1d(300)),
    () => train([2, 4, 4, 8], new nn.GroupNorm(2, 8), new nn.BatchNorm2d(8)),
  ],
};

/** Starts nabla with the base of the kernels and one part; "" stands for no part. */
async function start(part: string): Promise<void> {
  vi.resetModules();
  const { addPart, decodeBuild } = await import("../../src/runtime/load.ts");
  if (part) {
    const text = async (build: Build): Promise<string> =>
      ((await import(`../../src/runtime/binaries/${part}/${build}.ts`)) as { default: string }).default;
    addPart({ simd: await text("simd"), relaxed: await text("relaxed") });
  }
  const module = new WebAssembly.Module(decodeBuild(process.env.NABLA_BUILD as Build));
  await dispose();
  await init({ module });
}

/** The calls that need a part, with their names. */
function callsOf(part: string): [string, () => void][] {
  const own = ops.filter(([, op]) => partOf(op) === part);
  const calls: [string, () => void][] = (CALLS[part] ?? []).map((call, i) => [`call ${i}`, call]);
  for (const [code, op] of own)
    if (tidy(() => cases(code).length))
      calls.push([op.name, () => cases(code).map(({ inputs, attributes }) => applyAll(op, inputs, attributes))]);
  return calls;
}

afterAll(dispose);

test("every part is named by a family", () => {
  expect(new Set(partsOfFamilies)).toEqual(new Set(["", ...PARTS]));
});

describe.each(["", ...PARTS])('with the base and part "%s"', (part) => {
  test("all ops that need nothing else run", async () => {
    const calls = callsOf(part);
    expect(calls.length).toBeGreaterThan(1);
    await start(part);
    manualSeed(3);
    for (const [name, call] of calls) expect(() => tidy(call), name).not.toThrow();
  });

  test.skipIf(!part)("the same ops trap without the part", async () => {
    const calls = callsOf(part);
    await start("");
    for (const [name, call] of calls) expect(() => tidy(call), name).toThrow(WebAssembly.RuntimeError);
  });
});
