/** The random generator: Philox's known answers, statistics, reproducibility, and errors. */
import {
  bernoulli,
  compile,
  manualSeed,
  nn,
  normal,
  ones,
  rand,
  randint,
  randn,
  randomState,
  randperm,
  setRandomState,
  type Tensor,
  tidy,
  uniform,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { engine } from "../../src/runtime/engine.ts";
import { RANDOM_STATE } from "../../src/runtime/heap.ts";

/** The 24 bits that each uniform number is made from. */
const bits = (x: Tensor) => Array.from(x.data, (v) => v * 2 ** 24);
const high = (word: number) => word >>> 8;

describe("randomState and setRandomState", () => {
  test("continue a sequence after other draws", () => {
    manualSeed(2 ** 40 + 3);
    rand([7]);
    const state = randomState();
    const expected = bits(rand([9]));
    manualSeed(1);
    rand([5]);
    setRandomState(Array.from(state));
    expect(bits(rand([9]))).toEqual(expected);
    expect(state).not.toEqual(randomState());
  });
  test("reject other states", () => {
    expect(() => setRandomState([1, 2])).toThrow(
      "setRandomState: state must have 4 numbers, got 2. Pass the result of randomState().",
    );
    expect(() => setRandomState("1234" as unknown as number[])).toThrow(/setRandomState: state must be/);
  });
});

describe("Philox 4×32-10", () => {
  // The known answer is from Random123's kat_vectors.
  test("gives the known answer for counter 0 and key 0", () => {
    manualSeed(0);
    expect(bits(rand([4]))).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8].map(high));
  });
  test("agrees with the reference for a counter and a key of all ones", () => {
    const { heap } = engine();
    heap.u32.set([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], RANDOM_STATE / 4);
    expect(bits(rand([4]))).toEqual(philox([0xffffffff, 0xffffffff, 0, 0], [0xffffffff, 0xffffffff]).map(high));
  });
  test("carries into the upper word of the counter", () => {
    const { heap } = engine();
    heap.u32.set([7, 9, 0xffffffff, 3], RANDOM_STATE / 4);
    const drawn = bits(rand([8]));
    expect(drawn.slice(0, 4)).toEqual(philox([0xffffffff, 3, 0, 0], [7, 9]).map(high));
    expect(drawn.slice(4)).toEqual(philox([0, 4, 0, 0], [7, 9]).map(high));
  });
});

/** Philox as its paper defines it, in BigInt. */
function philox(counter: number[], key: number[]): number[] {
  let [c, k] = [counter.map(BigInt), key.map(BigInt)];
  const mask = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const [p, q] = [c[0]! * 0xd2511f53n, c[2]! * 0xcd9e8d57n];
    c = [(q >> 32n) ^ c[1]! ^ k[0]!, q & mask, (p >> 32n) ^ c[3]! ^ k[1]!, p & mask];
    k = [(k[0]! + 0x9e3779b9n) & mask, (k[1]! + 0xbb67ae85n) & mask];
  }
  return c.map(Number);
}

const N = 100_000;
const moments = (x: Tensor) => tidy(() => ({ mean: x.mean().item(), std: x.std().item() }));

describe("100,000 draws match their distribution within five standard errors", () => {
  test("rand is uniform in [0, 1), and uniform stays in [low, high)", () => {
    manualSeed(1);
    const u = rand([N]);
    expect(Math.abs(moments(u).mean - 0.5)).toBeLessThan((5 * Math.sqrt(1 / 12)) / Math.sqrt(N));
    expect(Math.abs(moments(u).std - Math.sqrt(1 / 12))).toBeLessThan(0.003);
    const v = uniform([N], -3, 5);
    expect(v.min().item()).toBeGreaterThanOrEqual(-3);
    expect(v.max().item()).toBeLessThan(5);
  });
  test("randn has a normal distribution's mean, deviation, skewness, kurtosis and tails", () => {
    manualSeed(2);
    const z = randn([N]);
    expect(Math.abs(moments(z).mean)).toBeLessThan(5 / Math.sqrt(N));
    expect(Math.abs(moments(z).std - 1)).toBeLessThan(5 / Math.sqrt(2 * N));
    expect(Math.abs(z.pow(3).mean().item())).toBeLessThan(5 * Math.sqrt(15 / N));
    expect(Math.abs(z.pow(4).mean().item() - 3)).toBeLessThan(5 * Math.sqrt(96 / N));
    expect(z.abs().gt(1.959964).to("float32").mean().item()).toBeCloseTo(0.05, 2);
    const shifted = normal([N], 10, 0.5);
    expect(moments(shifted).mean).toBeCloseTo(10, 1);
    expect(moments(shifted).std).toBeCloseTo(0.5, 2);
  });
  test("bernoulli: the mean matches the probability, and probabilities 0 and 1 give constant tensors", () => {
    manualSeed(3);
    expect(bernoulli([N], 0.3, 2).mean().item()).toBeCloseTo(0.6, 1);
    expect(bernoulli([1000], 0).sum().item()).toBe(0);
    expect(bernoulli([1000], 1).sum().item()).toBe(1000);
  });
  test("randperm: every number occurs once, and all orders are equally likely", () => {
    manualSeed(5);
    expect(Array.from(randperm(1000).data).sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    const orders = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = tidy(() => randperm(3).data.join());
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(orders.size).toBe(6);
    for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000));
  });
});

/** How many standard deviations χ² is from its mean, for the counts of equally likely classes. */
function chiDeviation(values: ArrayLike<number>, classes: number, classOf: (v: number) => number): number {
  const counts = new Float64Array(classes);
  for (let i = 0; i < values.length; i++) counts[classOf(values[i]!)]!++;
  const expected = values.length / classes;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return Math.abs(chi - (classes - 1)) / Math.sqrt(2 * (classes - 1));
}

describe("randint", () => {
  test.each([
    [0, 2],
    [-2, 5],
    [16777216, 16777226],
    [-2147483648, -2147483638],
    [2147483638, 2147483648],
    [-500, 500],
  ])("every value of %d … %d − 1 is equally likely", (low, high) => {
    manualSeed(4);
    const draws = randint(low, high, [N]);
    expect(draws.dtype).toBe("int32");
    expect(Math.min(...draws.data)).toBe(low);
    expect(Math.max(...draws.data)).toBe(high - 1);
    expect(chiDeviation(draws.data, high - low, (v) => v - low)).toBeLessThan(4);
  });
  test.each([
    [0, 2 ** 31],
    [-(2 ** 31), 2 ** 31],
    [-(2 ** 31), 2 ** 30],
    [0, 3 * 2 ** 29],
    [-(2 ** 31), 1],
  ])("high bits, low bits and thirds of %d … %d − 1 are equally likely", (low, high) => {
    manualSeed(5);
    const { data } = randint(low, high, [N]);
    const range = high - low;
    for (const v of data) if (v < low || v >= high) expect.fail(`${v} is outside the range`);
    for (const classes of [3, 64, 1000])
      expect(chiDeviation(data, classes, (v) => Math.floor(((v - low) / range) * classes))).toBeLessThan(4);
    expect(chiDeviation(data, 128, (v) => v & 127)).toBeLessThan(4);
    expect(chiDeviation(data, 3, (v) => (v - low) % 3)).toBeLessThan(4);
    expect(new Set(data).size).toBeGreaterThan(N - (2 * N * N) / range);
  });
  test("a word is drawn again if its product is biased, as in Lemire's paper", () => {
    manualSeed(0);
    const [low, range] = [-(2 ** 31), 3 * 2 ** 30];
    const biased = 2n ** 32n % BigInt(range);
    const expected = Array.from({ length: 32 }, (_, i) => {
      for (let attempt = 0; ; attempt++) {
        const product = BigInt(philox([i >> 2, 0, attempt, 0], [0, 0])[i % 4]!) * BigInt(range);
        if ((product & 0xffffffffn) >= biased) return low + Number(product >> 32n);
      }
    });
    expect(Array.from(randint(low, low + range, [32]).data)).toEqual(expected);
  });
  test("later draws do not depend on the range", () => {
    const next = (low: number, high: number): number[] => {
      manualSeed(9);
      randint(low, high, [1001]);
      return Array.from(rand([3]).data);
    };
    expect(next(-(2 ** 31), 2 ** 30)).toEqual(next(0, 2));
  });
  test("rejects bounds that are fractional or outside int32, and empty ranges", () => {
    expect(() => randint(0.5, 3.5, [3])).toThrow("randint: low must be a whole number, got 0.5.");
    expect(() => randint(0, 3.5, [3])).toThrow("randint: high must be a whole number, got 3.5.");
    expect(() => randint(Number.NaN, 3, [3])).toThrow(RangeError);
    expect(() => randint(0, Infinity, [3])).toThrow("randint: high must be a whole number, got Infinity.");
    expect(() => randint(0, 2 ** 32, [3])).toThrow(
      "randint: 0 … 4294967295 exceeds the range of int32. Use bounds from −2³¹ to 2³¹.",
    );
    expect(() => randint(-(2 ** 31) - 1, 0, [3])).toThrow("exceeds the range of int32");
    expect(() => randint(3, 3, [3])).toThrow("randint: low must be below high (3), got 3.");
    expect(() => randint(3, -3, [3])).toThrow(RangeError);
    expect(() => randint(10, [3] as unknown as number, [3])).toThrow(
      "randint: high must be a number, got the array [3]. Pass a number.",
    );
  });
});

describe("probabilities", () => {
  test("bernoulli is correct for probabilities far below 2⁻²⁴ and close to 1", () => {
    manualSeed(6);
    const n = 1 << 22;
    // With only 24 random bits, each of these checks would fail about once in 2²⁴ draws.
    expect(bernoulli([n], 1e-12).sum().item()).toBe(0);
    expect(
      bernoulli([n], 2 ** -60)
        .sum()
        .item(),
    ).toBe(0);
    expect(
      bernoulli([n], 1 - 2 ** -50)
        .sum()
        .item(),
    ).toBe(n);
    const rare = bernoulli([n], 1e-5).sum().item();
    expect(Math.abs(rare - n * 1e-5)).toBeLessThan(5 * Math.sqrt(n * 1e-5));
  });
  test("if a word equals the threshold, a second word decides", () => {
    const word = philox([0, 0, 0, 0], [0, 0])[0]!;
    const second = philox([0, 0, 1, 0], [0, 0])[0]!;
    const drawn = (p: number): number => {
      manualSeed(0);
      return bernoulli([1], p).item();
    };
    const at = (extra: number): number => (word + (second + extra) / 2 ** 32) / 2 ** 32;
    expect(drawn(word / 2 ** 32)).toBe(0);
    expect(drawn(at(-(2 ** 20)))).toBe(0);
    expect(drawn(at(2 ** 20))).toBe(1);
    expect(drawn((word + 1) / 2 ** 32)).toBe(1);
  });
  test.each([1 / 3, 0.5, 0.999])("dropout drops elements independently with probability %d", (p) => {
    manualSeed(7);
    const kept = Array.from(new nn.Dropout(p).forward(ones([N])).data, (v) => Number(v !== 0));
    const share = kept.reduce((a, b) => a + b) / N;
    expect(Math.abs(share - (1 - p))).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / N));
    const pairs = kept.filter((v, i) => v && kept[i + 1]).length / N;
    expect(Math.abs(pairs - (1 - p) ** 2)).toBeLessThan(0.01);
  });
  test("rand never reaches 1, uniform never reaches its upper bound, and an interval can be longer than the largest float32", () => {
    manualSeed(8);
    expect(
      rand([1 << 20])
        .max()
        .item(),
    ).toBeLessThan(1);
    expect(
      uniform([1 << 16], 1, 1 + 2 ** -23)
        .max()
        .item(),
    ).toBe(1);
    const wide = uniform([N], -3e38, 3e38);
    for (const v of wide.data) if (!(v >= Math.fround(-3e38) && v < Math.fround(3e38))) expect.fail(`${v}`);
    expect(chiDeviation(wide.data, 10, (v) => Math.floor((v / 6e38 + 0.5) * 10))).toBeLessThan(4);
    expect(Array.from(uniform([3], 2, 2).data)).toEqual([2, 2, 2]);
  });
  test("uniform rejects invalid intervals, and normal rejects invalid standard deviations", () => {
    expect(() => uniform([2], 1, 0)).toThrow("uniform: low must not be above high (0), got 1.");
    expect(() => uniform([2], 0, Infinity)).toThrow("uniform: high must be a finite float32, got Infinity.");
    expect(() => uniform([2], Number.NaN, 1)).toThrow(RangeError);
    expect(() => normal([2], 0, -1)).toThrow("normal: std must be finite and at least 0, got -1.");
    expect(() => normal([2], Number.NaN, 1)).toThrow("normal: mean must be finite, got NaN.");
  });
  test("randperm: each number is equally likely at each position for n > 2¹⁶", () => {
    manualSeed(10);
    const n = 200_000;
    const { data } = randperm(n);
    expect(new Set(data).size).toBe(n);
    // Each class contains a tenth of the positions and a tenth of the values.
    const cells = Array.from(data, (v, i) => 10 * Math.floor((10 * i) / n) + Math.floor((10 * v) / n));
    expect(chiDeviation(cells, 100, (cell) => cell)).toBeLessThan(4);
    expect(chiDeviation(data.slice(0, 1000), 10, (v) => v % 10)).toBeLessThan(4);
  });
});

/** The FNV-1a hash of the elements' bits. */
function hashOf({ data }: Tensor): string {
  let hash = 0x811c9dc5;
  for (const word of new Uint32Array(data.buffer)) hash = Math.imul(hash ^ word, 0x01000193) >>> 0;
  return hash.toString(16);
}

describe("a million draws have these hashes in both builds, in eager and compiled mode", () => {
  const draws: Record<string, [make: () => Tensor, hash: string]> = {
    rand: [() => rand([1_000_000]), "14a30bb0"],
    uniform: [() => uniform([1_000_000], -0.3, 7), "a49e1514"],
    randn: [() => randn([1_000_000]), "51806d37"],
    normal: [() => normal([1_000_001], 3, 0.1), "4ba6ade1"],
    randint: [() => randint(-(2 ** 31), 2 ** 30, [1_000_000]), "b189ce67"],
    bernoulli: [() => bernoulli([1_000_000], 0.3, 2), "d739d2c5"],
    randperm: [() => randperm(1_000_000), "8141c2d9"],
    dropout: [() => new nn.Dropout(0.1).forward(ones([1_000_000])), "404f56b1"],
  };
  test.each(Object.entries(draws))("%s", (_, [make, hash]) => {
    manualSeed(12);
    expect(tidy(() => hashOf(make()))).toBe(hash);
    const compiled = compile(make);
    manualSeed(12);
    expect(hashOf(compiled())).toBe(hash);
    compiled.dispose();
  });
  test("initial values of parameters have these hashes too", () => {
    manualSeed(12);
    expect(hashOf(nn.init.orthogonal(zeros([40, 30])))).toBe("665daba4");
    expect(hashOf(nn.init.kaimingNormal(zeros([400, 300])))).toBe("5f513b6c");
  });
});

describe("seeds", () => {
  test("the same seed gives the same numbers, and the next draw differs", () => {
    manualSeed(42);
    const [a, b] = [randn([5]), randn([5])];
    manualSeed(42);
    expect(randn([5]).toArray()).toEqual(a.toArray());
    expect(a.toArray()).not.toEqual(b.toArray());
  });
  test("seeds that differ only above the low 32 bits give different numbers", () => {
    manualSeed(2 ** 32 + 1);
    const a = rand([3]).toArray();
    manualSeed(1);
    expect(rand([3]).toArray()).not.toEqual(a);
  });
  test("a number depends only on its position: a longer draw starts with the shorter one", () => {
    manualSeed(6);
    const short = Array.from(rand([37]).data);
    manualSeed(6);
    expect(Array.from(rand([5000]).data.slice(0, 37))).toEqual(short);
  });
  test("a seed must be a non-negative integer", () => {
    expect(() => manualSeed(-1)).toThrow("manualSeed: seed must be an integer in 0 … 2⁵³ − 1, got -1.");
    expect(() => manualSeed(0.5)).toThrow(RangeError);
  });
});
