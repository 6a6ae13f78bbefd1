/** The digits file of the build. Needs dist/bin. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { loadMnist } from "../../cli/mnist/data.ts";
import { readDigits } from "../../cli/mnist/packed.ts";

const file = new Uint8Array(readFileSync("dist/bin/digits.gz"));

test("the file contains MNIST's first 6,000 training digits and first 1,000 test digits", async () => {
  const { train, test: tested } = await readDigits(file);
  const mnist = await loadMnist();
  for (const [part, whole, count] of [
    [train, mnist.train, 6000],
    [tested, mnist.test, 1000],
  ] as const) {
    expect(part.count).toBe(count);
    expect(Buffer.compare(part.pixels, whole.pixels.subarray(0, count * 784))).toBe(0);
    expect(Buffer.compare(part.labels, whole.labels.subarray(0, count))).toBe(0);
  }
});

test("a file that the server has already decompressed gives the same digits", async () => {
  expect(await readDigits(Uint8Array.from(gunzipSync(file)))).toEqual(await readDigits(file));
});

test("the error for a truncated file says what to do", async () => {
  const part = Uint8Array.from(gunzipSync(file).subarray(0, 1000));
  await expect(readDigits(part)).rejects.toThrow(
    "digits.gz: the file must have 5495008 bytes for 6000 + 1000 digits, got 1000. Build the package again.",
  );
});
