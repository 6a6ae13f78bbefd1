/** The generator against Philox's known answers, its statistics, and its independence of how work is cut. */
import { bernoulli, manualSeed, normal, rand, randint, randn, randperm, type Tensor, tidy, uniform } from "nabla";
import { describe, expect, test } from "vitest";
import { engine } from "../src/runtime/engine.ts";
import { RANDOM_STATE } from "../src/runtime/heap.ts";

/** The 24 high bits that a uniform number is made of. */
const bits = (x: Tensor) => Array.from(x.data, (v) => v * 2 ** 24);
const high = (word: number) => word >>> 8;

describe("Philox 4×32-10", () => {
  // Random123's kat_vectors: counter, key → output.
  test("the known answer for counter 0, key 0", () => {
    manualSeed(0);
    expect(bits(rand([4]))).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8].map(high));
  });
  test("the known answer for a counter and key of all ones (its upper half being zero here) is reached by its own formula", () => {
    const { heap } = engine();
    heap.u32.set([0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], RANDOM_STATE / 4);
    expect(bits(rand([4]))).toEqual(philox([0xffffffff, 0xffffffff, 0, 0], [0xffffffff, 0xffffffff]).map(high));
  });
  test("the counter carries into its upper word", () => {
    const { heap } = engine();
    heap.u32.set([7, 9, 0xffffffff, 3], RANDOM_STATE / 4);
    const drawn = bits(rand([8]));
    expect(drawn.slice(0, 4)).toEqual(philox([0xffffffff, 3, 0, 0], [7, 9]).map(high));
    expect(drawn.slice(4)).toEqual(philox([0, 4, 0, 0], [7, 9]).map(high));
  });
});

/** The cipher as its paper writes it, in BigInt. */
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

describe("distributions, 100,000 draws within five standard errors", () => {
  test("uniform in [0, 1) and in [low, high)", () => {
    manualSeed(1);
    const u = rand([N]);
    expect(Math.abs(moments(u).mean - 0.5)).toBeLessThan((5 * Math.sqrt(1 / 12)) / Math.sqrt(N));
    expect(Math.abs(moments(u).std - Math.sqrt(1 / 12))).toBeLessThan(0.003);
    const v = uniform([N], -3, 5);
    expect(v.min().item()).toBeGreaterThanOrEqual(-3);
    expect(v.max().item()).toBeLessThan(5);
  });
  test("normal: mean, deviation, skewness, kurtosis, tails", () => {
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
  test("bernoulli: the probability, and certainty at 0 and 1", () => {
    manualSeed(3);
    expect(bernoulli([N], 0.3, 2).mean().item()).toBeCloseTo(0.6, 1);
    expect(bernoulli([1000], 0).sum().item()).toBe(0);
    expect(bernoulli([1000], 1).sum().item()).toBe(1000);
  });
  test("randint covers its range evenly", () => {
    manualSeed(4);
    const counts = new Array<number>(7).fill(0);
    for (const v of randint(-2, 5, [N]).data) counts[v + 2]!++;
    for (const count of counts) expect(Math.abs(count - N / 7)).toBeLessThan(5 * Math.sqrt(N / 7));
  });
  test("randperm: every number once, every order equally often", () => {
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

describe("seeds", () => {
  test("the same seed gives the same numbers; the next draw differs", () => {
    manualSeed(42);
    const [a, b] = [randn([5]), randn([5])];
    manualSeed(42);
    expect(randn([5]).toArray()).toEqual(a.toArray());
    expect(a.toArray()).not.toEqual(b.toArray());
  });
  test("seeds beyond 32 bits count", () => {
    manualSeed(2 ** 32 + 1);
    const a = rand([3]).toArray();
    manualSeed(1);
    expect(rand([3]).toArray()).not.toEqual(a);
  });
  test("numbers depend on their place alone: a longer draw begins with the shorter one", () => {
    manualSeed(6);
    const short = Array.from(rand([37]).data);
    manualSeed(6);
    expect(Array.from(rand([5000]).data.slice(0, 37))).toEqual(short);
  });
  test("a seed must be a whole number from 0", () => {
    expect(() => manualSeed(-1)).toThrow("manualSeed: -1 is not an integer in 0 … 2⁵³ − 1.");
    expect(() => manualSeed(0.5)).toThrow(RangeError);
  });
});
