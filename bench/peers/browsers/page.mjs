/** Runs one contender on a page. The process that opened the page calls `start` once, and then `answer` with requests (job.mjs). */
import tfjsWasm from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import tfjsSimd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import tfjsThreads from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import ortGlue from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import ortWasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { Runner } from "../job.mjs";

/** A sample is a hundred times as long as the resolution of Firefox's clock. */
const SAMPLE = 2;
const absolute = (url) => new URL(url, location.href).href;

/** Loads the module of a contender. */
const contenders = {
  /** Single products are eager, and steps and models compiled. */
  async nabla() {
    const [{ matmul }, compiled] = [await import("../nabla.mjs"), await import("../nabla-compiled.mjs")];
    return {
      ...compiled,
      matmul,
      open: async (...options) => (await compiled.open(...options)).replace(", compiled", ""),
    };
  },
  async tfjs(threads) {
    // TensorFlow.js uses at most half of the cores that the browser reports.
    if (threads > 1) Object.defineProperty(navigator, "hardwareConcurrency", { value: 2 * threads });
    const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
    setWasmPaths({
      "tfjs-backend-wasm.wasm": absolute(tfjsWasm),
      "tfjs-backend-wasm-simd.wasm": absolute(tfjsSimd),
      "tfjs-backend-wasm-threaded-simd.wasm": absolute(tfjsThreads),
    });
    return import("../tfjs.mjs");
  },
  async ort() {
    const { env } = await import("onnxruntime-web");
    env.wasm.wasmPaths = { mjs: absolute(ortGlue), wasm: absolute(ortWasm) };
    return import("../ort.mjs");
  },
};

let runner;
/** @returns the contender's name */
globalThis.start = async (name, option, threads) => {
  if (!crossOriginIsolated) throw new Error("the page is not cross-origin isolated");
  runner = await Runner.start(await contenders[name](threads), { option, threads, sample: SAMPLE });
  return runner.name;
};
globalThis.answer = (request) => runner.answer(request);
