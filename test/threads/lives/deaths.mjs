/** Workers that die, at rest and at work. A call gives the right result or a ThreadError, and is never waited for in vain. */
import { setTimeout } from "node:timers/promises";
import { alive, allHelp, live, load, Product, spin, spoil, told, until, workers } from "./crew.mjs";

const nabla = await load();
const { dispose, info, init } = nabla;
/** Words of a control block (assembly/opcodes.ts). */
const INSIDE = 256;

/** The result of a call: "right", "wrong", or the error that it throws. */
function attempt(product) {
  try {
    return product.isRight() ? "right" : "wrong";
  } catch (error) {
    return told(error);
  }
}

/** The elements of a symmetric n × n matrix, random ones. */
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

await live({
  /** One that rests: nobody misses it but its place, which another takes. */
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

  /** One that dies between calls, or during one of the next. */
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

  /** All of them, one after the other, until there are no more to replace them. */
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
   * One that ends itself where it waits for the first thread in the midst of a program: by leaving, or by a trap. Which of the two
   * threads takes the long first part of the program is up to chance, so it is tried, each time anew, until it was the first.
   */
  async waiting({ how }) {
    const whole = spoil.source;
    const stalls = (source) => `const { Instance } = WebAssembly;
      WebAssembly.Instance = class extends Instance {
        constructor(module, { env: { memory } }) {
          super(module, { env: { memory, stalled() { ${how}; } } });
        }
      };
      ${source}`;
    const results = [];
    for (let i = 0; i < 30; i++) {
      spoil.source = stalls;
      await init({ threads: 2 });
      const product = new Product(nabla, 256);
      const [a, b] = product.factors;
      // From numbers, because a worker of this kind may already end itself in the call of any op.
      const long = nabla.tensor(symmetric(320), [320, 320]);
      const program = nabla.compile((s) => [nabla.eigh(s)[0].sum(), a.matmul(b)]);
      const call = () => (product.is(program(long)[1].data) ? "right" : "wrong");
      spoil.source = whole;
      try {
        results.push(call());
        await dispose();
      } catch (error) {
        results.push(told(error));
        const atOnce = attempt(product);
        const { reason } = info();
        const recovered = await recovers(product, 1);
        return { results, atOnce, reason, recovered, again: call(), after: attempt(product) };
      }
    }
    return { results };
  },

  /** One that dies at a job after the last share is done: set by hand, since it is a matter of nanoseconds. */
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
