/** The programs in examples/, the README and the guide run as written, and their results match their comments. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { run } from "../support/doctest.ts";
import { programs } from "../support/programs.ts";

// Commands have their own tests.
const commands = ["mnist.ts", "cnn.ts", "lstm.ts", "transformer.ts"];
const files = readdirSync("examples").filter((file) => file.endsWith(".ts") && !commands.includes(file));
const all = [
  ...files.map((file) => [`examples/${file}`, readFileSync(`examples/${file}`, "utf8")] as const),
  ...programs.map(({ title, source }) => [title, source] as const),
];

describe("the results of a program match its comments", () => {
  for (const [i, [name, source]] of all.entries()) {
    test(`${name}`, async () => {
      const log = vi.spyOn(console, "log").mockImplementation(() => {});
      const claims = await run(source, `program-${i}`);
      log.mockRestore();
      for (const { expression, actual, expected } of claims) expect(actual, expression).toEqual(expected);
      expect(claims.length, "the program shows at least one result").toBeGreaterThan(0);
    });
  }
});
