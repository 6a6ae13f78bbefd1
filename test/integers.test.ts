/** Ops of one operand keep int32, exactly over all of it; uint8 and bool become int32. */
import { compile, tensor } from "nabla";
import { describe, expect, test } from "vitest";

const [least, most] = [-2147483648, 2147483647];
const values = [0, 1, -1, 7, -7, 16777217, -16777217, 123456789, most, -most, least];
const x = () => tensor(Int32Array.from(values));
const wrapped = (v: number): number => v | 0;

const ops = {
  neg: (v: number) => wrapped(-v),
  abs: (v: number) => wrapped(Math.abs(v)),
  sign: Math.sign,
  square: (v: number) => Math.imul(v, v),
  floor: (v: number) => v,
  ceil: (v: number) => v,
  round: (v: number) => v,
  relu: (v: number) => Math.max(v, 0),
};

describe("int32 stays int32 and exact, modulo 2³², eager and compiled", () => {
  test.each(Object.entries(ops))("%s", (name, reference) => {
    const f = (t: ReturnType<typeof x>) => t[name as keyof typeof ops]();
    const compiled = compile((t: ReturnType<typeof x>) => f(t).add(0));
    for (const y of [f(x()), compiled(x())]) {
      expect(y.dtype).toBe("int32");
      expect(Array.from(y.data)).toEqual(values.map((v) => reference(v) + 0));
    }
    expect(f(tensor(Uint8Array.of(200, 3))).toArray()).toEqual([200, 3].map((v) => reference(v)));
    expect(f(tensor([true, false])).dtype).toBe("int32");
  });
  test("clamp, with whole bounds, one bound or none", () => {
    expect(x().clamp(-7, 16777217).toArray()).toEqual(values.map((v) => Math.min(16777217, Math.max(-7, v))));
    expect(x().clamp(undefined, 5).toArray()).toEqual(values.map((v) => Math.min(5, v)));
    expect(x().clamp(16777217).toArray()).toEqual(values.map((v) => Math.max(16777217, v)));
    expect(x().clamp().toArray()).toEqual(values);
    expect(x().clamp(5, -5).toArray()).toEqual(values.map(() => -5));
    expect(x().clamp(-1, 1).dtype).toBe("int32");
  });
});

test("bounds that are not whole, or leave int32, and ops whose results are not whole give float32", () => {
  expect(x().clamp(-0.5, 0.5).dtype).toBe("float32");
  expect(x().clamp(-0.5, 0.5).toArray()).toEqual(values.map((v) => Math.min(0.5, Math.max(-0.5, v))));
  expect(x().clamp(0, 3e9).dtype).toBe("float32");
  for (const op of ["sqrt", "exp", "reciprocal", "sigmoid", "leakyRelu"] as const)
    expect(tensor(Int32Array.of(1, 2))[op]().dtype, op).toBe("float32");
});
