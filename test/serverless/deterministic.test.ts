/** After init({ deterministic: true }), the bits of an answer do not depend on other requests. */
import { info, init, manualSeed, nn, type Tensor } from "nabla";
import { inferenceHandler } from "nabla/serverless";
import { expect, test } from "vitest";
import { get, post } from "./requests.ts";

test.each<[string, number[], () => (x: Tensor) => Tensor]>([
  ["an MLP", [33], () => sequential(new nn.Linear(33, 65), new nn.GELU(), new nn.LayerNorm(65), new nn.Linear(65, 7))],
  [
    "an LSTM",
    [5, 9],
    () => {
      const lstm = new nn.LSTM(9, 16, { batchFirst: true });
      return (x) => lstm.forward(x)[0].slice(null, -1) as Tensor;
    },
  ],
  [
    "a convolution",
    [9, 9, 2],
    () => sequential(new nn.Conv2d(2, 5, 3), new nn.ReLU(), new nn.Flatten(), new nn.Linear(245, 3)),
  ],
])("the outputs of %s are bit-identical alone and in a batch with 1 to 63 other requests", async (_, shape, make) => {
  if (!info().deterministic) throw new Error("the engine started before init");
  manualSeed(3);
  const forward = make();
  const handler = inferenceHandler({
    load: () => forward,
    input: { shape: [null, ...shape] },
    batching: true,
    limits: { concurrency: 1000 },
  });
  await get(handler, "/health?ready");
  const size = shape.reduce((a, b) => a * b);
  const nested = (values: unknown[], dims: number[]): unknown[] => {
    if (dims.length === 1) return values;
    const step = values.length / dims[0]!;
    return Array.from({ length: dims[0]! }, (_, i) => nested(values.slice(i * step, (i + 1) * step), dims.slice(1)));
  };
  const sample = (i: number) =>
    nested(
      Array.from({ length: size }, (_, j) => Math.sin(i + 0.7 * j)),
      shape,
    );
  const ask = async (i: number): Promise<string> =>
    JSON.stringify(await (await post(handler, { inputs: sample(i) })).json());
  const alone = await ask(0);
  for (const others of [1, 2, 3, 7, 8, 11, 31, 63])
    expect((await Promise.all(Array.from({ length: 1 + others }, (_, i) => ask(i))))[0]).toBe(alone);
});

const sequential = (...layers: nn.Module[]): ((x: Tensor) => Tensor) => {
  const model = new nn.Sequential(...layers).eval();
  return (x) => model.forward(x) as Tensor;
};

await init({ deterministic: true });
