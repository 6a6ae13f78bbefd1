/**
 * The thread pool in Node processes: startup, hosts that refuse workers, dying workers, growing memory, idling and exit. Each
 * test runs a scenario from scenarios/ on the built package, in its own process.
 */
import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import { nodeOf } from "../support/node.ts";

const MAJORS = [20, 24];
/** The loss of a trained network must be below this value. */
const LEARNT = 0.1;
const THREAD_ERROR = /^ThreadError: a worker died during this call, .*Reload parameters/;

interface Outcome<T> {
  /** The scenario's last report. */
  value: T;
  code: number | null;
  /** Milliseconds from the report to the process's exit. */
  exitDelay: number;
  errors: string;
}

interface RunOptions {
  major?: number;
  flags?: readonly string[];
  /** The time limit in seconds. */
  within?: number;
}

/** Runs a scenario until its process exits. @throws Error if it exceeds the time limit or reports nothing */
async function runScenario<T>(
  script: string,
  name: string,
  options: object = {},
  { major = MAJORS[0]!, flags = [], within = 60 }: RunOptions = {},
): Promise<Outcome<T>> {
  const { path } = await nodeOf(major);
  return new Promise((resolve, reject) => {
    const args = [...flags, `test/threads/scenarios/${script}.mjs`, name, JSON.stringify(options)];
    const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
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
      if (late) reject(new Error(`${script} ${name} did not exit within ${within} s: ${output} ${errors}`));
      else if (value === undefined) reject(new Error(`${script} ${name} reported nothing: ${errors}`));
      else resolve({ value, code, exitDelay: Date.now() - at, errors });
    });
  });
}

/** The report of a scenario that must exit in time, with code 0 and without errors. */
async function reportOf<T>(...scenario: Parameters<typeof runScenario>): Promise<T> {
  const { value, code, exitDelay, errors } = await runScenario<T>(...scenario);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(exitDelay).toBeLessThan(2000);
  return value;
}

describe.each(MAJORS)("on Node %i a process exits", (major) => {
  const end = (name: string) =>
    runScenario<{ right: boolean; workers: number }>("ending", name, {}, { major, within: 30 });

  test.each([
    ["idle", "with an idle pool", 3],
    ["spinning", "right after its last call, while workers still poll for work", 3],
    ["dispose", "after dispose()", 0],
    ["forgotten", "without awaiting init", 3],
  ])("with code 0 within two seconds: %s", async (name, _, workers) => {
    const { value, code, exitDelay, errors } = await end(name);
    expect(value).toEqual({ right: true, workers });
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(exitDelay).toBeLessThan(2000);
  });
  test.each(["exitAtOnce", "exitInside", "exitWhileStarting", "exitWhileDisposing"])(
    "with the code of process.exit: %s",
    async (name) => {
      const { value, code, exitDelay, errors } = await end(name);
      expect(value).toEqual({ right: true, workers: 3 });
      expect({ code, errors }).toEqual({ code: 7, errors: "" });
      expect(exitDelay).toBeLessThan(2000);
    },
  );
  test("with code 1 and the error after an uncaught error", async () => {
    const { code, exitDelay, errors } = await end("throws");
    expect(code).toBe(1);
    expect(errors).toContain("on purpose");
    expect(exitDelay).toBeLessThan(2000);
  });
});

describe.each(MAJORS)("on Node %i a worker that dies", (major) => {
  const report = <T>(script: string, name: string, options = {}, within = 60): Promise<T> =>
    reportOf<T>(script, name, options, { major, within });

  test.each([0, 5, 300])(
    "while idle, %i ms after a call, does not affect the next call and is replaced",
    async (rest) => {
      const { milliseconds, reason, ...outcome } = await report<{ milliseconds: number; reason: string }>(
        "deaths",
        "idle",
        {
          rest,
        },
      );
      expect(outcome).toEqual({ before: "right", atOnce: "right", recovered: true, after: "right", started: 3 });
      expect(milliseconds).toBeLessThan(1000);
      expect(reason).toMatch(/; a worker died \(it was terminated\)$/);
    },
  );

  test("right before a call is replaced, and the calls are correct or throw a ThreadError", async () => {
    const delays = Array.from({ length: 24 }, (_, i) => (i < 12 ? i / 50 : i / 5));
    const { results, ...outcome } = await report<{ results: string[] }>("deaths", "around", { delays });
    expect(outcome).toEqual({ recovered: true, after: delays.map(() => "right"), left: 0 });
    // For each delay, two calls run immediately, and at least one more runs for each of the two workers that must help
    // again.
    expect(results.length).toBeGreaterThanOrEqual(4 * delays.length);
    expect(results.filter((result) => result !== "right" && !THREAD_ERROR.test(result))).toEqual([]);
  });

  test.each([2, 3])(
    "during calls with %i threads never makes them hang: they are correct or throw a ThreadError",
    async (threads) => {
      const delays = Array.from({ length: 20 }, (_, i) => i);
      const { results, longest, ...outcome } = await report<{ results: string[]; longest: number }>("killed", "calls", {
        threads,
        delays,
      });
      expect(results.length).toBeGreaterThanOrEqual(2 * delays.length);
      expect(results.filter((result) => result !== "right" && !THREAD_ERROR.test(result))).toEqual([]);
      // Without such errors, no worker would have died during a call, and the test would prove nothing.
      expect(results.filter((result) => THREAD_ERROR.test(result)).length).toBeGreaterThan(2);
      expect(outcome).toEqual({ recovered: true, kept: 0, dirty: 0 });
      expect(longest).toBeLessThan(5000);
    },
  );

  test.each([
    ["exits", "process.exit(0)"],
    ["traps", "throw new WebAssembly.RuntimeError('unreachable')"],
  ])("because it %s during a compiled program causes a ThreadError, and later calls are correct", async (_, how) => {
    const { results, reason, ...outcome } = await report<{ results: string[]; reason: string }>("deaths", "waiting", {
      how,
    });
    expect(results.at(-1)).toMatch(THREAD_ERROR);
    expect(results.slice(0, -1).every((result) => result === "right")).toBe(true);
    expect(reason).toMatch(/; a worker died during a program/);
    expect(outcome).toEqual({ atOnce: "right", recovered: true, again: "right", after: "right" });
  });

  test("after all shares are done does not block the call", async () => {
    const { atOnce, milliseconds, ...outcome } = await report<{ atOnce: string; milliseconds: number }>(
      "deaths",
      "leaving",
      {},
      20,
    );
    expect(atOnce).toMatch(THREAD_ERROR);
    expect(milliseconds).toBeLessThan(5000);
    expect(outcome).toEqual({ next: "right", recovered: true, after: "right" });
  });

  test("nine times is no longer replaced, and one thread continues", async () => {
    const { results, reason, ...outcome } = await report<{ results: string[]; reason: string }>("deaths", "all");
    expect(results).toEqual(new Array(10).fill("right"));
    expect(reason).toContain("and so did 8 replacements; no more are started");
    expect(outcome).toEqual({ threads: 2, started: 9, left: 0 });
  });

  test("because nabla's own thread is terminated ends with all other workers", async () => {
    expect(await report("killed", "owner")).toEqual({ called: true });
  });
});

describe("if workers cannot start, nabla trains on one thread and gives the reason", () => {
  const ONE = { error: "", threads: 1, right: true, left: 0 };
  test.each([
    ["constructor", /^workers are disabled$/],
    ["script", /^a worker could not be started: Error: scripts are disabled$/],
    ["exits", /^a worker could not be started: /],
    ["second", /^a worker could not be started: Error: the second worker is disabled$/],
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
    ["constructor", false, "workers are disabled now"],
    ["script", false, "a worker could not be started: Error: no more workers today"],
    ["script", true, "a worker did not start within 20 s"],
  ])("as replacements of dead workers: %s, silent: %o", async (how, silent, why) => {
    const { reason, ...rest } = await reportOf<{ reason: string }>("refusals", "replacement", { how, silent });
    expect(rest).toEqual({ right: true, left: 0 });
    expect(reason).toContain(`; a worker died (${why}), and so did 8 replacements; no more are started`);
  });
});

describe("if the runtime refuses shared memory", () => {
  test("of any size, nabla trains on one thread and gives the reason", async () => {
    const { loss, ...rest } = await reportOf<{ loss: number }>("refusals", "noMemory");
    const reason = "the runtime refused shared memory";
    expect(rest).toEqual({ error: "", threads: 1, reason, right: true, started: 0, left: 0 });
    expect(loss).toBeLessThan(LEARNT);
  });
  test.each([
    { above: 2 ** 28, granted: 2 ** 28 },
    { above: 2 ** 27, memoryLimit: 2 ** 28 + 2 ** 20, granted: 2 ** 26 + 2 ** 18 },
    { above: 2 ** 29, memoryLimit: 2 ** 28, granted: 2 ** 28 },
  ])(
    "above a certain size, nabla uses less memory, and gives the reason if that is less than requested: %o",
    async (options) => {
      const { loss, reason, full, ...outcome } = await reportOf<{ loss: number; reason: string; full: string }>(
        "refusals",
        "memory",
        options,
      );
      expect(outcome).toMatchObject({ error: "", threads: 3, right: true });
      expect(loss).toBeLessThan(LEARNT);
      if (options.memoryLimit === options.granted) expect(reason).not.toContain("memory");
      else expect(reason).toMatch(new RegExp(`; memory limited to ${options.granted} bytes$`));
      expect(full).toMatch(/^OutOfMemoryError: /);
    },
  );
});

describe("if memory grows between shared calls", () => {
  test.each([
    [20, []],
    [24, []],
    [24, ["--wasm-enforce-bounds-checks"]],
  ] as const)(
    "results are correct before and after, and workers see the new memory: Node %i %o",
    async (major, flags) => {
      const { capacities, right, helped } = await reportOf<{ capacities: number[]; right: boolean[]; helped: number }>(
        "course",
        "growth",
        {},
        { major, flags },
      );
      expect(capacities).toHaveLength(8);
      expect(capacities).toEqual([...new Set(capacities)].sort((a, b) => a - b));
      expect(right.every(Boolean)).toBe(true);
      // Workers may start too late to help with some calls, but not with all of them.
      expect(helped).toBeGreaterThan(2);
    },
  );
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
    "a thousand cycles of init, a shared call and dispose leak nothing: Node %i",
    async (major) => {
      const { wrong, before, after } = await reportOf<{
        wrong: number;
        before: Held;
        after: Held;
      }>("course", "cycles", { count: 1000, settled: 200 }, { major, flags: ["--expose-gc"], within: 400 });
      expect(wrong).toBe(0);
      expect(after).toMatchObject({ resources: [], workers: 0 });
      // A leaked worker would take megabytes, and a leaked WebAssembly memory 8 GB of address space; malloc itself
      // takes some tens of MB.
      expect(after.rss - before.rss).toBeLessThan(2 ** 26);
      expect(after.heap - before.heap).toBeLessThan(2 ** 21);
      expect(after.addresses - before.addresses).toBeLessThan(2 ** 32);
    },
    410_000,
  );

  test.each(MAJORS)("dispose() takes less than 500 ms, even right after a call: Node %i", async (major) => {
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

  test.each(MAJORS)("an idle pool takes less than 2% of a core: Node %i", async (major) => {
    const { right, share } = await reportOf<{ right: boolean; share: number }>("course", "rest", {}, { major });
    expect(right).toBe(true);
    expect(share).toBeLessThan(0.02);
  });

  test.each(MAJORS)("eight threads on fewer cores give correct results and exit: Node %i", async (major) => {
    const { loss, reason, helped, ...outcome } = await reportOf<{ loss: number; reason: string; helped: boolean }>(
      "course",
      "crowd",
      { threads: 8 },
      { major },
    );
    expect(outcome).toEqual({ right: true, threads: 8, started: 7, left: 0 });
    expect(helped).toBe(true);
    expect(loss).toBeLessThan(LEARNT);
    expect(reason).toMatch(/^as requested, /);
  });

  test("finalizers of disposed tensors do not affect the next engine", async () => {
    const flags = ["--expose-gc"];
    const { right, ...growth } = await reportOf<{ right: boolean[] }>("course", "finalizers", {}, { flags });
    expect(right.every(Boolean)).toBe(true);
    expect(growth).toEqual({ collected: true, tensors: 0, bytes: 0 });
  });

  test("init during another init shares its start if the options are the same; other options and early tensors are rejected", async () => {
    const outcome = await reportOf<Record<string, unknown>>("course", "pending");
    expect(outcome).toMatchObject({
      first: "fine",
      equal: "fine",
      threads: 1,
      x: [2, 4],
      left: 0,
      third: "fine",
      right: true,
    });
    expect(outcome.second).toBe(
      "Error: init: nabla is starting with other options: threads is 3, not 2. " +
        "Call init once, before the first tensor, or await dispose() first.",
    );
    expect(outcome.both).toEqual({ threads: 3, left: 2 });
    expect(outcome.disturbed).toBe(
      "Error: init: a tensor was made while nabla was starting. Await init before the first tensor.",
    );
  });
});
