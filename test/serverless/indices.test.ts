/** Served compiled models: an index out of range is the client's error, and the model continues to work. */
import { compile, nn, type Tensor } from "nabla";
import { inferenceHandler } from "nabla/serverless";
import { expect, test } from "vitest";
import { post, problem } from "./requests.ts";

test("an index that is out of range for a compiled model gets a 422, and the next request is served", async () => {
  const embedding = new nn.Embedding(5, 2);
  const models: ((x: Tensor) => Tensor)[] = [
    (x) => embedding.forward(x).sum(1),
    (x) => embedding.forward(x.add(0)).sum(1),
    (x) => embedding.weight.gather(0, x.narrow(1, 0, 2)),
  ];
  for (const model of models) {
    const handler = inferenceHandler({ load: () => compile(model), input: { shape: [null, 3], dtype: "int32" } });
    expect((await post(handler, { inputs: [[0, 1, 4]] })).status).toBe(200);
    for (const token of [7, -1, 5])
      expect((await problem(await post(handler, { inputs: [[token, 1, 2]] }), 422)).detail).toMatch(
        '"inputs" contains a number that is negative or too large',
      );
    expect((await post(handler, { inputs: [[0, 1, 4]] })).status).toBe(200);
  }
});
