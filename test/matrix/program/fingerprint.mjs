/** The program that every runtime and every bundle runs: trains a small network for 200 steps. */
import { dispose, info, init, losses, manualSeed, nn, optim, randn, tensor } from "nabla";

export const STEPS = 200;

/** The FNV-1a hash of bytes, as eight hexadecimal digits. */
export function hashOf(...parts) {
  let hash = 0x811c9dc5;
  for (const bytes of parts) for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/**
 * Returns the network, its optimizer, and two functions: `train` runs a number of steps and returns the last loss, and
 * `fingerprint` hashes the parameters.
 */
export function start() {
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
  const train = (steps) => {
    let loss = Number.NaN;
    for (let i = 0; i < steps; i++) {
      const value = optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels));
      loss = value.item();
      value.dispose();
    }
    return loss;
  };
  const fingerprint = () => hashOf(...model.parameters().map(({ data }) => new Uint8Array(data.buffer)));
  return { model, optimizer, train, fingerprint };
}

/**
 * The last loss and a hash of all parameters, which are the same in every runtime with the `simd` build.
 * @param options the options of init()
 */
export async function fingerprint(options) {
  await init(options);
  const training = start();
  const loss = training.train(STEPS);
  const hash = training.fingerprint();
  const { build, threads, reason } = info();
  await dispose();
  return { build, threads, reason, loss, hash };
}
