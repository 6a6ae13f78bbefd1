/**
 * Code shared by the contenders in the cold-start benchmark: the network, and timers around WebAssembly's functions. `report(load)` imports
 * a library, runs the network, and prints the time of each stage as JSON, in milliseconds.
 */
const WASM = globalThis.WebAssembly;
const stages = { compile: 0, instantiate: 0 };

/**
 * Wraps a constructor or function to add its time to a stage. No time is counted twice, because wrapped functions do not call each other.
 */
function withTimer(stage, f) {
  return new Proxy(f, {
    construct(target, args) {
      const start = performance.now();
      const instance = Reflect.construct(target, args);
      stages[stage] += performance.now() - start;
      return instance;
    },
    async apply(target, that, args) {
      const start = performance.now();
      const result = await Reflect.apply(target, that, args);
      // Instantiating bytes compiles them first, which takes most of the time.
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
  WASM[name] = withTimer(stage, WASM[name]);

/** A 784 → 128 → 10 network with ReLU, and one image: arbitrary values that are the same for all contenders. */
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

/**
 * @param load imports the library, and returns a function that computes the ten results as an array
 * @param extra further times to print, which `load` fills in
 */
export async function report(load, extra = {}) {
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
  console.log(JSON.stringify({ ...times, ...extra, result: [...result], calls }));
}
