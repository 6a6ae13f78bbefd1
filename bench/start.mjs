/** Times a cold start of nabla. This file is outside bench/peers so that "nabla" resolves to the package, as it does for users. */
import { network, report } from "./peers/cold/timed.mjs";

await report(async () => {
  const { linear, tensor, tidy } = await import("nabla");
  const { x, w1, b1, w2, b2 } = network;
  const parameter = (values, shape) => tensor(values, shape).keep();
  const [v1, c1, v2, c2] = [
    parameter(w1, [128, 784]),
    parameter(b1, [128]),
    parameter(w2, [10, 128]),
    parameter(b2, [10]),
  ];
  return () => tidy(() => linear(linear(tensor(x, [1, 784]), v1, c1).relu(), v2, c2).data);
});
