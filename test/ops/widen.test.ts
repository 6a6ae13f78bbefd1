/** Weights of low precision: widened exactly, and products with the bits of the float32 product. */
import { linear, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { WeightFormat } from "../../assembly/opcodes.ts";
import { type HalfType, toHalves } from "../../src/core/half.ts";
import { type NarrowMatrix, widen, widenedLinear } from "../../src/ops/matrix/widen.ts";
import { seeded } from "../support/oracle.ts";

const kinds = {
  int8: WeightFormat.Int8,
  int4: WeightFormat.Int4,
  float16: WeightFormat.Float16,
  bfloat16: WeightFormat.BFloat16,
};
type Kind = keyof typeof kinds;
const names = Object.keys(kinds) as Kind[];
const { fround: f } = Math;

/** A finite number from the bits of a 16-bit format. */
function fromHalf(bits: number, type: HalfType): number {
  const [fraction, bias] = type === "float16" ? [10, 15] : ([7, 127] as const);
  const exponent = (bits & 0x7fff) >> fraction;
  const part = bits & (2 ** fraction - 1);
  const size = (exponent ? 2 ** fraction + part : part) * 2 ** (Math.max(exponent, 1) - bias - fraction);
  return bits & 0x8000 ? -size : size;
}

interface Random {
  readonly matrix: NarrowMatrix;
  /** The numbers, computed in float64 and rounded to float32. */
  readonly values: number[];
}

function random(kind: Kind, n: number, k: number, seed: number): Random {
  const draw = seeded(seed);
  const list = (length: number, make: (i: number) => number): number[] => Array.from({ length }, (_, i) => make(i));
  const groups = Math.ceil(k / 32);
  const isHalf = kind === "float16" || kind === "bfloat16";
  const scales = list(kind === "int4" ? n * groups : n, () => f(draw() - 0.5));
  const row = { int8: k, int4: 16 * groups, float16: 2 * k, bfloat16: 2 * k }[kind];
  let bytes = Uint8Array.from(list(n * row, () => Math.floor(256 * draw())));
  if (isHalf)
    bytes = toHalves(Float32Array.from(list(n * k, () => draw() - 0.5)), kind, (x) => new Error(`${x} is too large`));
  const halves = new Uint16Array(bytes.buffer.slice(0, bytes.length & ~1));
  const values = list(n * k, (at) => {
    const [i, j] = [Math.floor(at / k), at % k];
    if (isHalf) return fromHalf(halves[at]!, kind);
    if (kind === "int8") return f((bytes[at]! - 128) * scales[i]!);
    const [group, place] = [Math.floor(j / 32), j % 32];
    const byte = bytes[i * row + 16 * group + (place % 16)]!;
    return f((((place < 16 ? byte : byte >> 4) & 15) - 8) * scales[i * groups + group]!);
  });
  const scale = isHalf ? null : tensor(scales, kind === "int4" ? [n, groups] : [n]);
  return { matrix: { weight: tensor(bytes, [n, row]), scale, kind: kinds[kind] }, values };
}

const bits = (x: unknown): number[] => Array.from(new Int32Array((x as Tensor).data.buffer));

describe.each(names)("%s", (kind) => {
  test("is widened exactly", () => {
    for (const n of [1, 3, 70])
      for (const k of [1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 65])
        tidy(() => {
          const { matrix, values } = random(kind, n, k, n + k);
          expect(Array.from((widen(matrix, [n, k]) as Tensor).data)).toEqual(values);
        });
  });

  test("a product has the bits of the float32 product, for sizes around the steps of the kernel", () => {
    let seed = 1;
    for (const m of [0, 1, 2, 3, 9, 12, 13, 40])
      for (const n of [1, 5, 16, 31, 33, 70])
        for (const k of [1, 4, 7, 8, 9, 31, 33, 100, ...(n === 5 ? [1024, 1029, 2100] : [])])
          tidy(() => {
            const { matrix, values } = random(kind, n, k, seed++);
            const draw = seeded(seed);
            const list = (length: number): number[] => Array.from({ length }, () => f(2 * draw() - 1));
            const [x, bias] = [tensor(list(m * k), [m, k]), seed % 2 ? tensor(list(n)) : null];
            const expected = linear(x, tensor(values, [n, k]), bias);
            const y = widenedLinear("test", x, matrix, k, bias, [0, n]);
            expect(bits(y)).toEqual(bits(expected));
          });
  });

  test("a product with some of the rows", () => {
    for (const m of [1, 20])
      tidy(() => {
        const { matrix, values } = random(kind, 40, 50, 3);
        const x = tensor(random("int8", m, 50, 2).values, [m, 50]);
        const bias = tensor(random("int8", 1, 40, 2).values);
        const rows = tensor(values, [40, 50]).narrow(0, 7, 20);
        const y = widenedLinear("test", x, matrix, 50, bias, [7, 20]);
        expect(bits(y)).toEqual(bits(linear(x, rows, bias.narrow(0, 7, 20))));
      });
  });

  test("a product of vectors and batches, NaN and infinities, and a wrong size", () => {
    tidy(() => {
      const { matrix, values } = random(kind, 6, 19, 5);
      const w = tensor(values, [6, 19]);
      const row = Array.from({ length: 19 }, (_, i) => i - 9);
      const product = (x: Tensor): Tensor => widenedLinear("test", x, matrix, 19, null, [0, 6]) as Tensor;
      expect(product(tensor(row)).shape).toEqual([6]);
      expect(product(tensor(new Float32Array(76), [2, 2, 19])).shape).toEqual([2, 2, 6]);
      for (const flaw of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const x = tensor([[...row.slice(1), flaw], row]);
        expect(Array.from(product(x).data)).toEqual(Array.from(linear(x, w).data));
      }
      expect(() => product(tensor([1, 2]))).toThrow(
        "test: [2] does not fit the weight [6, 19]: the last size must be 19.",
      );
    });
  });
});

describe.each(["float16", "bfloat16"] as const)("%s", (type) => {
  const tooLarge = (x: number): Error => new Error(`${x} is too large`);
  const round = (values: readonly number[]): number[] =>
    Array.from(new Uint16Array(toHalves(Float32Array.from(values), type, tooLarge).buffer));
  const infinity = type === "float16" ? 0x7c00 : 0x7f80;
  /** The bits of all finite numbers that are not negative, in ascending order. */
  const finite = Array.from({ length: infinity }, (_, i) => i);

  test("every number is its own nearest number, and the kernel widens it exactly", () => {
    const all = [...finite, ...finite.map((i) => i | 0x8000)];
    const values = all.map((i) => (i === 0x8000 ? -0 : fromHalf(i, type)));
    expect(round(values)).toEqual(all);
    tidy(() => {
      const bytes = new Uint8Array(Uint16Array.from(all).buffer);
      const matrix = { weight: tensor(bytes, [1, bytes.length]), scale: null, kind: kinds[type] };
      const y = widen(matrix, [1, all.length]) as Tensor;
      expect(bits(y)).toEqual(Array.from(new Int32Array(Float32Array.from(values).buffer)));
    });
    expect(round([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])).toEqual([infinity, infinity | 0x8000]);
  });
  test("between all neighbors, rounds to the nearest number, and halves to the even one", () => {
    /** A neighbor of x in float32. */
    const next = (x: number, by: number): number => {
      const word = new Int32Array(Float32Array.of(x).buffer);
      word[0]! += by;
      return new Float32Array(word.buffer)[0]!;
    };
    const lower = finite.slice(0, -1);
    const middle = lower.map((i) => (fromHalf(i, type) + fromHalf(i + 1, type)) / 2);
    for (const sign of [1, -1]) {
      const signed = (i: number): number => (sign < 0 ? i | 0x8000 : i);
      const rounded = (by: number): number[] => round(middle.map((x) => sign * next(x, by)));
      expect(rounded(0)).toEqual(lower.map((i) => signed(i + (i & 1))));
      expect(rounded(-1)).toEqual(lower.map(signed));
      expect(rounded(1)).toEqual(lower.map((i) => signed(i + 1)));
    }
  });
  test("throws if a finite number would become infinite", () => {
    const middle = type === "float16" ? 65_520 : (fromHalf(infinity - 1, type) + 2 ** 128) / 2;
    expect(round([middle * (1 - 2 ** -23)])).toEqual([infinity - 1]);
    for (const x of [middle, -middle, 3.4028234663852886e38]) expect(() => round([1, x])).toThrow(`${x} is too large`);
  });
  test("NaN has one form, for either sign and every payload", () => {
    const words = Uint32Array.of(0x7f800001, 0x7fffffff, 0xff800001, 0xffc00000);
    const halves = new Uint16Array(toHalves(new Float32Array(words.buffer), type, tooLarge).buffer);
    expect(Array.from(halves)).toEqual(new Array(4).fill(infinity | (infinity >> 1)));
  });
  test("numbers smaller than half of the smallest become 0 with their sign", () => {
    const smallest = fromHalf(1, type);
    const tiny = type === "float16" ? [smallest / 2, -smallest / 2, -1e-30] : [0, -smallest / 2, -(2 ** -149)];
    expect(round(tiny)).toEqual([0, 0x8000, 0x8000]);
    expect(round([smallest, 0.75 * smallest])).toEqual([1, 1]);
  });
});
