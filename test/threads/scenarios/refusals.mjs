/** Hosts that refuse workers or shared memory: nabla runs on one thread or with less memory, and says why. */
import {
  alive,
  load,
  override,
  Product,
  replaceWorker,
  runScenario,
  textOf,
  train,
  until,
  workers,
} from "./workers.mjs";

/** Starts nabla on three threads and trains. Reports the error of init, if any. */
async function start(options = {}) {
  const nabla = await load();
  let error = "";
  try {
    await nabla.init({ threads: 3, ...options });
  } catch (thrown) {
    error = textOf(thrown);
  }
  const { threads, reason } = nabla.info();
  const right = new Product(nabla, 256).isRight();
  // If nabla falls back to one thread, it asks its workers to exit, which takes a moment.
  if (threads === 1) await until(() => !alive().length, 2000);
  return { error, threads, reason, right, loss: train(nabla), started: workers.length, left: alive().length };
}

/** Makes the host refuse shared memories with a larger maximum than `bytes`. */
function refuseShared(bytes) {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      if (descriptor.shared && descriptor.maximum * 65536 > bytes) throw new RangeError("could not allocate memory");
      super(descriptor);
    }
  };
}

await runScenario({
  start,
  constructor() {
    replaceWorker(
      class {
        constructor() {
          throw new Error("workers are disabled");
        }
      },
    );
    return start();
  },
  script() {
    override.source = () => "throw new Error('scripts are disabled')";
    return start();
  },
  exits() {
    override.source = () => "process.exit(3)";
    return start();
  },
  /** The second of two workers fails. */
  second() {
    override.source = (source, made) => (made % 2 ? "throw new Error('the second worker is disabled')" : source);
    return start();
  },
  /** Workers neither start nor fail. Timers run a hundred times faster. */
  silent() {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (f, milliseconds, ...rest) => setTimeout(f, milliseconds / 100, ...rest);
    override.source = () => "setInterval(() => {}, 1000)";
    return start();
  },
  /** Workers start, but their replacements do not. */
  async replacement({ how, silent }) {
    if (silent) {
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (f, milliseconds, ...rest) => setTimeout(f, milliseconds / 100, ...rest);
    }
    const nabla = await load();
    await nabla.init({ threads: 2 });
    const product = new Product(nabla, 256);
    if (how === "constructor") {
      replaceWorker(
        class {
          constructor() {
            throw new Error("workers are disabled now");
          }
        },
      );
    } else
      override.source = () => (silent ? "setInterval(() => {}, 1000)" : "throw new Error('no more workers today')");
    await workers[0].terminate();
    const right = [];
    const gaveUp = () => right.push(product.isRight()) >= 20 && nabla.info().reason.includes("no more are started");
    await until(gaveUp, 20_000);
    await until(() => !alive().length, 2000);
    return { right: right.every(Boolean), reason: nabla.info().reason, left: alive().length };
  },
  /** @param granted the size to which the memory may then grow */
  async memory({ above, memoryLimit, granted }) {
    refuseShared(above);
    const result = await start(memoryLimit && { memoryLimit });
    const nabla = await load();
    // keep() prevents a move to JavaScript's memory.
    const half = nabla.tidy(() => nabla.zeros([granted / 2 / 4]).keep());
    let full = "";
    try {
      nabla.zeros([granted / 2 / 4]);
    } catch (error) {
      full = textOf(error);
    }
    half.dispose();
    return { ...result, full };
  },
  noMemory() {
    refuseShared(-1);
    return start();
  },
});
