// Posts an expensive body to two handlers and then a valid one, in a process with a heap of 256 MB, and prints the three statuses.
// Usage: node --max-old-space-size=256 deep.mjs '{"kind": "json" | "file" | …, "bytes": n, "shape": […]}'
import { losses, nn, optim } from "nabla";
import { inferenceHandler, trainingHandler } from "nabla/serverless";

const { kind, bytes, shape, limits } = JSON.parse(process.argv[2]);
const size = shape.slice(1).reduce((a, b) => a * (b ?? 1), 1);

const repeated = (text) => Buffer.alloc(bytes, text);
function nested() {
  const body = Buffer.alloc(bytes, "[");
  body.write('{"inputs":');
  body.fill("]", bytes / 2, bytes - 1);
  body.write("}", bytes - 1);
  return body;
}
function bodyOf() {
  if (kind === "arrays") return nested();
  if (kind === "unclosed") return Buffer.concat([Buffer.from('{"inputs":'), repeated("[")]);
  if (kind === "objects") return Buffer.concat([Buffer.from('{"inputs":'), repeated('{"a":')]);
  if (kind === "empty arrays") return Buffer.concat([Buffer.from('{"inputs":['), repeated("[],"), Buffer.from("1]}")]);
  if (kind === "short arrays") return Buffer.concat([Buffer.from('{"inputs":['), repeated("[1],"), Buffer.from("1]}")]);
  if (kind === "names") {
    const names = Array.from({ length: bytes / 10 }, (_, i) => `"${i.toString(36).padStart(5, "0")}":1`);
    return Buffer.from(`{${names.join(",")}}`);
  }
  const file = Buffer.alloc(8 + bytes, "[");
  file.writeBigUInt64LE(BigInt(bytes));
  file.write('{"inputs":{"dtype":', 8);
  return file;
}
const headers = { "content-type": kind === "file" ? "application/vnd.safetensors" : "application/json" };
const post = (handler, body, own = headers) =>
  handler(new Request("http://localhost/", { method: "POST", body, headers: own }));

const options = { input: { shape }, limits, onError: console.error };
const infer = inferenceHandler({ ...options, load: () => (x) => x });
const train = trainingHandler({
  ...options,
  target: { shape: [null, 1] },
  create() {
    const model = new nn.Linear(size, 1);
    return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }), loss: losses.mse };
  },
});
const statuses = [];
const body = bodyOf();
for (const handler of [infer, train]) statuses.push((await post(handler, body)).status);
const sample = shape.slice(1).reduceRight((inner, n) => Array(n ?? 1).fill(inner), 0);
const valid = await post(infer, JSON.stringify({ inputs: [sample] }), { "content-type": "application/json" });
statuses.push(valid.status);
console.log(JSON.stringify(statuses));
