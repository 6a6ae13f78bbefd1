/** `profile`, which measures a compiled function: the time, FLOPs and bytes of each instruction, and its bound in the roofline model. */

import { inspect } from "node:util";
import {
  compile,
  embedding,
  losses,
  manualSeed,
  nn,
  optim,
  type Profile,
  randint,
  randn,
  scaledDotProductAttention,
  type Tensor,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { Op } from "../../assembly/opcodes.ts";
import { trafficOf } from "../../src/compile/roofline.ts";
import type { Operand, Step } from "../../src/compile/step.ts";
import { table } from "../../src/ops/table.ts";

const profileOf = (f: (...args: Tensor[]) => unknown, ...args: Tensor[]): Profile =>
  compile(f).profile(args, { calls: 2 });
const bytesOf = (f: (...args: Tensor[]) => unknown, ...args: Tensor[]): number[] =>
  profileOf(f, ...args).steps.map(({ bytes }) => bytes);

describe("times", () => {
  const model = new nn.Sequential(new nn.Linear(20, 32), new nn.ReLU(), new nn.Linear(32, 5));
  const optimizer = new optim.Adam(model.parameters());
  const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y)), {
    name: "step",
  });
  const args: [Tensor, Tensor] = [randn([16, 20]), randint(0, 5, [16])];

  test("profile runs the function and reports the share of each instruction", () => {
    const before = model.parameters()[0]!.data;
    const profile = step.profile(args, { calls: 5 });
    expect(model.parameters()[0]!.data).not.toEqual(before);
    expect(profile.steps.map(({ name }) => name)).toEqual(step.explain().steps.map(({ name }) => name));
    expect(profile.steps.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    for (const { microseconds, flops, gflops } of profile.steps) {
      expect(microseconds).toBeGreaterThanOrEqual(0);
      expect(gflops * microseconds * 1000).toBeCloseTo(microseconds > 0 ? flops : 0, 3);
    }
    expect(profile.ceiling).toBeGreaterThan(1);
  });
  test("the table has a line for each instruction, the slowest first, and the FLOPs of a call", () => {
    const profile = step.profile(args, { calls: 5 });
    const [title, head, ...rows] = String(profile).split("\n");
    expect(title).toMatch(
      /^step: median of 5 calls: \S+ .?s, \S+ kFLOP at \S+ GFLOP\/s, \S+ % of the ceiling of \d+\.\d$/,
    );
    expect(head!.split(/ {2,}/)).toEqual([
      "instruction",
      "shapes",
      "µs",
      "share",
      "GFLOP/s",
      "GB/s",
      "bound",
      "of bound",
    ]);
    expect(rows).toHaveLength(profile.steps.length);
    const slowest = profile.steps.reduce((a, b) => (b.microseconds > a.microseconds ? b : a));
    expect(rows[0]).toContain(slowest.name);
    expect(inspect(profile)).toBe(String(profile));
  });
  test('groupBy: "op" joins the instructions of each op', () => {
    const profile = step.profile(args, { calls: 5, groupBy: "op" });
    const product = profile.steps.find(({ name }) => name === "matmul")!;
    // Forward twice, one input gradient, and two weight gradients.
    expect(product).toMatchObject({ shapes: "5 instructions", flops: profile.flops });
    const { steps } = step.explain();
    expect(profile.steps.reduce((sum, { shapes }) => sum + Number.parseInt(shapes, 10), 0)).toBe(steps.length);
    expect(profile.steps.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    expect(new Set(profile.steps.map(({ name }) => name)).size).toBe(profile.steps.length);
    expect(String(profile)).toMatch(/^matmul +5 instructions +\d/m);
  });
  test("profile rejects options that are out of range", () => {
    expect(() => step.profile(args, { calls: 0 })).toThrow("profile: calls must be a whole number above 0, got 0.");
    expect(() => step.profile(args, { groupBy: "ops" as "op" })).toThrow(
      'profile: groupBy must be one of instruction, op, got "ops". Did you mean "op"?',
    );
  });
  test("profile and calls give the same bits", () => {
    const run = (profiled: boolean): number[] => {
      manualSeed(3);
      const net = new nn.Linear(4, 2);
      const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
      const own = compile((x: Tensor) => sgd.minimize(() => net.forward(x).square().mean()));
      const x = randn([3, 4]);
      if (profiled) own.profile([x], { calls: 3 });
      else for (let i = 0; i < 6; i++) own(x);
      return Array.from(net.parameters()[0]!.data);
    };
    expect(run(true)).toEqual(run(false));
  });
});

describe("FLOPs", () => {
  test("only products count, and the first layer has no input gradient", () => {
    const model = new nn.Sequential(new nn.Linear(20, 32), new nn.GELU(), new nn.Linear(32, 5));
    const optimizer = new optim.Adam(model.parameters());
    const step = (x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y));
    const [first, second] = [2 * 16 * 20 * 32, 2 * 16 * 32 * 5];
    const profile = profileOf(step as (...args: Tensor[]) => Tensor, randn([16, 20]), randint(0, 5, [16]));
    expect(profile.flops).toBe(2 * first + 3 * second);
    for (const { name, flops } of profile.steps) expect(flops > 0, name).toBe(name.startsWith("matmul"));
  });
  test("causal attention counts the keys up to each query's position", () => {
    const [batch, heads, t, d] = [2, 3, 10, 8];
    const x = randn([batch, heads, t, d]);
    const pairs = { full: batch * heads * t * t, causal: (batch * heads * t * (t + 1)) / 2 };
    const attend = (isCausal: boolean) => (q: Tensor) => scaledDotProductAttention(q, q, q, { isCausal });
    expect(profileOf(attend(false), x).flops).toBe(2 * 2 * d * pairs.full);
    expect(profileOf(attend(true), x).flops).toBe(2 * 2 * d * pairs.causal);
    const w = nn.parameter(randn([d]));
    const optimizer = new optim.SGD([w], { lr: 0.1 });
    const train = (q: Tensor) => optimizer.minimize(() => attend(true)(q.mul(w)).sum());
    // The gradient computes the scores again, and then dP, dV, dQ and dK.
    expect(profileOf(train as (...args: Tensor[]) => Tensor, x).flops).toBe((2 + 5) * 2 * d * pairs.causal);
  });
  test("a recurrence without an initial state has no product in its first step", () => {
    const [inputs, hidden, steps, batch] = [3, 8, 5, 2];
    const lstm = new nn.LSTM(inputs, hidden);
    const x = randn([steps, batch, inputs]);
    const input = 2 * batch * 4 * hidden * inputs * steps;
    const state = 2 * batch * 4 * hidden * hidden;
    expect(profileOf((own) => lstm.forward(own)[0], x).flops).toBe(input + (steps - 1) * state);
    const h = zeros([1, batch, hidden]);
    expect(profileOf((own, h0) => lstm.forward(own, [h0!, h0!])[0], x, h).flops).toBe(input + steps * state);
  });
  test("convolutions count every tap of the kernel for each pixel, divided among groups", () => {
    const x = randn([2, 8, 8, 6]);
    const conv = new nn.Conv2d(6, 12, 3, { padding: 1, groups: 3 });
    expect(profileOf((own) => conv.forward(own), x).flops).toBe(2 * 2 * 8 * 8 * 12 * 9 * 2);
  });
});

describe("bytes", () => {
  const n = 96;
  test("each operand counts once", () => {
    expect(bytesOf((x, y) => x!.add(y!), randn([n]), randn([n]))).toEqual([3 * 4 * n]);
    expect(bytesOf((x) => x!.mul(x!), randn([n]))).toEqual([2 * 4 * n]);
    expect(bytesOf((x) => x!.gt(0), randn([n]))).toEqual([5 * n + 4]);
  });
  test("a copy reads no more than it writes", () => {
    const rows = randint(0, 1000, [7]);
    expect(bytesOf((i, w) => embedding(i!, w!), rows, randn([1000, n]))[0]).toBe(7 * 4 + 2 * 7 * 4 * n);
    expect(bytesOf((x) => x!.narrow(0, 10, 5).mul(1), randn([1000, n]))[0]).toBe(2 * 5 * 4 * n);
  });
  test("an update reads and writes the parameter and the state, and reads the gradient", () => {
    const w = nn.parameter(randn([n]));
    const optimizer = new optim.Adam([w]);
    const step = (x: Tensor) => optimizer.minimize(() => x.mul(w).sum());
    const update = profileOf(step as (...args: Tensor[]) => Tensor, randn([n])).steps.find(
      ({ name }) => name === "Adam",
    )!;
    // The other 8 bytes are the learning rate and the step count.
    expect(update.bytes).toBe(7 * 4 * n + 8);
  });
  test("an assignment reads only the new values", () => {
    const state = zeros([n]).keep();
    const assign = profileOf((x) => void state.copyFrom(x!), randn([n])).steps.find(({ name }) => name === "copyFrom")!;
    expect(assign.bytes).toBe(2 * 4 * n);
  });
  test("the distance of a read is the traffic since the previous use of the data, in this call or the last", () => {
    const operand = (size: number) =>
      ({ shape: [size], dtype: "float32", size, storage: { bytes: 4 * size } }) as unknown as Operand;
    const add = (a: Operand, b: Operand, out: Operand) =>
      ({ op: table[Op.Add], inputs: [a, b], outputs: [out], attributes: null, site: "" }) as unknown as Step;
    const [x, y, z, u, v] = [operand(10), operand(10), operand(10), operand(10), operand(10)];
    const distances: number[] = [];
    const traffic = trafficOf([add(x, y, z), add(z, u, v), add(x, v, y)], (distance) => {
      distances.push(distance);
      return distance;
    });
    // Each step reads 80 bytes and writes 40. A step asks first for the bandwidth of its writes, and then of its reads.
    expect(distances.slice(9)).toEqual([
      // x and y: last used by step 3 of the previous call.
      ...[120, 120, 120],
      // z: written by step 1. u: read by step 2 of the previous call.
      ...[120, 120, 360],
      // x: read by step 1. v: written by step 2.
      ...[120, 240, 120],
    ]);
    expect(traffic.map(({ bytes }) => bytes)).toEqual([120, 120, 120]);
    expect(traffic[1]!.time).toBeCloseTo(40 / 120 + 40 / 120 + 40 / 360, 12);
  });
});

describe("bounds", () => {
  test("large products are bound by arithmetic, sums of large vectors by memory", () => {
    const [product] = profileOf((a, b) => a!.matmul(b!), randn([256, 256]), randn([256, 256])).steps;
    expect(product!.bound).toBe("compute");
    expect(product!.ofBound).toBeGreaterThan(0);
    const [sum] = profileOf((a, b) => a!.add(b!), randn([1 << 16]), randn([1 << 16])).steps;
    expect(sum!.bound).toBe("memory");
    expect(sum!.ofBound).toBeGreaterThan(0);
  });
  test("a share of the compute bound is the rate divided by the ceiling", () => {
    const profile = profileOf((a, b) => a!.matmul(b!), randn([256, 256]), randn([256, 256]));
    const [{ ofBound, gflops }] = profile.steps as [Profile["steps"][0]];
    expect(ofBound).toBeCloseTo(gflops / profile.ceiling, 9);
  });
});
