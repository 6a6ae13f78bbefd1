/** The program that every runtime and every bundle runs: it trains a small network for 200 steps. */
import { dispose, info, init, losses, manualSeed, nn, optim, randn, tensor } from "nabla";

/**
 * The last loss, and a fingerprint of all parameters: the same bits, so the same letters, wherever the build is `simd`.
 * @param options init's
 */
export async function fingerprint(options) {
  await init(options);
  manualSeed(7);
  const model = new nn.Sequential(new nn.Linear(2, 16), new nn.Tanh(), new nn.Dropout(0.1), new nn.Linear(16, 3));
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2 });
  const x = randn([96, 2]);
  const labels = tensor(
    Int32Array.from(
      x.data.filter((_, i) => i % 2 === 0),
      (v) => (v < -0.4 ? 0 : v < 0.4 ? 1 : 2),
    ),
  );
  let loss = Number.NaN;
  for (let i = 0; i < 200; i++) {
    const value = optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels));
    loss = value.item();
    value.dispose();
  }
  let hash = 0x811c9dc5; // FNV-1a over the parameters' bits
  for (const parameter of model.parameters()) {
    for (const byte of new Uint8Array(parameter.data.buffer)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  const { build, threads, reason } = info();
  await dispose();
  return { build, threads, reason, loss, hash: hash.toString(16).padStart(8, "0") };
}
