/**
 * What the contenders of the cold start share: the network, and a clock on WebAssembly. `report(import, first)` imports a library and has it
 * compute, and prints what each stage took in milliseconds, as JSON.
 */
const WASM = globalThis.WebAssembly;
const stages = { compile: 0, instantiate: 0 };

/** A constructor or function that counts its time as a stage's. Those that take time of each other's are not called from here. */
function timed(stage, f) {
  return new Proxy(f, {
    construct(target, args) {
      const start = performance.now();
      const made = Reflect.construct(target, args);
      stages[stage] += performance.now() - start;
      return made;
    },
    async apply(target, that, args) {
      const start = performance.now();
      const result = await Reflect.apply(target, that, args);
      // Bytes that are instantiated are compiled: the larger part.
      stages[stage === "instantiate" && !(args[0] instanceof WASM.Module) ? "compile" : stage] +=
        performance.now() - start;
      return result;
    },
  });
}
for (const [name, stage] of [
  ["Module", "compile"],
  ["compile", "compile"],
  ["Instance", "instantiate"],
  ["instantiate", "instantiate"],
])
  WASM[name] = timed(stage, WASM[name]);

/** 784 → 128 → 10 with ReLU between, and one image: whatever they are, they are the same for all. */
export const network = (() => {
  let state = 1;
  const values = (n, scale) =>
    Float32Array.from({ length: n }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return scale * (state / 2 ** 31 - 1);
    });
  return {
    x: values(784, 1),
    w1: values(128 * 784, 0.05),
    b1: values(128, 0.1),
    w2: values(10 * 128, 0.1),
    b2: values(10, 0.1),
  };
})();

/** @param load imports the library; gives what computes the ten results, as an array */
export async function report(load) {
  const start = performance.now();
  const infer = await load();
  const loaded = performance.now();
  const result = await infer();
  const end = performance.now();
  const calls = [end - loaded];
  for (let i = 1; i < Number(process.argv[2]); i++) {
    const before = performance.now();
    await infer();
    calls.push(performance.now() - before);
  }
  const times = { total: end - start, load: loaded - start, first: end - loaded, ...stages };
  console.log(JSON.stringify({ ...times, result: [...result], calls }));
}
