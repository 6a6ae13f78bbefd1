/** `npm run tfjs:mnist` and `npm run tfjs:text`, on less data than by default. Needs the build in dist/. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = async (name: string, ...args: string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, [`dist/examples/tfjs/${name}.js`, ...args])).stdout;

test("mnist: reads at least 80% of 10,000 digits correctly after 2 epochs of 4,000 others", async () => {
  const output = await run("mnist", "--limit", "4000");
  expect(output).toMatch(/^epoch 2\/2: loss \d\.\d{4}, accuracy [\d.]+%, [\d.]+ steps\/s$/m);
  expect(Number(/^Test accuracy ([\d.]+)% on nabla\.$/m.exec(output)?.[1])).toBeGreaterThan(80);
});

const SMALL = ["--batch", "16", "--context", "16", "--units", "32", "--characters", "12"];
test("text: predicts characters better than their frequencies do after 120 steps, and continues the prompt", async () => {
  const output = await run("text", ...SMALL, "--lr", "0.01", "--steps", "120");
  expect(output).toMatch(/^step 120\/120: loss \d\.\d{3}, [\d.]+ steps\/s$/m);
  // A model that knows only the frequencies of single letters reaches 2.8 nats.
  expect(Number(/^([\d.]+) nats per character on held-out text, on nabla\.$/m.exec(output)?.[1])).toBeLessThan(2.7);
  expect(output).toMatch(/\nAnd God said, [\s\S]{12}\n$/);
});
test("text: --backend cpu runs the same program on TensorFlow.js's own backend", async () => {
  const output = await run(
    "text",
    "--backend",
    "cpu",
    "--units",
    "4",
    "--context",
    "4",
    "--steps",
    "1",
    "--characters",
    "1",
  );
  expect(output).toMatch(/nats per character on held-out text, on cpu\.$/m);
});

test.each([
  ["mnist", ["--backend", "webgl"], 'error: --backend must be one of nabla, cpu, wasm, got "webgl".'],
  ["text", ["--backend", "wasm"], "error: @tensorflow/tfjs-backend-wasm is not installed. Run `npm install --no-save "],
  ["mnist", ["--limit", "0"], "error: --limit must be an integer above 0, got 0."],
  ["text", ["--lr", "fast"], "error: --lr must be a number above 0, got NaN."],
])("%s rejects %j", async (name, args, message) => {
  await expect(run(name, ...args)).rejects.toThrow(message);
});
