/** What the matrix tests share: the project with the installed tarball, the tools, and the results. */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, inject } from "vitest";
import { run } from "./run.ts";

/** A Node executable, or the reason why it is not available. */
export type Node = { path: string; version: string; missing?: undefined } | { missing: string };

declare module "vitest" {
  interface ProvidedContext {
    matrix: { tarball: string; project: string; record: string; nodes: Record<number, Node> };
  }
}

/** The maintained major versions of Node. */
export const MAJORS = [20, 22, 24, 26] as const;
/** Whether require() accepts an ES module. */
export const canRequire = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19);
};

/** The folder in which the runtimes and bundlers are installed. */
export const TOOLS = resolve("test/matrix");

/** The result of fingerprint.mjs, and of curvature.mjs and resume.mjs if the program runs them. */
export interface Result {
  build: "simd" | "relaxed";
  threads: number;
  reason: string;
  loss: number;
  hash: string;
  curvature?: number;
  /** Hashes of the file that is saved halfway, and of the parameters at the end of the training run that resumes from it. */
  resumed?: { file: string; hash: string };
}

/**
 * The loss and the hash after 200 steps in the `simd` build, in every runtime. These values may change if a kernel
 * changes the order of its operations, but must not depend on the runtime.
 */
export const KNOWN = { build: "simd", loss: 0.05873793363571167, hash: "ec95f940" } as const;

/** The hash of the file saved after half of the steps. */
const KNOWN_FILE = "633b5970";

/**
 * The output that save.mjs must print: the files after three saves, the number of the last save, and the number loaded after
 * the last file was damaged.
 */
export const SAVED = {
  files: ["run.safetensors", "run.safetensors.1"],
  last: 3,
  before: 2,
  damage: "FormatError",
} as const;

/**
 * Expects that nabla, nabla/gradients and nabla/formats share one engine, and that a resumed training run reaches the same
 * bytes.
 */
export function expectConsistent({ curvature, resumed }: Result): void {
  expect(curvature).toBe(100);
  expect(resumed).toEqual({ file: KNOWN_FILE, hash: KNOWN.hash });
}

/** The results in one environment. */
export interface Seen {
  environment: string;
  version: string;
  result: string;
  bitsEqual: boolean;
}

/** Records the result of a test in an environment. */
export function recordResult(environment: string, version: string, result: string): void {
  record({ environment, version, result, bitsEqual: true });
}

/** Records and prints that an environment is not available. */
export function recordMissing(environment: string, reason: string): void {
  console.warn(`\nNOT TESTED: ${environment}: ${reason}\n`);
  record({ environment, version: "", result: `not available: ${reason}`, bitsEqual: false });
}

function record(seen: Seen): void {
  appendFileSync(inject("matrix").record, `${JSON.stringify(seen)}\n`);
}

/** Expects the known loss and the known bits. */
export function expectKnown(result: Result): void {
  expect({ build: result.build, loss: result.loss, hash: result.hash }).toEqual(KNOWN);
}

/** Expects that the network learned and, if `build` is given, that it ran in this build. Returns the build's name in Markdown. */
export function expectLearned(result: Result, build?: Result["build"]): string {
  expect(result.loss).toBeCloseTo(KNOWN.loss, 1);
  if (result.build === "simd") expectKnown(result);
  if (build) expect(result.build).toBe(build);
  return `\`${result.build}\``;
}

/** The value that a program prints as JSON on its last line. */
export async function lastJson<T>(command: string, args: readonly string[], { cwd = "." } = {}): Promise<T> {
  const output = await run(command, args, { cwd });
  return JSON.parse(output.trim().split("\n").at(-1)!) as T;
}

/** The installed version of a tool. */
export const versionOf = (name: string): string =>
  (JSON.parse(readFileSync(join(TOOLS, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;

/** The command of an installed tool. */
export const commandOf = (name: string): string => join(TOOLS, "node_modules/.bin", name);

/** The binary in a scope's package for this platform: @deno/linux-x64-glibc/deno, @oven/bun-linux-x64/bin/bun. */
export function binaryOf(scope: string, path: string): string {
  const [platform] = readdirSync(join(TOOLS, "node_modules", scope));
  return join(TOOLS, "node_modules", scope, platform!, path);
}
