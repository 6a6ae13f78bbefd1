/** `npm run cnn` on a part of the digits. Needs the build in dist/. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const cnn = (...args: string[]) => promisify(execFile)(process.execPath, ["dist/examples/cnn.js", ...args]);

test("reads at least 93% of 10,000 digits right after 3 epochs of 3,000 others", async () => {
  const { stdout } = await cnn("--epochs", "3", "--limit", "3000");
  const accuracy = Number(
    /^Test accuracy ([\d.]+)% {2}\([\d,]+ of 10,000\), after 3 epochs of 3,000 digits in [\d.]+ s\n$/.exec(stdout)?.[1],
  );
  expect(accuracy).toBeGreaterThan(93);
});

test("options that make no sense are refused", async () => {
  await expect(cnn("--epochs", "0")).rejects.toThrow("error: --epochs must be a number above 0.");
});
