/** Workers that die while idle or while working. A call returns the correct result or throws a ThreadError, and never hangs. */
import { setTimeout } from "node:timers/promises";
import { alive, allHelp, load, override, Product, runScenario, spin, textOf, until, workers } from "./workers.mjs";

const nabla = await load();
const { dispose, info, init } = nabla;
/** The byte offset of `inside` in the control block (assembly/opcodes.ts: Control). */
const INSIDE = 256;

/** The result of a call: "right", "wrong", or the error that it throws. */
function attempt(product) {
  try {
    return product.isRight() ? "right" : "wrong";
  } catch (error) {
    return textOf(error);
  }
}

/** The elements of a random symmetric n × n matrix. */
function symmetric(n) {
  const x = Float32Array.from({ length: n * n }, Math.random);
  return x.map((value, i) => value + x[(i % n) * n + Math.trunc(i / n)]);
}

/**
 * Whether `count` workers help again. terminate() takes effect late: the `dying` worker may still help, and die, in one of these calls,
 * which then throws a ThreadError. `results` receives the result of each call.
 */
const recovers = (product, count, { dying, results = [] } = {}) =>
  allHelp(count, () => results.push(attempt(product)), dying);

await runScenario({
  /** An idle worker dies. */
  async idle({ rest }) {
    await init({ threads: 3 });
    const product = new Product(nabla, 256);
    const before = attempt(product);
    await setTimeout(rest);
    const ended = workers[0].terminate();
    const start = performance.now();
    const atOnce = attempt(product);
    const milliseconds = performance.now() - start;
    await ended;
    const { reason } = info();
    const recovered = await recovers(product, 2);
    return { before, atOnce, milliseconds, reason, recovered, after: attempt(product), started: workers.length };
  },

  /** A worker dies between calls or during one of the next calls. */
  async around({ delays }) {
    const results = [];
    const after = [];
    let recovered = true;
    for (const delay of delays) {
      await init({ threads: 3 });
      const product = new Product(nabla, 256);
      for (let i = 0; i < 5; i++) product.run();
      spin(delay);
      const dying = workers.at(-1);
      dying.terminate();
      results.push(attempt(product), attempt(product));
      recovered &&= await recovers(product, 2, { dying, results });
      after.push(attempt(product));
      await dispose();
    }
    return { results, recovered, after, left: alive().length };
  },

  /** Kills one worker after another until the pool stops replacing them. */
  async all() {
    await init({ threads: 2 });
    const product = new Product(nabla, 256);
    const results = [];
    for (let i = 0; i < 9; i++) {
      await until(() => alive().length === 1);
      await workers.at(-1).terminate();
      results.push(attempt(product));
    }
    await setTimeout(300);
    results.push(attempt(product));
    const { reason, threads } = info();
    return { results, reason, threads, started: workers.length, left: alive().length };
  },

  /**
   * A worker exits or traps while it waits for the main thread during a program. Either of the two threads may take the
   * long first part of the program, so the scenario tries new engines until the main thread takes it.
   */
  async waiting({ how }) {
    const original = override.source;
    const stalls = (source) => `const { Instance } = WebAssembly;
      WebAssembly.Instance = class extends Instance {
        constructor(module, { env: { memory } }) {
          super(module, { env: { memory, stalled() { ${how}; } } });
        }
      };
      ${source}`;
    const results = [];
    for (let i = 0; i < 30; i++) {
      override.source = stalls;
      await init({ threads: 2 });
      const product = new Product(nabla, 256);
      const [a, b] = product.factors;
      // Create the matrix from numbers, not with an op, because a worker with this program may exit during any op.
      const long = nabla.tensor(symmetric(320), [320, 320]);
      const program = nabla.compile((s) => [nabla.eigh(s)[0].sum(), a.matmul(b)]);
      const call = () => (product.is(program(long)[1].data) ? "right" : "wrong");
      override.source = original;
      try {
        results.push(call());
        await dispose();
      } catch (error) {
        results.push(textOf(error));
        const atOnce = attempt(product);
        const { reason } = info();
        const recovered = await recovers(product, 1);
        return { results, atOnce, reason, recovered, again: call(), after: attempt(product) };
      }
    }
    return { results };
  },

  /** A worker dies in a job after its last share. The state is set by hand, because it lasts only nanoseconds. */
  async leaving() {
    await init({ threads: 2 });
    const product = new Product(nabla, 256);
    product.run();
    await setTimeout(100);
    const [worker] = workers;
    const { memory, control, mark } = worker.orders;
    const words = new Int32Array(memory.buffer);
    Atomics.store(words, mark / 4, 1);
    Atomics.add(words, (control + INSIDE) / 4, 1);
    worker.terminate();
    const start = performance.now();
    const atOnce = attempt(product);
    const milliseconds = performance.now() - start;
    const next = attempt(product);
    return { atOnce, milliseconds, next, recovered: await recovers(product, 1), after: attempt(product) };
  },
});
