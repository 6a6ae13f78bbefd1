/** Winograd's method for 3×3 convolutions: where nabla uses it, the rounding error, and the bits. */
import { compile, conv2d, dispose, full, grad, init, manualSeed, rand, randn, type Tensor, tensor, tidy } from "nabla";
import { afterAll, describe, expect, test } from "vitest";
import { Activation } from "../../assembly/opcodes.ts";
import { apply } from "../../src/ops/definition/op.ts";
import {
  type ConvAttributes,
  convDefinition,
  convInputDefinition,
  convWeightDefinition,
} from "../../src/ops/image/conv.ts";
import { ownBuild } from "../support/build.ts";
import { moved, objective } from "../support/oracle.ts";
import { referenceOf } from "./oracles/index.ts";
import type { Reference } from "./oracles/oracle.ts";

/** Starts nabla again with other options. All tensors are disposed. */
async function restart(options: Parameters<typeof init>[0]): Promise<void> {
  await dispose();
  await init(options);
}
afterAll(() => restart(ownBuild));

interface Geometry {
  readonly batch?: number;
  readonly size: readonly [height: number, width: number];
  readonly channels: number;
  readonly outChannels: number;
  readonly pad?: number;
}

function attributesOf({ size: [h, w], pad = 1 }: Geometry): ConvAttributes {
  return {
    stride: [1, 1],
    pad: [pad, pad],
    dilation: [1, 1],
    groups: 1,
    activation: 0,
    inputSize: [h, w],
    outputSize: [h + 2 * pad - 2, w + 2 * pad - 2],
    kernelSize: [3, 3],
  };
}

/** The shapes of x, w and dy. */
function shapesOf(g: Geometry): readonly [x: number[], w: number[], dy: number[]] {
  const { batch = 1, size, channels, outChannels } = g;
  return [
    [batch, ...size, channels],
    [outChannels, 3, 3, channels],
    [batch, ...attributesOf(g).outputSize, outChannels],
  ];
}

const WIDE: Geometry = { batch: 2, size: [11, 10], channels: 32, outChannels: 24 };
const SMALL: Geometry = { batch: 3, size: [6, 7], channels: 16, outChannels: 18 };

const OPS = [
  { name: "the forward pass", op: convDefinition, operands: [0, 1] },
  { name: "the input's gradient", op: convInputDefinition, operands: [2, 1] },
  { name: "the weight's gradient", op: convWeightDefinition, operands: [0, 2] },
] as const;

/** The results of the three ops on the same values, with and without Winograd's method. */
async function resultsOf(g: Geometry, values: readonly Float32Array[]): Promise<Float32Array[][]> {
  const results: Float32Array[][] = [];
  for (const winograd of [true, false]) {
    await restart({ ...ownBuild, winograd });
    const operands = shapesOf(g).map((shape, i) => tensor(values[i]!, shape));
    const run = ({ op, operands: [a, b] }: (typeof OPS)[number]): Float32Array =>
      tidy(() => Float32Array.from((apply(op, [operands[a]!, operands[b]!], attributesOf(g)) as Tensor).data));
    results.push(OPS.map(run));
  }
  return results;
}

const draw = (g: Geometry, f: (shape: number[], operand: number) => Tensor): Float32Array[] =>
  tidy(() => shapesOf(g).map((shape, i) => Float32Array.from(f(shape, i).data)));

describe("nabla uses Winograd's method", () => {
  const used: [what: string, g: Geometry, ops: boolean[]][] = [
    ["for many channels", { size: [8, 8], batch: 4, channels: 32, outChannels: 32 }, [true, true, true]],
    ["for images of odd sizes", { size: [7, 13], batch: 4, channels: 24, outChannels: 40 }, [true, true, true]],
    ["without padding", { size: [9, 9], batch: 3, channels: 32, outChannels: 32, pad: 0 }, [true, true, true]],
    ["not for a few channels", { size: [28, 28], channels: 3, outChannels: 64 }, [false, false, false]],
    ["not for one row", { size: [1, 64], channels: 64, outChannels: 64 }, [false, false, false]],
    ["not for images of a few pixels", { size: [2, 2], channels: 64, outChannels: 64 }, [false, false, false]],
    ["for many such images", { size: [2, 2], batch: 64, channels: 64, outChannels: 64 }, [true, true, true]],
    ["for the images of the tests below", WIDE, [true, true, true]],
    ["for the images of the gradient tests", SMALL, [true, true, true]],
  ];
  for (const [what, g, ops] of used) {
    test(what, async () => {
      manualSeed(1);
      const [fast, direct] = await resultsOf(
        g,
        draw(g, (shape) => randn(shape)),
      );
      OPS.forEach(({ name }, i) => {
        const differ = fast![i]!.some((v, j) => v !== direct![i]![j]);
        expect(differ, name).toBe(ops[i]);
      });
    });
  }
  test("not with a stride, a dilation, groups or another kernel", async () => {
    const others = [
      { w: [32, 3, 3, 32], options: { stride: 2 } },
      { w: [32, 3, 3, 32], options: { stride: [1, 2] as const } },
      { w: [32, 3, 3, 32], options: { dilation: 2 } },
      { w: [32, 3, 3, 16], options: { groups: 2 } },
      { w: [32, 3, 2, 32], options: {} },
      { w: [32, 5, 5, 32], options: {} },
    ];
    const run = () =>
      tidy(() => {
        manualSeed(2);
        return others.map(({ w, options }) =>
          Float32Array.from(conv2d(rand([1, 12, 12, 32]), rand(w), null, options).data),
        );
      });
    await restart(ownBuild);
    const results = run();
    await restart({ ...ownBuild, winograd: false });
    expect(run()).toEqual(results);
  });
  test("not in deterministic mode, unless the options ask for it", async () => {
    const run = () =>
      tidy(() => {
        manualSeed(3);
        return Float32Array.from(conv2d(rand([1, 8, 8, 32]), rand([32, 3, 3, 32])).data);
      });
    const resultWith = async (options: Parameters<typeof init>[0]) => {
      await restart(options);
      return run();
    };
    const direct = await resultWith({ build: "simd", winograd: false });
    const fast = await resultWith({ build: "simd" });
    expect(fast).not.toEqual(direct);
    expect(await resultWith({ deterministic: true })).toEqual(direct);
    expect(await resultWith({ deterministic: true, winograd: true })).toEqual(fast);
  });
});

/**
 * The largest error of a tile, relative to the largest |y64| of the same tile: `side` × `side` pixels with all
 * channels. In the gradient of the weight, an output channel takes the place of a tile.
 */
function errorOf(actual: Float32Array, { shape, data }: Reference, side: number): number {
  const [n, h, w, c] = shape as [number, number, number, number];
  const tiles = new Map<number, { error: number; size: number }>();
  for (let i = 0; i < n * h * w * c; i++) {
    const pixel = Math.floor(i / c);
    const [image, row, column] = [Math.floor(pixel / w / h), Math.floor(pixel / w) % h, pixel % w];
    const key = (image * h + Math.floor(row / side)) * w + Math.floor(column / side);
    const tile = tiles.get(key) ?? { error: 0, size: 0 };
    tile.error = Math.max(tile.error, Math.abs(actual[i]! - data[i]!));
    tile.size = Math.max(tile.size, Math.abs(data[i]!));
    tiles.set(key, tile);
  }
  return Math.max(...[...tiles.values()].map(({ error, size }) => error / size));
}

describe("the largest error of a tile is at most 4 times that of the direct kernel", () => {
  const ramp = (shape: number[], f: (i: number) => number): Tensor =>
    tensor(
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => f(i)),
      shape,
    );
  const inputs: [what: string, f: (shape: number[], operand: number) => Tensor][] = [
    ["normal", (shape) => randn(shape)],
    ["uniform and positive", (shape) => rand(shape)],
    ["an image far from 0", (shape, i) => (i === 1 ? randn(shape) : randn(shape).add(100))],
    ["weights far from 0", (shape, i) => (i === 1 ? randn(shape).add(100) : randn(shape))],
    ["values from 1e-8 to 1e8", (shape) => randn(shape).mul(rand(shape).sub(0.5).mul(36.8).exp())],
    [
      "alternating signs along a row",
      (shape) =>
        rand(shape)
          .add(1)
          .mul(ramp(shape, (i) => ((i / shape[3]!) & 1 ? -1 : 1))),
    ],
    [
      "one large pixel",
      (shape, i) => randn(shape).add(ramp(shape, (j) => (i !== 1 && j === 40 * shape[3]! ? 1e4 : 0))),
    ],
  ];
  const kinds = [
    ...inputs.map(([what, f]) => ({ what, f, g: WIDE })),
    ...[512, 2048].flatMap((channels) =>
      [
        { what: "positive values", f: (shape: number[]) => rand(shape) },
        { what: "equal values", f: (shape: number[]) => full(shape, 0.1) },
      ].flatMap(({ what, f }) => [
        { what: `${what} in ${channels} channels`, f, g: { size: [6, 6] as const, channels, outChannels: 16 } },
        {
          what: `${what} in ${channels} output channels`,
          f,
          g: { size: [6, 6] as const, channels: 16, outChannels: channels },
        },
      ]),
    ),
  ];
  for (const { what, f, g } of kinds) {
    test(what, async () => {
      manualSeed(4);
      const values = draw(g, f);
      const [fast, direct] = await resultsOf(g, values);
      const references = shapesOf(g).map((shape, i) => ({ shape, data: Float64Array.from(values[i]!) }));
      OPS.forEach(({ name, op, operands: [a, b] }, i) => {
        const [expected] = referenceOf(op, [references[a]!, references[b]!], attributesOf(g));
        const tile = op === convWeightDefinition ? 3 : 2;
        const [own, other] = [errorOf(fast![i]!, expected!, tile), errorOf(direct![i]!, expected!, tile)];
        expect(own, name).toBeLessThanOrEqual(4 * other);
      });
    });
  }
});

test("weights that are transformed in several parts give the results of the direct kernel, within rounding errors", async () => {
  manualSeed(8);
  const g: Geometry = { size: [32, 32], channels: 512, outChannels: 520 };
  const [fast, direct] = await resultsOf(
    g,
    draw(g, (shape) => randn(shape)),
  );
  OPS.forEach(({ name }, i) => {
    const scale = Math.sqrt(direct![i]!.reduce((sum, v) => sum + v * v, 0) / direct![i]!.length);
    const error = direct![i]!.reduce((most, v, j) => Math.max(most, Math.abs(fast![i]![j]! - v)), 0);
    expect(error / scale, name).toBeLessThan(1e-5);
    expect(error, name).toBeGreaterThan(0);
  });
});

describe("gradients agree with finite differences of the float64 reference along random directions", () => {
  const attributes = { ...attributesOf(SMALL), activation: Activation.Tanh };
  const cases = [
    { name: "conv", op: convDefinition, operands: [0, 1], bias: SMALL.outChannels, result: 2 },
    { name: "convInput", op: convInputDefinition, operands: [2, 1], bias: SMALL.channels, result: 0 },
  ] as const;
  for (const { name, op, operands, bias, result } of cases) {
    test(`${name}, its gradients, and their gradients`, async () => {
      await restart(ownBuild);
      manualSeed(7);
      const shapes = shapesOf(SMALL);
      const inputs = [...operands.map((i) => randn(shapes[i]!).mul(0.2)), randn([bias])];
      const u = randn(shapes[result]!);
      const loss = (...xs: Tensor[]): Tensor => (apply(op, xs, attributes) as Tensor).mul(u).sum();
      const references = inputs.map((x): Reference => ({ shape: x.shape, data: Float64Array.from(x.data) }));
      const weights = [{ shape: u.shape, data: Float64Array.from(u.data) }];
      inputs.forEach((x, i) => {
        const d = randn(x.shape);
        const own = (y: Tensor): Tensor => loss(...inputs.map((other, j) => (j === i ? y : other)));
        const slope = (y: Tensor): Tensor => grad(own)(y).mul(d).sum();
        const along = (h: number): number =>
          objective(op, moved(references, inputs.map((_, j) => (j === i ? d.data : undefined)), h), attributes, weights); // biome-ignore format: one call
        const [h, at] = [1e-4, along(0)];
        const first = (along(h) - along(-h)) / (2 * h);
        const second = (along(h) - 2 * at + along(-h)) / h ** 2;
        const scale = Math.sqrt(x.size);
        expect(Math.abs(slope(x).item() - first), `d/d${i}`).toBeLessThan(2e-5 * Math.max(scale, Math.abs(first)));
        const actual = grad(slope)(x).mul(d).sum().item();
        expect(Math.abs(actual - second), `d²/d${i}²`).toBeLessThan(2e-4 * Math.max(scale, Math.abs(second)));
      });
    });
  }
});

describe("bits", () => {
  test("an image has the same results alone and in a batch, eager and compiled", async () => {
    await restart(ownBuild);
    manualSeed(5);
    const [x, w, bias] = [randn([5, 9, 7, 16]), randn([20, 3, 3, 16]), randn([20])];
    const forward = (image: Tensor): Tensor => conv2d(image, w, bias, { padding: 1 }).relu();
    const batch = forward(x);
    for (let i = 0; i < 5; i++) {
      const alone = forward(x.slice([i, i + 1]));
      expect(alone.data, `image ${i}`).toEqual(batch.slice([i, i + 1]).data);
    }
    expect(compile(forward)(x).data).toEqual(batch.data);
  });
  test("NaN reaches no result outside the tiles that read it", async () => {
    await restart(ownBuild);
    manualSeed(6);
    const [x, w] = [randn([1, 12, 12, 16]), randn([16, 3, 3, 16])];
    const before = Float32Array.from(conv2d(x, w, null, { padding: 1 }).data);
    const values = Float32Array.from(x.data);
    values[(5 * 12 + 6) * 16] = Number.NaN;
    const after = conv2d(tensor(values, x.shape), w, null, { padding: 1 }).data;
    for (let i = 0; i < 12; i++)
      for (let j = 0; j < 12; j++) {
        const at = (i * 12 + j) * 16;
        // Pixel [5, 6] is an input of the tiles that begin at rows 4 and 6 and columns 4 and 6.
        if (i >= 4 && i < 8 && j >= 4 && j < 8) continue;
        expect(after.slice(at, at + 16), `pixel ${i}, ${j}`).toEqual(before.slice(at, at + 16));
      }
    for (const [i, j] of [[4, 5], [5, 6], [6, 7]]) expect(after[(i! * 12 + j!) * 16]).toBeNaN(); // biome-ignore format: short
  });
});
