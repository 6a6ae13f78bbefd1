/**
 * A pool over time: while memory grows, during a thousand cycles, while idle, with more threads than cores, and after
 * dispose().
 */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { alive, helps, load, Product, runScenario, textOf, train, until, workers } from "./workers.mjs";

const nabla = await load();
const { dispose, info, init, memory } = nabla;

/** The process's address space in bytes; 0 without Linux's /proc. */
function addressSpace() {
  try {
    return 1024 * Number(/^VmSize:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  } catch {
    return 0;
  }
}

/** The resources in use after garbage collection. */
async function held() {
  for (let i = 0; i < 4; i++) {
    gc();
    await setTimeout(20);
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const resources = process.getActiveResourcesInfo().filter((name) => name !== "Timeout" && !/Pipe|TTY/.test(name));
  return {
    rss,
    heap: heapUsed + external + arrayBuffers,
    addresses: addressSpace(),
    resources,
    workers: alive().length,
  };
}

await runScenario({
  /** Makes shared calls before memory grows and each time that it has grown, on operands in old and in new memory. */
  async growth() {
    await init({ threads: 2 });
    const old = new Product(nabla, 512);
    const capacities = [memory().capacity];
    const right = [old.isRight()];
    const kept = [];
    let helped = 0;
    while (capacities.length < 8) {
      kept.push(nabla.ones([2 ** 20]).keep());
      if (memory().capacity === capacities.at(-1)) continue;
      capacities.push(memory().capacity);
      // This call's operands and result are in the new memory.
      const fresh = new Product(nabla, 512);
      kept.push(fresh);
      const help = helps(workers[0], () => right.push(fresh.isRight()));
      if (help) helped++;
      right.push(old.isRight(), kept.at(-2).sum().item() === 2 ** 20);
    }
    return { capacities, right, helped };
  },

  async cycles({ count, settled }) {
    const seen = { wrong: 0, addresses: 0 };
    let before;
    const start = performance.now();
    for (let i = 0; i < count; i++) {
      await init({ threads: 2 });
      if (!new Product(nabla, 128).isRight()) seen.wrong++;
      await dispose();
      workers.length = 0;
      seen.addresses = Math.max(seen.addresses, addressSpace());
      if (i + 1 === settled) before = await held();
    }
    const seconds = (performance.now() - start) / 1000;
    return { ...seen, before, after: await held(), seconds };
  },

  /** The longest duration of dispose() in milliseconds. `pauses` are the times between the last call and dispose(). */
  async dispose({ pauses }) {
    let longest = 0;
    for (const pause of pauses) {
      await init({ threads: 3 });
      const product = new Product(nabla, 128);
      for (let i = 0; i < 20; i++) product.run();
      if (pause) await setTimeout(pause);
      const start = performance.now();
      await dispose();
      longest = Math.max(longest, performance.now() - start);
    }
    return { longest, left: alive().length };
  },

  /** The fraction of one core that the process uses after its last call. */
  async rest() {
    await init({ threads: 4 });
    const product = new Product(nabla, 256);
    const right = product.isRight();
    // Take the minimum over several seconds, because the JavaScript engine may compile late on a busy machine.
    let share = 1;
    for (let i = 0; i < 5; i++) {
      const before = process.cpuUsage();
      const start = performance.now();
      await setTimeout(1000);
      const { user, system } = process.cpuUsage(before);
      share = Math.min(share, (user + system) / 1000 / (performance.now() - start));
    }
    return { right, share };
  },

  async crowd({ threads }) {
    await init({ threads });
    const product = new Product(nabla, 256);
    const right = Array.from({ length: 20 }, () => product.isRight());
    const loss = train(nabla);
    const { reason, threads: cut } = info();
    // On a busy machine, it may take several calls until a worker helps.
    const helped = await until(() => workers.some((worker) => helps(worker, () => product.run())));
    await dispose();
    return {
      right: right.every(Boolean),
      loss,
      reason,
      threads: cut,
      started: workers.length,
      helped,
      left: alive().length,
    };
  },

  /** The garbage collector collects tensors that were created before dispose(), while a new engine runs. */
  async finalizers() {
    await init({ threads: 2 });
    let collected = 0;
    const registry = new FinalizationRegistry(() => collected++);
    const make = () => {
      for (let i = 0; i < 200; i++) {
        const x = nabla.rand([100], { requiresGrad: true });
        x.mul(2).sum().backward();
        registry.register(x);
      }
      nabla.compile((x) => x.mul(2).sum())(nabla.ones([1000]));
    };
    make();
    await dispose();
    await init({ threads: 2 });
    const product = new Product(nabla, 256);
    const right = [product.isRight()];
    const before = memory();
    for (let i = 0; i < 10; i++) {
      gc();
      await setTimeout(10);
      right.push(product.isRight());
    }
    const after = memory();
    // A block that was freed twice would be allocated twice.
    const fresh = Array.from({ length: 300 }, (_, i) => nabla.full([100], i));
    right.push(fresh.every((x, i) => x.data.every((value) => value === i)));
    return {
      right,
      collected: collected > 190,
      tensors: after.tensors - before.tensors,
      bytes: after.bytes - before.bytes,
    };
  },

  /** Calls init and creates tensors while another init is pending. */
  async pending() {
    const settle = (promise) =>
      promise.then(
        () => "fine",
        (error) => textOf(error),
      );
    const inits = [{ threads: 3 }, { threads: 2 }, { threads: 3 }].map((options) => settle(init(options)));
    const [first, second, equal] = await Promise.all(inits);
    const both = { threads: info().threads, left: alive().length };
    await dispose();
    const disturbed = settle(init({ threads: 3 }));
    const x = nabla.tensor([1, 2]);
    const late = { disturbed: await disturbed, x: x.mul(2).toArray(), threads: info().threads, left: alive().length };
    await dispose();
    const third = await settle(init({ threads: 3 }));
    return {
      first,
      second,
      equal,
      both,
      ...late,
      third,
      right: new Product(nabla, 256).isRight(),
      started: workers.length,
    };
  },
});
