/**
 * `npm run bench -- --against REV [suite…]`: compares this tree (B) with another commit (A), built in a temporary worktree. Processes
 * of A and B alternate: A B A B … A. Only the benchmarks' --json output is compared, so their code may differ between the two commits.
 * `npm run bench -- --build wide --against relaxed` compares two builds of this tree's kernels in the same way.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BUILDS } from "./builds.ts";
import { type Comparison, compare, comparisonTable, type Rows, START, summaryLine, unmatched } from "./compare.ts";
import { CEILING, median, PURE, type Row } from "./measure.ts";

/** The suites that are compared by default. */
export const COMPARED = ["matmul", "step", "threads", "elementwise", START];
/** The suites that are compared by default if A is another build. */
export const COMPARED_BUILDS = ["matmul", "step", "models"];

export interface AgainstOptions {
  /** What to compare with: a commit, in any form that git accepts, or the name of a build. */
  readonly revision: string;
  readonly suites: readonly string[];
  /** How many turns B takes; A takes one more. */
  readonly rounds: number;
  /** Options for the benchmarks of both sides, such as --cpu-time. If A is a build, A also gets `--build` with its name. */
  readonly passed: readonly string[];
}

/** How many rounds a suite runs in one turn. Several rounds give V8 time to optimize the code before the median round. */
const SAMPLES = 5;
/** The number of process starts in one turn. */
const STARTS = 5;

const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
const note = (text: string): void => void process.stderr.write(`${text}\n`);

/**
 * Runs a command and returns its output. @throws Error with the last lines of the command's stderr, if the command fails or is aborted
 */
function output(command: string, args: readonly string[], cwd: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, signal, stdio: ["ignore", "pipe", "pipe"] });
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
    child.on("error", reject);
    child.on("close", (code, killed) => {
      if (code === 0) return resolve(Buffer.concat(out).toString());
      const messages = Buffer.concat(err).toString().trim().split("\n").slice(-15).join("\n");
      reject(new Error(`${[command, ...args].join(" ")} in ${cwd} ended with ${killed ?? code}.\n${messages}`));
    });
  });
}

/** The hash of a commit. @throws Error if this folder is not a built checkout, or if the commit does not exist */
function commitOf(revision: string): string {
  if (!existsSync("package-lock.json") || !existsSync("dist/bench/index.js"))
    throw new Error(
      "this folder is not a built checkout of nabla. Run the command in the root of a checkout, after `npm run build`.",
    );
  try {
    return git("rev-parse", "--verify", "--quiet", `${revision}^{commit}`);
  } catch {
    throw new Error("git cannot find this commit. Pass a branch, a tag or a hash.");
  }
}

/** Checks a commit out into a new folder and builds it there. */
async function build(revision: string, path: string, signal: AbortSignal): Promise<void> {
  git("worktree", "add", "--detach", "--quiet", path, revision);
  const lock = (root: string): string => readFileSync(join(root, "package-lock.json"), "utf8");
  if (lock(path) === lock(process.cwd()) && existsSync("node_modules"))
    symlinkSync(join(process.cwd(), "node_modules"), join(path, "node_modules"));
  else await output("npm", ["ci", "--no-audit", "--no-fund"], path, signal);
  await output("npm", ["run", "build", "--silent"], path, signal);
}

/** Removes a worktree, even an incomplete one. */
function remove(path: string): void {
  try {
    // Remove only the link: its target belongs to this tree.
    unlinkSync(join(path, "node_modules"));
  } catch {
    // Ignore the error, because there is no link: the path is a folder, or does not exist.
  }
  rmSync(path, { recursive: true, force: true });
  git("worktree", "prune");
}

/** Runs one suite of a tree in its own process, and returns the rows that it prints. */
async function suiteRows(tree: string, suite: string, passed: readonly string[], signal: AbortSignal): Promise<Rows> {
  const args = [...process.execArgv, "dist/bench/index.js", suite, "--json", "--rounds", String(SAMPLES), ...passed];
  const rows = JSON.parse(await output(process.execPath, args, tree, signal)) as Row[];
  // Filter here, because an older commit's benchmark may not support --own.
  return rows.filter(({ impl }) => impl !== PURE && impl !== CEILING);
}

/** Times whole processes, each of which computes one result and exits. */
async function startRows(tree: string, signal: AbortSignal): Promise<Rows> {
  if (!existsSync(join(tree, "bench/start.mjs"))) return [];
  const times: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const before = performance.now();
    await output(process.execPath, [...process.execArgv, "bench/start.mjs", "0"], tree, signal);
    times.push(1000 * (performance.now() - before));
  }
  const [value, min] = [median(times), Math.min(...times)];
  return [{ suite: START, case: "whole process", impl: "nabla", unit: "µs", median: value, min, samples: STARTS }];
}

/** Returns `--own`, which leaves out pure JS, if both trees support it: both must get the same options. */
async function sharedOptions(trees: readonly string[], signal: AbortSignal): Promise<string[]> {
  const helps = trees.map((tree) => output(process.execPath, ["dist/bench/index.js", "--help"], tree, signal));
  return (await Promise.all(helps)).every((help) => help.includes("--own")) ? ["--own"] : [];
}

/** One side of the comparison: a tree, and the options for its benchmarks. */
interface Side {
  readonly tree: string;
  readonly passed: readonly string[];
}

/** Compares one suite in alternating turns. */
async function compareSuite(
  sides: { a: Side; b: Side },
  suite: string,
  rounds: number,
  signal: AbortSignal,
): Promise<Comparison[]> {
  const began = performance.now();
  const turn = ({ tree, passed }: Side): Promise<Rows> =>
    suite === START ? startRows(tree, signal) : suiteRows(tree, suite, passed, signal);
  const [a, b]: [Rows[], Rows[]] = [[await turn(sides.a)], []];
  for (let round = 1; round <= rounds; round++) {
    b.push(await turn(sides.b));
    a.push(await turn(sides.a));
    const left = ((performance.now() - began) / (2 * round + 1)) * 2 * (rounds - round);
    note(`${suite}: round ${round} of ${rounds}, ${(left / 1000).toFixed(0)} s left`);
  }
  const only = unmatched(a, b);
  if (only.a.length) note(`Only A has: ${only.a.join("; ")}`);
  if (only.b.length) note(`Only B has: ${only.b.join("; ")}`);
  return compare(a, b);
}

/**
 * Compares two trees or builds, and prints the results. Removes the worktree at the end, even after an error, SIGINT or SIGTERM.
 * @throws Error if a tree cannot be built or measured
 */
export async function against(options: AgainstOptions): Promise<void> {
  const { revision, suites, rounds } = options;
  const isBuild = BUILDS.some((build) => build === revision);
  const commit = isBuild ? "" : commitOf(revision);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, onSignal);
  const path = isBuild ? undefined : mkdtempSync(join(tmpdir(), "nabla-against-"));
  try {
    if (path) {
      note(`Building ${revision} (${commit.slice(0, 10)}) in ${path}`);
      await build(commit, path, stop.signal);
    }
    const here = process.cwd();
    const tree = path ?? here;
    const passed = [...options.passed, ...(await sharedOptions([tree, here], stop.signal))];
    // If --build is given twice, the last one counts.
    const sides = {
      a: { tree, passed: isBuild ? [...passed, "--build", revision] : passed },
      b: { tree: here, passed },
    };
    console.log(
      `A: ${isBuild ? `the build ${revision}` : `${revision} (${commit.slice(0, 10)})`}. B: this tree${options.passed.map((option) => ` ${option}`).join("")}. Medians of ${rounds} rounds; noise: A against itself, 95 % confidence.`,
    );
    const all: Comparison[] = [];
    for (const suite of suites) {
      const compared = await compareSuite(sides, suite, rounds, stop.signal);
      all.push(...compared);
      console.log(
        compared.length ? `\n${suite}\n${comparisonTable(compared)}` : `\n${suite}: A and B have no row in common.`,
      );
    }
    console.log(`\n${summaryLine(all)}`);
  } catch (error) {
    if (stop.signal.aborted) throw new Error("stopped.");
    throw error;
  } finally {
    if (path) remove(path);
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
  }
}
