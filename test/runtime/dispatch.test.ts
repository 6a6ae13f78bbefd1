/** The engine traps on instructions whose code has no kernel. */
import { describe, expect, test } from "vitest";
import { Family, Head, Op } from "../../assembly/opcodes.ts";
import { type AnyOp, familyOf } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";
import { type Build, compileBuild, instantiate } from "../../src/runtime/load.ts";

const WORDS = 64;
const AT = 4096;

/** Runs an instruction whose operands are all 1, so it has one element at address 1. */
function run(code: number): void {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
  const { run: start } = instantiate(compileBuild(process.env.NABLA_BUILD as Build), memory);
  const words = new Uint32Array(memory.buffer, AT, WORDS).fill(1);
  words[Head.code] = code;
  words[Head.length] = WORDS;
  start!(AT, 1, 0, 1);
}

const families = new Map<Family, AnyOp[]>();
for (const op of Object.values(table)) families.set(familyOf(op), [...(families.get(familyOf(op)) ?? []), op]);

describe("an instruction traps if its code", () => {
  // Skip StridedCopy, because all ops of this family share one kernel.
  test.each([...families].filter(([family]) => family !== Family.StridedCopy))(
    "follows the last code of family %i",
    (family, ops) => {
      const next = (family << Head.family) | ops.length;
      expect(table).not.toHaveProperty(`${next}`);
      expect(() => run(next)).toThrow(WebAssembly.RuntimeError);
    },
  );

  test.each([0, 1, (families.size + 1) << Head.family, 0xff << Head.family])("belongs to no family: %i", (code) => {
    expect(() => run(code)).toThrow(WebAssembly.RuntimeError);
  });
});

test("an instruction with a valid code does not trap", () => {
  for (const code of [Op.Neg, Op.Add, Op.Less, Op.Sum, Op.OneHot, Op.Sgd]) run(code);
});
