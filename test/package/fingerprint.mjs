// Trains a small network for 200 steps and prints its loss and a fingerprint of its parameters. Runs in Node and, as a
// module, in browsers; the deterministic build must give the same bits everywhere.
export async function fingerprint(nabla, options) {
  const { init, info, losses, manualSeed, nn, optim, randn, tensor } = nabla;
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
  let loss = 0;
  for (let i = 0; i < 200; i++) {
    const value = optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels));
    loss = value.item();
    value.dispose();
  }
  let hash = 0x811c9dc5; // FNV-1a over the parameters' bits
  for (const p of model.parameters()) {
    for (const byte of new Uint8Array(p.data.buffer)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return { build: info().build, loss, hash: hash.toString(16) };
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("fingerprint.mjs")) {
  console.log(JSON.stringify(await fingerprint(await import("nabla"), JSON.parse(process.argv[2] ?? "{}"))));
}
