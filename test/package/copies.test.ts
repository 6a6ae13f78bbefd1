/** Two copies of the built package in one process reject each other's tensors, wherever the copies are installed. */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "nabla-copies-"));
for (const name of ["one", "two"])
  for (const part of ["package.json", "dist/node", "dist/src", "dist/assembly"])
    cpSync(part, join(folder, name, part), { recursive: true });
afterAll(() => rmSync(folder, { recursive: true }));

async function load(...paths: [string, string]) {
  const urls = paths.map((path) => pathToFileURL(resolve(path)).href);
  const { stdout } = await promisify(execFile)(process.execPath, ["test/package/copies.mjs", ...urls]);
  return JSON.parse(stdout) as { same: boolean; warnings: string[]; messages: string[]; sums: number[][] };
}

test.each<[string, string, string]>([
  ["the Node build and the source modules", "dist/node/index.js", "dist/src/index.js"],
  ["two folders, Node builds", `${folder}/one/dist/node/index.js`, `${folder}/two/dist/node/index.js`],
  ["two folders, source modules", `${folder}/one/dist/src/index.js`, `${folder}/two/dist/src/index.js`],
])(
  "%s: nabla warns once, rejects the other copy's tensors, and both copies compute with their own",
  async (_, one, two) => {
    const { same, warnings, messages, sums } = await load(one, two);
    expect(same).toBe(false);
    expect(warnings).toEqual([expect.stringContaining("nabla: a second copy was loaded.")]);
    expect(messages).toHaveLength(10);
    for (const message of messages)
      expect(message).toMatch(/from another copy of nabla, which has its own memory\. Run `npm ls nabla` to find/);
    expect(sums).toEqual([[11, 22, 33], [11, 22, 33]]); // biome-ignore format: one line
  },
);
