/** How a process ends that has a pool: all it has to do is to stop. */
import { setTimeout } from "node:timers/promises";
import { alive, live, load, Product, tell, until, workers } from "./crew.mjs";

const nabla = await load();

async function start(threads = 4) {
  await nabla.init({ threads });
  return new Product(nabla, 256);
}

await live({
  async idle() {
    const product = await start();
    const right = product.isRight();
    await setTimeout(1500);
    return { right, workers: alive().length };
  },
  /** The last call has just ended: workers still look for the next. */
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
    tell({ right: product.isRight(), workers: alive().length });
    process.exit(7);
  },
  /** In the midst of a function that is recorded, of a scope, and of a step. */
  async exitInside() {
    const product = await start();
    tell({ right: product.isRight(), workers: alive().length });
    nabla.compile((x) => nabla.tidy(() => process.exit(7) ?? x))(nabla.tensor([1]));
  },
  async exitWhileStarting() {
    nabla.init({ threads: 4 });
    await until(() => workers.length === 3);
    tell({ right: true, workers: workers.length });
    process.exit(7);
  },
  async exitWhileDisposing() {
    const product = await start();
    const right = product.isRight();
    nabla.dispose();
    tell({ right, workers: workers.length });
    process.exit(7);
  },
  /** Nobody waits for init. */
  async forgotten() {
    nabla.init({ threads: 4 });
    await until(() => workers.length === 3);
    return { right: true, workers: workers.length };
  },
  async throws() {
    const product = await start();
    tell({ right: product.isRight(), workers: alive().length });
    throw new Error("on purpose");
  },
});
