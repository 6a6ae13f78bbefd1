/** The emitted WebAssembly text: modules contain no state, and no float32 kernel is inlined into its dispatcher. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

/** The text of each function, by name. */
function functionsOf(wat: string): Map<string, string> {
  const parts = wat.split("\n (func $").slice(1);
  return new Map(parts.map((part) => [part.slice(0, part.search(/[\s)]/)), part.slice(0, part.indexOf("\n )"))]));
}

for (const build of ["simd", "relaxed", "wide"]) {
  describe(`build/${build}.wat`, () => {
    const wat = readFileSync(`build/${build}.wat`, "utf8");
    const functions = functionsOf(wat);

    test("contains no state: no data, global or start section, and the memory is imported", () => {
      expect(wat).not.toMatch(/^ \((data|global|start)/m);
      expect(wat).toMatch(/\(import "env" "memory"/);
    });

    // V8 never replaces a running function with its optimized code. A kernel inlined into its dispatcher would stay slow until the
    // whole dispatcher is optimized, which takes longer the more loops it has.
    test("dispatchers of float32 ops call kernels: none is inlined", () => {
      for (const name of [
        "kernels/pointwise/unary",
        "kernels/pointwise/derivative",
        "kernels/pointwise/row",
        "engine/stepReduce",
      ]) {
        const text = functions.get(`assembly/${name}`);
        expect(text, `${name} is a separate function`).toBeDefined();
        expect(text).not.toMatch(/^\s*loop/m);
        expect(text).toMatch(/^\s*call \$/m);
      }
    });

    test("unary kernels create no vector constant inside a loop", () => {
      for (const [name, text] of functions) {
        if (!name.startsWith("assembly/kernels/pointwise")) continue;
        const loop = text.indexOf("loop");
        if (loop >= 0)
          expect(text.slice(loop), name).not.toMatch(
            /v128\.const i32x4 (?!0x00000000 0x00000000 0x00000000 0x00000000)/,
          );
      }
    });

    test(`multiplies and adds are ${build === "simd" ? "separate" : "fused"}`, () => {
      expect(wat.includes("f32x4.relaxed_madd")).toBe(build !== "simd");
    });
  });
}

test("the builds in src/runtime/binaries decode to the bytes of build/*.wasm", async () => {
  // Importing the wide build also imports all parts.
  const { decodeWide } = await import("../../src/runtime/wide/index.ts");
  const { decodeBuild } = await import("../../src/runtime/load.ts");
  for (const build of ["simd", "relaxed"] as const) {
    expect(Buffer.from(decodeBuild(build)).equals(readFileSync(`build/${build}.wasm`)), build).toBe(true);
  }
  expect(Buffer.from(decodeWide()).equals(readFileSync("build/wide.wasm")), "wide").toBe(true);
});
