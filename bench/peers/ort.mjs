/** onnxruntime-web or onnxruntime-node. They run the models that torch_step.py exports. */
import { readBytes } from "./files.mjs";

let ort;
let options;

/** @param kind "web" for WebAssembly, or "node" for native code */
export async function open(kind, threads) {
  if (kind === "web") {
    ort = await import("onnxruntime-web");
    ort.env.wasm.numThreads = threads;
    options = { executionProviders: ["wasm"] };
  } else {
    ort = await import("onnxruntime-node");
    options = { executionProviders: ["cpu"], intraOpNumThreads: threads, interOpNumThreads: 1 };
  }
  return `onnxruntime-${kind} ${ort.env.versions[kind]}`;
}

export async function models({ name, file }) {
  if (name.startsWith("train")) throw new Error("does not train");
  const bytes = (await readBytes(`${file}.input`)).buffer;
  let at = 0;
  const inputs = JSON.parse(new TextDecoder().decode(await readBytes(`${file}.input.json`))).map(({ type, shape }) => {
    const Elements = type === "int64" ? BigInt64Array : Float32Array;
    const size = shape.reduce((product, n) => product * n, 1);
    const elements = new Elements(bytes.slice(at, (at += size * Elements.BYTES_PER_ELEMENT)));
    return new ort.Tensor(type, elements, shape);
  });
  const session = await ort.InferenceSession.create(await readBytes(`${file}.onnx`), options);
  const feeds = Object.fromEntries(session.inputNames.map((name, i) => [name, inputs[i]]));
  const [output] = session.outputNames;
  const run = async () => (await session.run(feeds))[output].data;
  return { run, result: run, close: () => session.release() };
}
