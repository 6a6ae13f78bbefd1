/** `npm run transformer` with a small model. Needs the build in dist/. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = (...args: string[]) => promisify(execFile)(process.execPath, ["dist/examples/transformer.js", ...args]);

test("learns to spell within 400 small steps, and continues a prompt", async () => {
  const small = ["--steps", "400", "--width", "32", "--layers", "2", "--context", "32", "--batch", "16"];
  const { stdout } = await run(...small, "--characters", "100", "--prompt", "And Joseph");
  const found = /^400 steps in [\d.]+ s; ([\d.]+) nats per character on held-out text\.\n\n([\s\S]*)\n$/.exec(stdout);
  const written = found![2]!;
  // A model that knows only the frequencies of single letters reaches 2.8 nats; with the frequencies of pairs, it
  // reaches 2.3.
  expect(Number(found![1])).toBeLessThan(2.1);
  expect(written.startsWith("And Joseph")).toBe(true);
  expect(written.length).toBe(110);
  // Many of the generated words occur in the training text.
  const known = new Set(readFileSync("examples/text/genesis.txt", "utf8").split(/[^A-Za-z]+/));
  const words = written.split(/[^A-Za-z]+/).slice(0, -1);
  expect(words.filter((word) => known.has(word)).length / words.length).toBeGreaterThan(0.4);
});

test.each([
  [["--steps", "0"], "error: --steps must be an integer above 0, got 0."],
  [["--width", "20"], "error: --width must be a multiple of 8, got 20."],
  [["--prompt", "π"], "error: --prompt must not be empty, and may contain only:"],
])("rejects %j", async (args, message) => {
  await expect(run(...args)).rejects.toThrow(message);
});
