/** Runs `npm run bench -- --against` on small repositories whose bench prints fixed numbers. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const DRIVER = resolve("dist/bench/index.js");

/**
 * The source of a bench that prints rows for the suite that its first argument names. Each process appends its time to `log`, so `log`
 * shows the order of the processes.
 */
const bench = (time: number, log: string, help: string): string => `
  import { appendFileSync } from "node:fs";
  if (process.argv.includes("--help")) console.log("${help}");
  else {
    appendFileSync(${JSON.stringify(log)}, "${time} ");
    appendFileSync(${JSON.stringify(`${log}.args`)}, process.argv.slice(2).join(" ") + "\\n");
    const row = (impl, median) => ({ suite: process.argv[2], case: "MLP", impl, unit: "µs", median, min: median, samples: 1 });
    console.log(JSON.stringify([row("nabla", ${time}), row("pure JS", 1), row("only at ${time}", 1)]));
  }`;

let root: string;
let temporary: string;
let log: string;

/** Writes the files for a commit whose bench reports `time`. */
function write(time: number, { build = "node build.mjs", help = "--rounds" } = {}): void {
  const files: Record<string, string> = {
    "package.json": JSON.stringify({ type: "module", scripts: { build } }),
    "package-lock.json": "{}",
    "build.mjs": `
      import { existsSync, writeFileSync } from "node:fs";
      writeFileSync("built", String(existsSync("node_modules/there")));`,
    "dist/bench/index.js": bench(time, log, help),
    "bench/start.mjs": "",
    ".gitignore": "node_modules\n",
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}
const git = (...args: string[]): string =>
  execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], { cwd: root, encoding: "utf8" });
function commit(): void {
  git("add", "-A");
  git("commit", "-qm", "a commit");
}
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, TMPDIR: temporary });
const run = (...args: string[]) =>
  spawnSync(process.execPath, [DRIVER, ...args], { cwd: root, encoding: "utf8", env: environment() });
function expectClean(): void {
  expect(git("worktree", "list").trim().split("\n")).toHaveLength(1);
  expect(readdirSync(temporary)).toEqual([]);
  expect(existsSync(join(root, "node_modules/there")), "node_modules of this tree still exists").toBe(true);
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "nabla-repository-"));
  temporary = mkdtempSync(join(tmpdir(), "nabla-temporary-"));
  log = join(root, "..", `${root.split("/").at(-1)}.log`);
  git("init", "-q");
  mkdirSync(join(root, "node_modules"));
  writeFileSync(join(root, "node_modules/there"), "");
  write(100);
  commit();
});
afterEach(() => {
  for (const path of [root, temporary, log, `${log}.args`]) rmSync(path, { recursive: true, force: true });
});

describe("bench --against", () => {
  test("alternates between this tree, with its uncommitted changes, and a commit, and exits with 0 even if the tree is slower", () => {
    write(120);
    const { status, stdout, stderr } = run("--against", "HEAD", "step", "--rounds", "3");
    expect(stderr).not.toMatch(/Error/);
    expect(status).toBe(0);
    expect(readFileSync(log, "utf8").trim()).toBe("100 120 100 120 100 120 100");
    expect(stdout).toMatch(/^MLP +nabla +100 +120 +µs +\+20\.0 % +\+0\.0 % +±0\.0 % +slower$/m);
    expect(stdout).not.toMatch(/pure JS/);
    expect(stdout).toMatch(/^1 of 1 rows are slower/m);
    expect(stderr).toMatch(/Only A has: step MLP only at 100/);
    expect(stderr).toMatch(/step: round 3 of 3, 0 s left/);
    expectClean();
  });
  test.each([
    ["in neither", "--rounds", "--rounds", false],
    ["only in the commit", "--rounds --own", "--rounds", false],
    ["only in this tree", "--rounds", "--rounds --own", false],
    ["in both", "--rounds --own", "--rounds --own", true],
  ])("passes both trees the same options: --own is supported %s", (_, commitHelp, treeHelp, isPassed) => {
    write(100, { help: commitHelp });
    git("commit", "-qam", "another commit", "--allow-empty");
    write(100, { help: treeHelp });
    expect(run("--against", "HEAD", "step", "--rounds", "1").status).toBe(0);
    const [first, ...others] = readFileSync(`${log}.args`, "utf8").trim().split("\n");
    expect(others).toEqual([first, first]);
    expect(first!.includes("--own")).toBe(isPassed);
  });
  test("measures startup as the time of whole processes", () => {
    const { status, stdout } = run("--against", "HEAD", "start", "--rounds", "1");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^whole process +nabla +\d+ +\d+ +µs/m);
    expectClean();
  });
  test("exits with 1 and the build's output if the commit does not build, and with 1 if the commit does not exist", () => {
    write(100, { build: "node -e \"console.error('no such kernel'); process.exit(3)\"" });
    commit();
    const failed = run("--against", "HEAD", "step", "--rounds", "1");
    expect(failed.status).toBe(1);
    expect(failed.stderr).toMatch(/npm run build.*ended with 3[\s\S]*no such kernel/);
    expectClean();
    const unknown = run("--against", "nothing", "step");
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toMatch(
      /bench --against nothing: git cannot find this commit\. Pass a branch, a tag or a hash\./,
    );
  });
  test.each(["SIGINT", "SIGTERM"] as const)("%s stops the comparison and removes the worktree", async (signal) => {
    write(100, { build: 'node -e "setTimeout(() => {}, 60000)"' });
    commit();
    const child = spawn(process.execPath, [DRIVER, "--against", "HEAD", "step"], { cwd: root, env: environment() });
    let errors = "";
    await new Promise<void>((done) =>
      child.stderr.on("data", (chunk: Buffer) => {
        errors += chunk;
        if (errors.includes("Building")) done();
      }),
    );
    const ended = new Promise<number | null>((done) => child.on("close", done));
    child.kill(signal);
    expect(await ended).toBe(1);
    expect(errors).toMatch(/stopped\./);
    expectClean();
  });
});
