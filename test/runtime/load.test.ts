/**
 * Modules are instantiated with AssemblyScript's loader, except modules from other realms, which the loader would treat as
 * bytes.
 */
import { runInNewContext } from "node:vm";
import { instantiateSync } from "@assemblyscript/loader";
import { describe, expect, test, vi } from "vitest";
import type { Build, Kernels } from "../../src/runtime/load.ts";

vi.mock("@assemblyscript/loader", { spy: true });
// The setup file has already loaded load.ts, with the real loader.
vi.resetModules();
const { compileBuild, decodeBuild, instantiate } = await import("../../src/runtime/load.ts");

const build = process.env.NABLA_BUILD as Build;
const newMemory = (): WebAssembly.Memory => new WebAssembly.Memory({ initial: 16, maximum: 65536 });

/** The sum of two vectors of four numbers, which a kernel computes in `memory`. */
function sumOf(kernels: Kernels, memory: WebAssembly.Memory): number[] {
  const values = new Float32Array(memory.buffer);
  values.set([1, 2, 3, 4, 10, 20, 30, 40], 1024);
  kernels.add!(4128, 4096, 4112, 4, 1, 1);
  return Array.from(values.subarray(1032, 1036));
}

describe("instantiate", () => {
  test("passes a module from this realm to the loader, and returns the module's own exports", () => {
    const module = compileBuild(build);
    const memory = newMemory();
    const kernels = instantiate(module, memory);
    expect(vi.mocked(instantiateSync).mock.calls.map(([source]) => source)).toEqual([module]);
    expect(kernels).toBe(vi.mocked(instantiateSync).mock.results[0]!.value.instance.exports);
    expect(Object.keys(kernels).sort()).toEqual(
      WebAssembly.Module.exports(module)
        .map(({ name }) => name)
        .sort(),
    );
    expect(sumOf(kernels, memory)).toEqual([11, 22, 33, 44]);
  });

  test("instantiates a module from another realm, which the loader would treat as bytes", () => {
    const foreign = runInNewContext("new WebAssembly.Module(bytes)", {
      bytes: decodeBuild(build),
    }) as WebAssembly.Module;
    expect(foreign).not.toBeInstanceOf(WebAssembly.Module);
    expect(() => instantiateSync(foreign)).toThrow(TypeError);
    const memory = newMemory();
    expect(sumOf(instantiate(foreign, memory), memory)).toEqual([11, 22, 33, 44]);
  });
});
