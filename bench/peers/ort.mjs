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
  const { type, shape } = JSON.parse(readFileSync(`${file}.input.json`, "utf8"));
  const bytes = Uint8Array.from(readFileSync(`${file}.input`)).buffer;
  const x = new ort.Tensor(type, type === "int64" ? new BigInt64Array(bytes) : new Float32Array(bytes), shape);
  const session = await ort.InferenceSession.create(readFileSync(`${file}.onnx`), { executionProviders: ["wasm"] });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const run = async () => (await session.run({ [input]: x }))[output].data;
  return { run, result: run, close: () => session.release() };
}
