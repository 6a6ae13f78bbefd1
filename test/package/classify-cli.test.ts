/** `npm run cnn` and `npm run lstm` on a subset of the digits. Needs the build in dist/. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = (name: string, ...args: string[]) =>
  promisify(execFile)(process.execPath, [`dist/examples/${name}.js`, ...args]);

test.each([
  ["cnn", 95],
  ["lstm", 88],
])(
  "%s: classifies at least %d percent of 10,000 digits correctly after 5 epochs of 5,000 others",
  async (name, least) => {
    const { stdout } = await run(name, "--epochs", "5", "--limit", "5000");
    const accuracy = Number(
      /^Test accuracy ([\d.]+)% {2}\([\d,]+ of 10,000\), after 5 epochs of 5,000 digits in [\d.]+ s\n$/.exec(
        stdout,
      )?.[1],
    );
    expect(accuracy).toBeGreaterThanOrEqual(least);
  },
);

test("rejects invalid options", async () => {
  await expect(run("cnn", "--epochs", "0")).rejects.toThrow("error: --epochs must be an integer above 0, got 0.");
});
