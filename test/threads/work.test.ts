/** Which calls threads share. */
import { dispose, init, zeros } from "nabla";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Op } from "../../assembly/opcodes.ts";
import type { AnyOp } from "../../src/ops/definition/op.ts";
import { encodeShared } from "../../src/ops/definition/work.ts";
import { matmulDefinition, PLAIN_PRODUCT } from "../../src/ops/matrix/matmul.ts";
import { table } from "../../src/ops/table.ts";
import type { Encoder } from "../../src/runtime/encoder.ts";

beforeEach(() => init({ threads: 2 }));
afterEach(() => dispose());

/** The number of shares into which a call is divided. */
function sharesOf(op: AnyOp, inputs: readonly number[][], output: readonly number[], attributes: unknown): number {
  const encoder = { shares: 1 } as Encoder;
  let shares = 0;
  const spy: AnyOp = { ...op, encode: () => (shares = encoder.shares) };
  const [out, ...values] = [output, ...inputs].map((shape) => zeros([...shape]));
  encodeShared(spy, encoder, { inputs: values, outputs: [out!], attributes, address: () => 0 });
  return shares;
}

describe("a product with one row", () => {
  const rowTimes = (k: number, n: number): number =>
    sharesOf(
      matmulDefinition as AnyOp,
      [
        [1, k],
        [n, k],
      ],
      [1, n],
      { ...PLAIN_PRODUCT, transB: true },
    );

  test("is shared if reading the weights takes long, although the arithmetic does not", () => {
    // 295,000 operations take 6 µs, and reading 590 KB takes 29 µs.
    expect(rowTimes(384, 384)).toBe(2);
  });
  test("is not shared if the weights are small", () => {
    expect(rowTimes(128, 128)).toBe(1);
  });
});

test("large products are shared, and short pointwise calls are not", () => {
  expect(
    sharesOf(
      matmulDefinition as AnyOp,
      [
        [256, 256],
        [256, 256],
      ],
      [256, 256],
      PLAIN_PRODUCT,
    ),
  ).toBe(2);
  expect(sharesOf(table[Op.Add] as AnyOp, [[4096], [4096]], [4096], null)).toBe(1);
});
