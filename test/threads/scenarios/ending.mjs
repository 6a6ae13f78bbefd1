/** Processes that start a thread pool and then exit in different ways. */
import { setTimeout } from "node:timers/promises";
import { alive, load, Product, report, runScenario, until, workers } from "./workers.mjs";

const nabla = await load();

async function start(threads = 4) {
  await nabla.init({ threads });
  return new Product(nabla, 256);
}

await runScenario({
  async idle() {
    const product = await start();
    const right = product.isRight();
    await setTimeout(1500);
    return { right, workers: alive().length };
  },
  /** The process ends just after its last call, while workers still poll for the next one. */
  async spinning() {
    const product = await start();
    const right = product.isRight();
    return { right, workers: alive().length };
  },
  async dispose() {
    const product = await start();
    const right = product.isRight();
    await nabla.dispose();
    return { right, workers: alive().length };
  },
  async exitAtOnce() {
    const product = await start();
    report({ right: product.isRight(), workers: alive().length });
    process.exit(7);
  },
  /** Exits during a recording, inside a scope. */
  async exitInside() {
    const product = await start();
    report({ right: product.isRight(), workers: alive().length });
    nabla.compile((x) => nabla.tidy(() => process.exit(7) ?? x))(nabla.tensor([1]));
  },
  async exitWhileStarting() {
    nabla.init({ threads: 4 });
    await until(() => workers.length === 3);
    report({ right: true, workers: workers.length });
    process.exit(7);
  },
  async exitWhileDisposing() {
    const product = await start();
    const right = product.isRight();
    nabla.dispose();
    report({ right, workers: workers.length });
    process.exit(7);
  },
  /** Calls init without awaiting it. */
  async forgotten() {
    nabla.init({ threads: 4 });
    await until(() => workers.length === 3);
    return { right: true, workers: workers.length };
  },
  async throws() {
    const product = await start();
    report({ right: product.isRight(), workers: alive().length });
    throw new Error("on purpose");
  },
});
