/**
 * A pool's life in Node: how it starts or is refused, what becomes of it when a worker dies, when memory grows and when nothing is
 * to be done, and how it ends. What needs a process of its own is in lives/, run on the built package.
 */
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { compile, dispose, info, init, losses, memory, nn, optim, tensor, zeros } from "nabla";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { availableCores } from "../../src/runtime/threads/index.ts";

const MAJORS = [20, 24];
/** By the product that the lives compute, and by the net that they train. */
const LEARNT = 0.1;
const THREAD_ERROR = /^ThreadError: a worker died during this call, .*Reload parameters/;

/** The executable of a Node of the given major version, from the registry where it is not this one. */
function nodeOf(major: number): string {
  if (Number.parseInt(process.versions.node, 10) === major) return process.execPath;
  const args = ["-y", "-p", `node@${major}`, "node", "-p", "process.execPath"];
  return execFileSync("npx", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
}
const nodes = new Map<number, string>();
beforeAll(() => {
  for (const major of MAJORS) nodes.set(major, nodeOf(major));
}, 120_000);

interface Life<T> {
  /** Its last report. */
  value: T;
  code: number | null;
  /** Milliseconds from then to the process's end. */
  lingered: number;
  errors: string;
}

interface Circumstances {
  major?: number;
  flags?: readonly string[];
  /** Seconds that it may take. */
  within?: number;
}

/** Runs a life to its end. @throws Error if it does not end in time, or tells nothing */
function live<T>(
  script: string,
  name: string,
  options: object = {},
  { major = MAJORS[0]!, flags = [], within = 60 }: Circumstances = {},
): Promise<Life<T>> {
  return new Promise((resolve, reject) => {
    const args = [...flags, `test/threads/lives/${script}.mjs`, name, JSON.stringify(options)];
    const child = spawn(nodes.get(major)!, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    let late = false;
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (errors += chunk));
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, within * 1000);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      const { value, at } = JSON.parse(output.trim().split("\n").at(-1) || "{}") as { value?: T; at: number };
      if (late) reject(new Error(`${script} ${name} had not ended after ${within} s: ${output} ${errors}`));
      else if (value === undefined) reject(new Error(`${script} ${name} reported nothing: ${errors}`));
      else resolve({ value, code, lingered: Date.now() - at, errors });
    });
  });
}

/** What a life tells that ended by itself, in time, with nothing to complain of. */
async function reportOf<T>(...life: Parameters<typeof live>): Promise<T> {
  const { value, code, lingered, errors } = await live<T>(...life);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(lingered).toBeLessThan(2000);
  return value;
}

describe.each(MAJORS)("a process ends, on Node %i,", (major) => {
  const end = (name: string) => live<{ right: boolean; workers: number }>("ending", name, {}, { major, within: 30 });

  test.each([
    ["idle", "with an idle pool", 3],
    ["spinning", "right after its last call, while workers look for more", 3],
    ["dispose", "after dispose()", 0],
    ["forgotten", "when nobody waits for init", 3],
  ])("by itself and with code 0 within two seconds: %s", async (name, _, workers) => {
    const { value, code, lingered, errors } = await end(name);
    expect(value).toEqual({ right: true, workers });
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(lingered).toBeLessThan(2000);
  });
  test.each(["exitAtOnce", "exitInside", "exitWhileStarting", "exitWhileDisposing"])(
    "by process.exit, with its code: %s",
    async (name) => {
      const { value, code, lingered, errors } = await end(name);
      expect(value).toEqual({ right: true, workers: 3 });
      expect({ code, errors }).toEqual({ code: 7, errors: "" });
      expect(lingered).toBeLessThan(2000);
    },
  );
  test("by an error that nobody caught, which it shows", async () => {
    const { code, lingered, errors } = await end("throws");
    expect(code).toBe(1);
    expect(errors).toContain("on purpose");
    expect(lingered).toBeLessThan(2000);
  });
});

describe.each(MAJORS)("a worker that dies, on Node %i:", (major) => {
  const die = <T>(script: string, name: string, options = {}, within = 60): Promise<T> =>
    reportOf<T>(script, name, options, { major, within });

  test.each([0, 5, 300])(
    "while idle, %i ms after a call: the next one is right at once, and another takes its place",
    async (rest) => {
      const { milliseconds, reason, ...life } = await die<{ milliseconds: number; reason: string }>("deaths", "idle", {
        rest,
      });
      expect(life).toEqual({ before: "right", atOnce: "right", recovered: true, after: "right", started: 3 });
      expect(milliseconds).toBeLessThan(1000);
      expect(reason).toMatch(/; a worker died \(it was terminated\)$/);
    },
  );

  test("right before a call, at many moments: until it is dead calls are right or a ThreadError; then helpers come again, and calls are right", async () => {
    const delays = Array.from({ length: 24 }, (_, i) => (i < 12 ? i / 50 : i / 5));
    const { results, ...life } = await die<{ results: string[] }>("deaths", "around", { delays });
    expect(life).toEqual({ recovered: true, after: delays.map(() => "right"), left: 0 });
    // Two calls at once, and at least one for each of the two helpers that come again.
    expect(results.length).toBeGreaterThanOrEqual(4 * delays.length);
    expect(results.filter((result) => result !== "right" && !THREAD_ERROR.test(result))).toEqual([]);
  });

  test.each([2, 3])(
    "in the midst of calls of %i threads, at many moments: right or a ThreadError, never a hang",
    async (threads) => {
      const delays = Array.from({ length: 20 }, (_, i) => i);
      const { results, longest, ...life } = await die<{ results: string[]; longest: number }>("killed", "calls", {
        threads,
        delays,
      });
      expect(results.length).toBeGreaterThanOrEqual(2 * delays.length);
      expect(results.filter((result) => result !== "right" && !THREAD_ERROR.test(result))).toEqual([]);
      // Else none was hit in the midst of it.
      expect(results.filter((result) => THREAD_ERROR.test(result)).length).toBeGreaterThan(2);
      expect(life).toEqual({ recovered: true, kept: 0, dirty: 0 });
      expect(longest).toBeLessThan(5000);
    },
  );

  test.each([
    ["leaves", "process.exit(0)"],
    ["traps", "throw new WebAssembly.RuntimeError('unreachable')"],
  ])("in the midst of a compiled program, where it %s: a ThreadError; then all is as before", async (_, how) => {
    const { results, reason, ...life } = await die<{ results: string[]; reason: string }>("deaths", "waiting", { how });
    expect(results.at(-1)).toMatch(THREAD_ERROR);
    expect(results.slice(0, -1).every((result) => result === "right")).toBe(true);
    expect(reason).toMatch(/; a worker died during a program/);
    expect(life).toEqual({ atOnce: "right", recovered: true, again: "right", after: "right" });
  });

  test("when all shares are done but it has not left: it is not waited for", async () => {
    const { atOnce, milliseconds, ...life } = await die<{ atOnce: string; milliseconds: number }>(
      "deaths",
      "leaving",
      {},
      20,
    );
    expect(atOnce).toMatch(THREAD_ERROR);
    expect(milliseconds).toBeLessThan(5000);
    expect(life).toEqual({ next: "right", recovered: true, after: "right" });
  });

  test("nine times: then there are no more, and one thread goes on", async () => {
    const { results, reason, ...life } = await die<{ results: string[]; reason: string }>("deaths", "all");
    expect(results).toEqual(new Array(10).fill("right"));
    expect(reason).toContain("and so did 8 replacements; no more are started");
    expect(life).toEqual({ threads: 2, started: 9, left: 0 });
  });

  test("nabla's own thread is ended at work: its workers end with it", async () => {
    expect(await die("killed", "owner")).toEqual({ called: true });
  });
});

describe("workers that cannot start: one thread, a reason, and training works:", () => {
  const ONE = { error: "", threads: 1, right: true, left: 0 };
  test.each([
    ["constructor", /^no workers today$/],
    ["script", /^a worker could not be started: Error: no scripts today$/],
    ["exits", /^a worker could not be started: /],
    ["second", /^a worker could not be started: Error: not a second one$/],
    ["silent", /^a worker did not start within 20 s$/],
  ])("%s", async (name, expected) => {
    const {
      loss,
      reason,
      started: _,
      ...rest
    } = await reportOf<{ loss: number; reason: string; started: number }>("refusals", name);
    expect(rest).toEqual(ONE);
    expect(reason).toMatch(expected);
    expect(loss).toBeLessThan(LEARNT);
  });

  test.each([
    ["constructor", false, "no more workers today"],
    ["script", false, "a worker could not be started: Error: no more workers today"],
    ["script", true, "a worker did not start within 20 s"],
  ])("in the place of one that died, which info() says: %s, silent: %o", async (how, silent, why) => {
    const { reason, ...rest } = await reportOf<{ reason: string }>("refusals", "replacement", { how, silent });
    expect(rest).toEqual({ right: true, left: 0 });
    expect(reason).toContain(`; a worker died (${why}), and so did 8 replacements; no more are started`);
  });
});

describe("shared memory that is refused", () => {
  test("altogether: one thread, and a reason", async () => {
    const { loss, ...rest } = await reportOf<{ loss: number }>("refusals", "noMemory");
    const reason = "the runtime refused shared memory";
    expect(rest).toEqual({ error: "", threads: 1, reason, right: true, started: 0, left: 0 });
    expect(loss).toBeLessThan(LEARNT);
  });
  test.each([
    { above: 2 ** 28, granted: 2 ** 28 },
    { above: 2 ** 27, memoryLimit: 2 ** 28 + 2 ** 20, granted: 2 ** 26 + 2 ** 18 },
    { above: 2 ** 29, memoryLimit: 2 ** 28, granted: 2 ** 28 },
  ])("above a size: smaller, which the reason says where it is less than was asked for: %o", async (options) => {
    const { loss, reason, full, ...life } = await reportOf<{ loss: number; reason: string; full: string }>(
      "refusals",
      "memory",
      options,
    );
    expect(life).toMatchObject({ error: "", threads: 3, right: true });
    expect(loss).toBeLessThan(LEARNT);
    if (options.memoryLimit === options.granted) expect(reason).not.toContain("memory");
    else expect(reason).toMatch(new RegExp(`; memory limited to ${options.granted} bytes$`));
    expect(full).toMatch(/^OutOfMemoryError: /);
  });
});

describe("memory that grows between shared calls", () => {
  test.each([
    [20, []],
    [24, []],
    [24, ["--wasm-enforce-bounds-checks"]],
  ] as const)("results are right before and after, and workers see what is new: Node %i %o", async (major, flags) => {
    const circumstances = { major, flags };
    const { capacities, right, helped } = await reportOf<{ capacities: number[]; right: boolean[]; helped: number }>(
      "course",
      "growth",
      {},
      circumstances,
    );
    expect(capacities).toHaveLength(8);
    expect(capacities).toEqual([...new Set(capacities)].sort((a, b) => a - b));
    expect(right.every(Boolean)).toBe(true);
    // A worker may come too late, but not always.
    expect(helped).toBeGreaterThan(2);
  });
});

interface Held {
  rss: number;
  heap: number;
  addresses: number;
  resources: string[];
  workers: number;
}

describe("over time", () => {
  test.each(MAJORS)(
    "a thousand lives, each with a shared call, leave nothing behind: Node %i",
    async (major) => {
      const { wrong, before, after } = await reportOf<{
        wrong: number;
        before: Held;
        after: Held;
      }>("course", "cycles", { count: 1000, settled: 200 }, { major, flags: ["--expose-gc"], within: 400 });
      expect(wrong).toBe(0);
      expect(after).toMatchObject({ resources: [], workers: 0 });
      // A worker that were left takes megabytes, and a memory 8 GB of addresses; malloc takes some tens of MB to settle.
      expect(after.rss - before.rss).toBeLessThan(2 ** 26);
      expect(after.heap - before.heap).toBeLessThan(2 ** 21);
      expect(after.addresses - before.addresses).toBeLessThan(2 ** 32);
    },
    410_000,
  );

  test.each(MAJORS)("dispose() does not take long, however soon after a call: Node %i", async (major) => {
    const pauses = Array.from({ length: 60 }, (_, i) => Math.max(0, (i % 6) - 3));
    const { longest, left } = await reportOf<{ longest: number; left: number }>(
      "course",
      "dispose",
      { pauses },
      { major },
    );
    expect(left).toBe(0);
    expect(longest).toBeLessThan(500);
  });

  test.each(MAJORS)("a pool at rest takes less than a fiftieth of a core: Node %i", async (major) => {
    const { right, share } = await reportOf<{ right: boolean; share: number }>("course", "rest", {}, { major });
    expect(right).toBe(true);
    expect(share).toBeLessThan(0.02);
  });

  test.each(MAJORS)("eight threads on fewer cores give right results, and end: Node %i", async (major) => {
    const { loss, reason, helped, ...life } = await reportOf<{ loss: number; reason: string; helped: boolean }>(
      "course",
      "crowd",
      { threads: 8 },
      { major },
    );
    expect(life).toEqual({ right: true, threads: 8, started: 7, left: 0 });
    expect(helped).toBe(true);
    expect(loss).toBeLessThan(LEARNT);
    expect(reason).toMatch(/^as requested, /);
  });

  test("finalizers of what dispose() ended do no harm to the next engine", async () => {
    const flags = ["--expose-gc"];
    const { right, ...growth } = await reportOf<{ right: boolean[] }>("course", "finalizers", {}, { flags });
    expect(right.every(Boolean)).toBe(true);
    expect(growth).toEqual({ collected: true, tensors: 0, bytes: 0 });
  });

  test("init while another is starting: equal options share the start, others and early tensors are refused", async () => {
    const life = await reportOf<Record<string, unknown>>("course", "pending");
    expect(life).toMatchObject({
      first: "fine",
      equal: "fine",
      threads: 1,
      x: [2, 4],
      left: 0,
      third: "fine",
      right: true,
    });
    expect(life.second).toBe(
      "Error: init: nabla is starting with other options: threads is 3, not 2. " +
        "Call init once, before the first tensor, or await dispose() first.",
    );
    expect(life.both).toEqual({ threads: 3, left: 2 });
    expect(life.disturbed).toBe(
      "Error: init: a tensor was made while nabla was starting its threads. Await init before the first tensor.",
    );
  });
});

describe("init and dispose", () => {
  afterEach(async () => {
    vi.restoreAllMocks();
    await dispose();
  });

  test("a number of threads that is none is an error, and changes nothing", async () => {
    const nonsense = [0, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, 1000, "two", "2", "", null, true, [2], {}];
    for (const threads of nonsense) {
      const failed = expect(init({ threads: threads as number }), String(threads)).rejects;
      await failed.toThrow(
        typeof threads === "number" || typeof threads === "string"
          ? /^init: threads is .*, but must be "auto" or a whole number in 1 … 64\.$/
          : /^init: threads must be a number or a string, got .+\.$/,
      );
    }
    await init({ threads: 2 });
    expect(info()).toMatchObject({ threads: 2, reason: expect.stringMatching(/^as requested/) });
  });

  test("a second init with equal options does nothing; one with others lists what differs, whatever came first", async () => {
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

  test("inits at the same time share one start; if it fails, all of them fail, and a later one can succeed", async () => {
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

  test("dispose() twice, at once, and before anything began, is fine", async () => {
    await dispose();
    await init({ threads: 2 });
    await Promise.all([dispose(), dispose()]);
    await dispose();
    await init({ threads: 3 });
    expect(info().threads).toBe(3);
  });

  test("init may follow dispose() at once", async () => {
    await init({ threads: 2 });
    const ended = dispose();
    await init({ threads: 2 });
    await ended;
    expect(tensor([1, 2]).mul(2).toArray()).toEqual([2, 4]);
    expect(info().threads).toBe(2);
  });

  test.each([1, 2])("what was made before dispose() says why it cannot be used, by %i threads", async (threads) => {
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
      "op with what is new": () => zeros([4, 3]).mul(x),
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
    // To let go of it is still allowed.
    for (const old of [x, y, loss, result]) old.dispose();
    step.dispose();
  });

  test("after dispose() everything can be made anew", async () => {
    await init({ threads: 2 });
    const double = compile((x: ReturnType<typeof tensor>) => x.mul(2).add(1));
    expect(double(tensor([1, 2])).toArray()).toEqual([3, 5]);
    await dispose();
    expect(tensor([1, 2]).mul(2).add(1).toArray()).toEqual([3, 5]);
    expect(info().threads).toBe(1);
    // It depends on nothing that is gone: it is recorded anew.
    expect(double(tensor([1, 2])).toArray()).toEqual([3, 5]);
    const model = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const [x, y] = [tensor([[1, 2]]), tensor([[3]])];
    let loss = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 100; i++) loss = optimizer.minimize(() => losses.mse(model.forward(x), y)).item();
    expect(loss).toBeLessThan(1e-3);
  });

  /** Simulates a machine: its cores, and files that say what the process may use of them; others are not there. */
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
      "a group below the root",
      64,
      { "/proc/self/cgroup": "0::/a/b\n", [V2]: "max 100000\n", "/sys/fs/cgroup/a/cpu.max": "300000 100000\n" },
      3,
      "a cgroup allows 3 of 64 cores",
    ],
    [
      "groups within each other: the least",
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
      "version 1",
      64,
      { [`${V1}quota_us`]: "300000\n", [`${V1}period_us`]: "100000\n" },
      3,
      "a cgroup allows 3 of 64 cores",
    ],
    [
      "version 1, no limit",
      64,
      { [`${V1}quota_us`]: "-1\n", [`${V1}period_us`]: "100000\n" },
      64,
      "64 cores available",
    ],
    ["nonsense", 8, { [V2]: "", "/proc/self/cgroup": "12:cpu:/x\n" }, 8, "8 cores available"],
  ])("cores: %s", async (_, cores, files, count, reason) => {
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
