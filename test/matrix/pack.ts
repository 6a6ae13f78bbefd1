/**
 * Global setup of the matrix: packs the package and installs the tarball in an empty project outside the checkout, next to the programs
 * in program/. After all tests, writes their results to build/matrix.json.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestProject } from "vitest/node";
import { nodeOf } from "../support/node.ts";
import { RUN } from "./environments.mjs";
import { MAJORS, type Node, type Seen, TOOLS } from "./project.ts";
import { run } from "./run.ts";

/** Installs the runtimes and bundlers, unless the versions in the lock file are already installed. */
async function installTools(): Promise<void> {
  const [lock, installed] = ["package-lock.json", "node_modules/.package-lock.json"].map((file) => join(TOOLS, file));
  if (existsSync(installed!) && statSync(installed!).mtimeMs >= statSync(lock!).mtimeMs) return;
  await run("npm", ["ci", "--prefix", TOOLS, "--ignore-scripts", "--no-audit", "--no-fund"]);
}

/** Installs the tarball in a project without other dependencies. */
async function installTarball(folder: string): Promise<{ tarball: string; project: string }> {
  const packed = await run("npm", ["pack", "--json", "--pack-destination", folder]);
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
  const tarball = join(folder, filename);
  const project = join(folder, "project");
  cpSync("test/matrix/program", project, { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  await run("npm", ["install", tarball, "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: project });
  return { tarball, project };
}

/** The Node executable with this major version, or the reason why it is not available. */
async function node(major: number): Promise<Node> {
  try {
    return await nodeOf(major);
  } catch (error) {
    const [first, ...more] = (error as Error).message.split("\n");
    return { missing: more.find((line) => /^npm error (?!code)/.test(line)) ?? first! };
  }
}

export async function setup(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "nabla-matrix-"));
  const [installed, nodes] = await Promise.all([
    installTarball(folder),
    Promise.all(MAJORS.map(async (major) => [major, await node(major)] as const)),
    installTools(),
  ]);
  const record = join(folder, "seen.jsonl");
  writeFileSync(record, "");
  project.provide("matrix", { ...installed, record, nodes: Object.fromEntries(nodes) });
  return () => {
    const lines = readFileSync(record, "utf8").split("\n").filter(Boolean);
    mkdirSync(dirname(RUN), { recursive: true });
    writeFileSync(RUN, `${JSON.stringify(merge(lines.map((line) => JSON.parse(line) as Seen)), null, 2)}\n`);
    rmSync(folder, { recursive: true, force: true });
  };
}

/** Merges the results into one entry per environment, which lists the results of all its tests. */
function merge(seen: readonly Seen[]): Seen[] {
  const merged = new Map<string, Seen>();
  for (const now of seen) {
    const before = merged.get(now.environment);
    merged.set(now.environment, {
      ...now,
      result: before ? `${before.result}, ${now.result}` : now.result,
      bitsEqual: now.bitsEqual && (before?.bitsEqual ?? true),
    });
  }
  return [...merged.values()];
}
