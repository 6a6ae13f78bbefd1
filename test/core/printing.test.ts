/** Printing tensors and amounts: integers keep all digits, and zeros keep their sign. */
import { grad, ones, type Tensor, tensor, zeros } from "nabla";
import { gradcheck } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import { showNumber } from "../../lab/experiment.ts";
import { amount } from "../../src/core/printing.ts";

const int = (values: number | number[]): Tensor => tensor(values, { dtype: "int32" });

describe("a tensor prints whole numbers exactly", () => {
  test.each([
    [[128256], "tensor([128256], int32)"],
    [[-2147483648, 2147483647, 0], "tensor([-2147483648, 2147483647, 0], int32)"],
    [[16777217, 1234567], "tensor([16777217, 1234567], int32)"],
  ])("int32 %j", (values, text) => {
    expect(String(int(values))).toBe(text);
  });
  test.each([
    [525076, "525076"],
    [1234567, "1234567"],
    [-16777214, "-16777214"],
    [123456792, "123456792"],
    [2 ** 53, "9007199254740992"],
    [100000, "100000"],
  ])("float32 %d", (value, text) => {
    expect(String(tensor(value))).toBe(`tensor(${text})`);
  });
  test("in uint8 and bool tensors, sums and gradients", () => {
    expect(String(tensor(Uint8Array.of(0, 255)))).toBe("tensor([0, 255], uint8)");
    expect(String(tensor([true, false]))).toBe("tensor([true, false], bool)");
    expect(String(ones([525076]).sum())).toBe("tensor(525076)");
    expect(String(grad((x: Tensor) => x.mul(123457).sum())(tensor([1, 2])))).toBe("tensor([123457, 123457])");
  });
  test("in nested and abbreviated tensors, in scalars, and in the result of toArray", () => {
    const nested = int([128256, 1, 2, 3]).reshape([2, 2]);
    expect(String(nested)).toBe("tensor([[128256, 1],\n        [2, 3]], int32)");
    expect(nested.toArray()).toEqual([
      [128256, 1],
      [2, 3],
    ]);
    const long = zeros([2000], { dtype: "int32" }).add(int(987654321));
    expect(String(long)).toBe(
      "tensor([987654321, 987654321, 987654321, …, 987654321, 987654321, 987654321], shape [2000], int32)",
    );
    expect(String(int(-1000001))).toBe("tensor(-1000001, int32)");
  });
});

describe("a tensor prints fractions and large numbers", () => {
  test.each([
    [-0, "-0"],
    [0, "0"],
    [Number.NaN, "NaN"],
    [Infinity, "Infinity"],
    [-Infinity, "-Infinity"],
    [1 / 3, "0.33333"],
    [2.5, "2.5"],
    [1e-8, "1e-8"],
    [1e-45, "1.4013e-45"],
    [12345.6789, "12345.7"],
    [123456.7, "123456.7"],
    [8388607.5, "8388607.5"],
    [-99999.5, "-99999.5"],
    [1e20, "1e+20"],
    [3.4028234663852886e38, "3.4028e+38"],
    [1e16, "1e+16"],
  ])("%d as %s", (value, text) => {
    expect(String(tensor([value, 1]))).toBe(`tensor([${text}, 1])`);
  });
  test("a product of a negative number and zero is printed as -0", () => {
    expect(String(tensor([-1, 1]).mul(0))).toBe("tensor([-0, 0])");
    expect(tensor([-1]).mul(0).toArray()).toEqual([-0]);
  });
  test("the format of an element does not depend on the other elements", () => {
    expect(String(tensor([1e-8, 128256, 0.1, 1e30]))).toBe("tensor([1e-8, 128256, 0.1, 1e+30])");
  });
});

test.each([
  [0, "0"],
  [1, "1"],
  [999, "999"],
  [999.7, "1.00 k"],
  [1000, "1 k"],
  [1234567, "1.23 M"],
  [999999, "1.00 M"],
  [128256000, "128 M"],
  [0.0009999, "1.00 m"],
  [5e15, "5000 T"],
  [1234.5e12, "1235 T"],
  [Infinity, "Infinity"],
  [Number.NaN, "NaN"],
])("an amount of %d prints as %s", (value, text) => {
  expect(amount(value)).toBe(text);
});

test.each([
  [128256, "128256"],
  [999999, "999999"],
  [1234567, "1.235e6"],
  [12345.678, "12350"],
  [0.000123456, "1.235e-4"],
])("the lab shows %d as %s", (value, text) => {
  expect(showNumber(value)).toBe(text);
});

test("gradcheck's message shows all digits of large derivatives", () => {
  const wrong = (x: Tensor): Tensor => x.detach().mul(128256).sum().add(x.mul(2).sum());
  expect(() => gradcheck(wrong, [tensor([1])])).toThrow(/differences give 12825\d/);
});
