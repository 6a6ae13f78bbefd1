/** The installed tarball in every maintained version of Node, with import and require. */
import { describe, expect, inject, test } from "vitest";
import {
  canRequire,
  expectConsistent,
  expectKnown,
  expectLearned,
  lastJson,
  MAJORS,
  type Result,
  recordMissing,
  recordResult,
  SAVED,
} from "./project.ts";

const { project: cwd, nodes } = inject("matrix");

describe.each(MAJORS)("Node %i", (major) => {
  const node = nodes[major]!;
  if (node.missing !== undefined) {
    recordMissing(`Node ${major}`, node.missing);
    test("is available", () => expect.fail(node.missing));
    return;
  }
  const { path, version } = node;
  const train = (options: object): Promise<Result> => lastJson(path, ["main.mjs", JSON.stringify(options)], { cwd });

  test("trains to the known bits on one thread and on two; the default build learns; require returns the same module as import", async () => {
    const one = await train({ deterministic: true });
    expectKnown(one);
    expectConsistent(one);
    const two = await train({ deterministic: true, threads: 2 });
    expectKnown(two);
    expect(two.threads, two.reason).toBe(2);
    const seen = [expectLearned(await train({}), major < 22 ? "simd" : "relaxed"), "2 threads"];
    if (canRequire(version)) {
      expect(await lastJson(path, ["main.cjs"], { cwd })).toEqual({ sum: 3, same: true });
      seen.push("`require`");
    }
    recordResult(`Node ${major}`, version, seen.join(", "));
  });
});

test.each(MAJORS)("Node %i: saveFile keeps older saves, and loadFile falls back to them", async (major) => {
  const node = nodes[major]!;
  if (node.missing === undefined) expect(await lastJson(node.path, ["save.mjs"], { cwd })).toEqual(SAVED);
});

test("init rejects invalid options before the engine starts, and applies a memory limit", async () => {
  const script = `import { init, tensor } from "nabla";
    const messages = [];
    for (const options of [{ build: "relaxed", deterministic: true }, { memoryLimit: 10 }])
      await init(options).catch((error) => messages.push(error.message));
    await init({ memoryLimit: 1 << 20 });
    try { tensor(new Float32Array(1 << 20)); } catch (error) { messages.push(error.name); }
    console.log(JSON.stringify([...messages, tensor([1]).item()]));`;
  expect(await lastJson(process.execPath, ["--input-type=module", "-e", script], { cwd })).toEqual([
    'init: build "relaxed" is not deterministic. Omit build or deterministic.',
    "init: memoryLimit must be at least 65536 bytes, got 10.",
    "OutOfMemoryError",
    1,
  ]);
});

test("the binaries can be imported by path, and init accepts a module compiled from one", async () => {
  const script = `import { readFileSync } from "node:fs";
    import { fingerprint } from "./fingerprint.mjs";
    const bytes = readFileSync(new URL(import.meta.resolve("nabla/wasm/simd.wasm")));
    console.log(JSON.stringify(await fingerprint({ module: new WebAssembly.Module(bytes) })));`;
  const { build, ...rest } = await lastJson<Omit<Result, "build"> & { build: string }>(
    process.execPath,
    ["--input-type=module", "-e", script],
    { cwd },
  );
  expect(build).toBe("custom");
  expectKnown({ ...rest, build: "simd" });
});
