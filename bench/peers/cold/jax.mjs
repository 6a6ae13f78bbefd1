import { network, report } from "./timed.mjs";

await report(async () => {
  const { defaultDevice, init, jit, nn, numpy: np } = await import("@jax-js/jax");
  await init("wasm");
  defaultDevice("wasm");
  const { x, w1, b1, w2, b2 } = network;
  const p = [
    [w1, [128, 784]],
    [b1, [128]],
    [w2, [10, 128]],
    [b2, [10]],
  ].map(([values, shape]) => np.array(values).reshape(shape));
  const forward = jit((input, v1, c1, v2, c2) =>
    np.matmul(nn.relu(np.matmul(input, np.transpose(v1)).add(c1)), np.transpose(v2)).add(c2),
  );
  return () => forward(np.array(x).reshape([1, 784]), ...p.map((a) => a.ref)).dataSync();
});
