/** Hosts that refuse workers, or shared memory: nabla runs on one thread, or in less memory, and says why. */
import { alive, live, load, Product, replaceWorker, spoil, told, train, until, workers } from "./crew.mjs";

/** Starts nabla on three threads, and trains. What init threw, if it did. */
async function start(options = {}) {
  const nabla = await load();
  let error = "";
  try {
    await nabla.init({ threads: 3, ...options });
  } catch (thrown) {
    error = told(thrown);
  }
  const { threads, reason } = nabla.info();
  const right = new Product(nabla, 256).isRight();
  // Those that were started in vain have been told to leave.
  if (threads === 1) await until(() => !alive().length, 2000);
  return { error, threads, reason, right, loss: train(nabla), started: workers.length, left: alive().length };
}

/** Has the host refuse shared memories that may grow to more than so many bytes. */
function refuseShared(bytes) {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      if (descriptor.shared && descriptor.maximum * 65536 > bytes) throw new RangeError("could not allocate memory");
      super(descriptor);
    }
  };
}

await live({
  start,
  constructor() {
    replaceWorker(
      class {
        constructor() {
          throw new Error("no workers today");
        }
      },
    );
    return start();
  },
  script() {
    spoil.source = () => "throw new Error('no scripts today')";
    return start();
  },
  exits() {
    spoil.source = () => "process.exit(3)";
    return start();
  },
  /** The second of two. */
  second() {
    spoil.source = (source, made) => (made % 2 ? "throw new Error('not a second one')" : source);
    return start();
  },
  /** It neither serves nor fails. Clocks go a hundred times as fast. */
  silent() {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (f, milliseconds, ...rest) => setTimeout(f, milliseconds / 100, ...rest);
    spoil.source = () => "setInterval(() => {}, 1000)";
    return start();
  },
  /** Workers start, but none that takes another's place does. */
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
            throw new Error("no more workers today");
          }
        },
      );
    } else spoil.source = () => (silent ? "setInterval(() => {}, 1000)" : "throw new Error('no more workers today')");
    await workers[0].terminate();
    const right = [];
    const goneOn = () => right.push(product.isRight()) >= 20 && nabla.info().reason.includes("no more");
    await until(goneOn, 20_000);
    await until(() => !alive().length, 2000);
    return { right: right.every(Boolean), reason: nabla.info().reason, left: alive().length };
  },
  /** @param granted what the memory may grow to then */
  async memory({ above, memoryLimit, granted }) {
    refuseShared(above);
    const result = await start(memoryLimit && { memoryLimit });
    const nabla = await load();
    // Kept, or it would move to JavaScript to make room.
    const half = nabla.tidy(() => nabla.zeros([granted / 2 / 4]).keep());
    let full = "";
    try {
      nabla.zeros([granted / 2 / 4]);
    } catch (error) {
      full = told(error);
    }
    half.dispose();
    return { ...result, full };
  },
  noMemory() {
    refuseShared(-1);
    return start();
  },
});
