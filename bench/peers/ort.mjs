/** onnxruntime-web, on one thread. It runs the models that torch_step.py exports. */
import { existsSync, readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

export function open() {
  ort.env.wasm.numThreads = 1;
  return `onnxruntime-web ${ort.env.versions.web}`;
}

export async function models({ name, file }) {
  if (name.startsWith("train")) throw new Error("does not train");
  if (!existsSync(`${file}.onnx`)) throw new Error("PyTorch did not export the model");
  const bytes = Uint8Array.from(readFileSync(`${file}.input`)).buffer;
  let at = 0;
  const inputs = JSON.parse(readFileSync(`${file}.input.json`, "utf8")).map(({ type, shape }) => {
    const Elements = type === "int64" ? BigInt64Array : Float32Array;
    const size = shape.reduce((product, n) => product * n, 1);
    const elements = new Elements(bytes.slice(at, (at += size * Elements.BYTES_PER_ELEMENT)));
    return new ort.Tensor(type, elements, shape);
  });
  const session = await ort.InferenceSession.create(readFileSync(`${file}.onnx`), { executionProviders: ["wasm"] });
  const feeds = Object.fromEntries(session.inputNames.map((name, i) => [name, inputs[i]]));
  const [output] = session.outputNames;
  const run = async () => (await session.run(feeds))[output].data;
  return { run, result: run, close: () => session.release() };
}
