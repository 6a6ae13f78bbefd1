/**
 * init and dispose with threads: options, repeated and concurrent calls, tensors from before dispose(), and the number of
 * cores.
 */
import fs from "node:fs";
import os from "node:os";
import { compile, dispose, info, init, losses, memory, nn, optim, tensor, zeros } from "nabla";
import { afterEach, describe, expect, test, vi } from "vitest";
import { availableCores } from "../../src/runtime/threads/index.ts";

describe("init and dispose", () => {
  afterEach(async () => {
    vi.restoreAllMocks();
    await dispose();
  });

  test("an invalid number of threads is rejected and changes nothing", async () => {
    const invalid = [0, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, 1000, "two", "2", "", null, true, [2], {}];
    for (const threads of invalid) {
      const failed = expect(init({ threads: threads as number }), String(threads)).rejects;
      await failed.toThrow(
        typeof threads === "number" || typeof threads === "string"
          ? /^init: threads must be "auto" or a whole number in 1 … 64, got .+\.$/
          : /^init: threads must be a number or a string, got .+\.$/,
      );
    }
    await init({ threads: 2 });
    expect(info()).toMatchObject({ threads: 2, reason: expect.stringMatching(/^as requested/) });
  });

  test("a second init with the same options does nothing, and one with other options throws an error that lists the differences", async () => {
    const differs = (list: string): string =>
      `init: nabla runs with other options: ${list}. ` +
      "Call init once, before the first tensor, or await dispose() first.";
    await init({ threads: 2 });
    const x = tensor([1, 2]);
    await init({ threads: 2 });
    await init({ threads: 2, memoryLimit: 2 ** 32, build: info().build as "simd" | "relaxed" });
    await expect(init()).rejects.toThrow(differs("threads is 2, not 1"));
    await expect(init({ threads: 2, memoryLimit: 1e8 })).rejects.toThrow(
      differs("memoryLimit is 4294967296, not 100000000"),
    );
    expect(info().threads).toBe(2);
    expect(x.toArray()).toEqual([1, 2]);
    await dispose();
    const y = tensor([1]);
    await init();
    await init({ threads: 1 });
    await expect(init({ threads: 2 })).rejects.toThrow(differs("threads is 1, not 2"));
    expect(info()).toMatchObject({ threads: 1, reason: "init({ threads }) was not called" });
    expect(y.item()).toBe(1);
  });

  test("concurrent calls to init share one startup; if it fails, all of them fail, and a later call can succeed", async () => {
    await Promise.all([init({ threads: 3 }), init({ threads: 3 }), init({ threads: 3 })]);
    expect(info().threads).toBe(3);
    await dispose();
    await Promise.all([init(), init(), init({})]);
    expect(info().threads).toBe(1);
    await dispose();
    const failing = [init({ threads: 2 }), init({ threads: 2 })].map((promise) =>
      expect(promise).rejects.toThrow("tensor"),
    );
    tensor([1]);
    await Promise.all(failing);
    await dispose();
    await init({ threads: 2 });
    expect(info().threads).toBe(2);
  });

  test("dispose() can be called before init, twice, and concurrently", async () => {
    await dispose();
    await init({ threads: 2 });
    await Promise.all([dispose(), dispose()]);
    await dispose();
    await init({ threads: 3 });
    expect(info().threads).toBe(3);
  });

  test("init may be called right after dispose()", async () => {
    await init({ threads: 2 });
    const ended = dispose();
    await init({ threads: 2 });
    await ended;
    expect(tensor([1, 2]).mul(2).toArray()).toEqual([2, 4]);
    expect(info().threads).toBe(2);
  });

  test.each([1, 2])(
    "using an object that was created before dispose() throws a DisposedError, with %i threads",
    async (threads) => {
      await init({ threads });
      const [x, y] = [zeros([4, 3]), zeros([4, 1])];
      const model = new nn.Linear(3, 1);
      const optimizer = new optim.Adam(model.parameters());
      const step = compile((a: typeof x, b: typeof y) => optimizer.minimize(() => losses.mse(model.forward(a), b)));
      const result = step(x, y);
      const loss = losses.mse(model.forward(x), y);
      await dispose();
      expect(memory()).toMatchObject({ bytes: 0, tensors: 0 });

      const gone = /disposed by nabla's dispose\(\), which frees all tensors\. Copy the elements first/;
      const uses: Record<string, () => unknown> = {
        data: () => x.data,
        live: () => x.live(),
        item: () => loss.item(),
        result: () => result.item(),
        op: () => x.mul(2),
        "op with a new tensor": () => zeros([4, 3]).mul(x),
        clone: () => x.clone(),
        reshape: () => x.reshape(12),
        copyFrom: () => zeros([4, 3]).copyFrom(x),
        backward: () => loss.backward(),
        parameters: () => model.forward(zeros([4, 3])),
        optimizer: () => optimizer.step(),
        "compiled function": () => step(x, y),
        "compiled function, new arguments": () => step(zeros([4, 3]), zeros([4, 1])),
      };
      for (const [name, use] of Object.entries(uses)) {
        expect(use, name).toThrow(
          expect.objectContaining({ name: "DisposedError", message: expect.stringMatching(gone) }),
        );
      }
      expect(x.isDisposed && result.isDisposed && model.weight.isDisposed).toBe(true);
      // Disposing old objects is still allowed.
      for (const old of [x, y, loss, result]) old.dispose();
      step.dispose();
    },
  );

  test("after dispose() new tensors, models and recordings work", async () => {
    await init({ threads: 2 });
    const double = compile((x: ReturnType<typeof tensor>) => x.mul(2).add(1));
    expect(double(tensor([1, 2])).toArray()).toEqual([3, 5]);
    await dispose();
    expect(tensor([1, 2]).mul(2).add(1).toArray()).toEqual([3, 5]);
    expect(info().threads).toBe(1);
    // The function uses no disposed tensors, so this call records it again.
    expect(double(tensor([1, 2])).toArray()).toEqual([3, 5]);
    const model = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const [x, y] = [tensor([[1, 2]]), tensor([[3]])];
    let loss = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 100; i++) loss = optimizer.minimize(() => losses.mse(model.forward(x), y)).item();
    expect(loss).toBeLessThan(1e-3);
  });

  /** Simulates a machine with this number of cores and these cgroup files. */
  function pretend(cores: number, files: Readonly<Record<string, string>> = {}): void {
    vi.spyOn(os, "availableParallelism").mockReturnValue(cores);
    const { readFileSync } = fs;
    const read = (path: fs.PathOrFileDescriptor, ...rest: unknown[]): unknown => {
      if (!/^\/(sys\/fs\/cgroup|proc\/self\/cgroup)/.test(String(path))) {
        return (readFileSync as (...args: unknown[]) => unknown)(path, ...rest);
      }
      const text = files[String(path)];
      if (text === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
      return text;
    };
    vi.spyOn(fs, "readFileSync").mockImplementation(read as typeof readFileSync);
  }
  const V2 = "/sys/fs/cgroup/cpu.max";
  const V1 = "/sys/fs/cgroup/cpu/cpu.cfs_";

  test.each<[string, number, Record<string, string>, number, string]>([
    ["no control groups", 64, {}, 64, "64 cores available"],
    ["one core", 1, {}, 1, "1 core available"],
    ["a quota of 1.5", 64, { [V2]: "150000 100000\n" }, 1, "a cgroup allows 1.5 of 64 cores"],
    ["a quota of 2.5", 64, { [V2]: "250000 100000\n" }, 2, "a cgroup allows 2.5 of 64 cores"],
    ["a quota of half a core", 64, { [V2]: "50000 100000\n" }, 1, "a cgroup allows 0.5 of 64 cores"],
    ["a quota above the cores", 4, { [V2]: "800000 100000\n" }, 4, "4 cores available"],
    ["no limit", 4, { [V2]: "max 100000\n" }, 4, "4 cores available"],
    [
      "a cgroup below the root",
      64,
      { "/proc/self/cgroup": "0::/a/b\n", [V2]: "max 100000\n", "/sys/fs/cgroup/a/cpu.max": "300000 100000\n" },
      3,
      "a cgroup allows 3 of 64 cores",
    ],
    [
      "nested cgroups with different quotas",
      64,
      {
        "/proc/self/cgroup": "0::/a/b\n",
        "/sys/fs/cgroup/a/cpu.max": "600000 100000\n",
        "/sys/fs/cgroup/a/b/cpu.max": "200000 50000\n",
      },
      4,
      "a cgroup allows 4 of 64 cores",
    ],
    [
      "cgroups version 1",
      64,
      { [`${V1}quota_us`]: "300000\n", [`${V1}period_us`]: "100000\n" },
      3,
      "a cgroup allows 3 of 64 cores",
    ],
    [
      "cgroups version 1 without a limit",
      64,
      { [`${V1}quota_us`]: "-1\n", [`${V1}period_us`]: "100000\n" },
      64,
      "64 cores available",
    ],
    ["invalid files", 8, { [V2]: "", "/proc/self/cgroup": "12:cpu:/x\n" }, 8, "8 cores available"],
  ])("available cores with %s", async (_, cores, files, count, reason) => {
    pretend(cores, files);
    expect(await availableCores()).toEqual({ count, reason });
  });

  test.each<[number, string | undefined, number, string]>([
    [64, undefined, 8, "64 cores available"],
    [3, undefined, 3, "3 cores available"],
    [1, undefined, 1, "1 core available"],
    [64, "150000 100000\n", 1, "a cgroup allows 1.5 of 64 cores"],
    [64, "200000 100000\n", 2, "a cgroup allows 2 of 64 cores"],
  ])('threads: "auto" with %i cores and a quota of %o', async (cores, quota, threads, reason) => {
    pretend(cores, quota ? { [V2]: quota } : {});
    await init({ threads: "auto" });
    expect(info()).toMatchObject({ threads, reason });
    expect(tensor([1, 2, 3]).sum().item()).toBe(6);
  });
});
