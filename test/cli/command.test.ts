/** `npx nabla`: info, mnist and bench, with help and exit codes. Needs the build in dist/. */
import { describe, expect, test } from "vitest";
import { nabla, Running } from "./running.ts";

describe("help", () => {
  test.each([
    [[], /info .*mnist .*bench .*lab .*practice .*serve /s],
    [["info"], /--threads <n> .*--json/s],
    [["mnist"], /--epochs <n> .*--data <dir>/s],
    [["bench"], /--rounds <count>/],
    [["lab"], /gradient-flow/],
    [["practice"], /\[name\] \[file\].*--predict <answer>.*--hint <level>/s],
    [["serve"], /<?model>?.*--port <n>.*--token <token>.*SIGTERM/s],
  ])("nabla %j --help", async (args, shown) => {
    const { code, output, errors } = await nabla(...args, "--help");
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(output).toMatch(shown);
    expect(output).not.toContain("\x1b");
  });
});

test.each([
  [["nonsense"], /unknown command 'nonsense'/],
  [["info", "--threads", "0"], /an integer from 1 to 64/],
  [["info", "more"], /too many arguments/],
  [["mnist", "--epochs", "-1"], /an integer of at least 0/],
  [["bench", "nonsense"], /Allowed choices are matmul/],
  [["serve"], /missing required argument 'model'/],
  [["serve", "x.mjs", "--port", "70000"], /an integer from 0 to 65535/],
  [["serve", "/nonexistent.mjs"], /^nabla: cannot load \/nonexistent\.mjs: Cannot find module/],
])("%j: exits with 1 and an error message", async (args, wrong) => {
  const { code, output, errors } = await nabla(...args);
  expect(code).toBe(1);
  expect(errors).toMatch(wrong);
  expect(output + errors).not.toContain("\x1b");
  expect(errors).not.toMatch(/\n {4}at /);
});

describe("info", () => {
  test("info: shows the build, and the number of threads with the reason", async () => {
    const { code, output } = await nabla("info", "--threads", "2");
    expect(code).toBe(0);
    expect(output).toMatch(
      /^nabla {9}\d+\.\d+\.\d+\nruntime {7}node v\d+.*\nthreads {7}2 \(as requested, \d+ cores? available\)/s,
    );
    expect(output).not.toContain("\x1b");
  });
  test("info --json: prints only JSON", async () => {
    const { output } = await nabla("info", "--threads", "1", "--json");
    expect(JSON.parse(output)).toMatchObject({ simd: true, threads: 1, reason: "as requested" });
  });
});

test("mnist: trains on the digits in the package", async () => {
  const { code, output } = await nabla("mnist", "--epochs", "3");
  expect(code).toBe(0);
  expect(output).toContain("6,000 training digits, 1,000 test digits");
  expect(Number(/Test accuracy ([\d.]+)%/.exec(output)?.[1])).toBeGreaterThan(90);
  expect(output).not.toContain("\x1b");
}, 60_000);

test("mnist: exits without an error if the reader of its output stops early", async () => {
  const running = new Running(["mnist", "--epochs", "2"]);
  running.child.stdout!.once("data", () => running.child.stdout!.destroy());
  const { errors } = await running.ended;
  expect(errors).toBe("");
}, 60_000);

test("bench: prints results", async () => {
  const { code, output } = await nabla("bench", "elementwise", "--rounds", "1", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(output)[0]).toMatchObject({ suite: "elementwise" });
}, 60_000);
