/** Shared by the tests of the matrix: the project with the installed tarball, the tools, and the record of observations. */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, inject } from "vitest";
import { run } from "./run.ts";

/** A Node, or why there is none. */
export type Node = { path: string; version: string; missing?: undefined } | { missing: string };

declare module "vitest" {
  interface ProvidedContext {
    matrix: { tarball: string; project: string; record: string; nodes: Record<number, Node> };
  }
}

/** The Nodes that are alive. */
export const MAJORS = [20, 22, 24, 26] as const;
/** Where the runtimes and bundlers are installed. */
export const TOOLS = resolve("test/matrix");

/** What fingerprint.mjs tells, and curvature.mjs and resume.mjs, where that is asked too. */
export interface Result {
  build: "simd" | "relaxed";
  threads: number;
  reason: string;
  loss: number;
  hash: string;
  curvature?: number;
  /** The state's file half way, and the parameters at the end of the training that was resumed from it. */
  resumed?: { file: string; hash: string };
}

/**
 * What the network comes to after 200 steps in the `simd` build, everywhere. Another order of operations in a kernel is allowed to
 * change it; another runtime is not.
 */
export const KNOWN = { build: "simd", loss: 0.05873793363571167, hash: "ec95f940" } as const;

/** The state's file after half of the steps: its letters. */
const KNOWN_FILE = "633b5970";

/** What save.mjs tells: the files that three saves leave, the last save, and the one before it once the last is damaged. */
export const SAVED = {
  files: ["run.safetensors", "run.safetensors.1"],
  last: 3,
  before: 2,
  damage: "FormatError",
} as const;

/** Whether core, nabla/gradients and nabla/formats are of one engine, and a resumed training comes to the same bytes. */
export function expectWhole({ curvature, resumed }: Result): void {
  expect(curvature).toBe(100);
  expect(resumed).toEqual({ file: KNOWN_FILE, hash: KNOWN.hash });
}

/** What was seen of an environment. */
export interface Seen {
  environment: string;
  version: string;
  result: string;
  bitsEqual: boolean;
}

/** Has the matrix know what was seen. */
export function saw(environment: string, version: string, result: string): void {
  record({ environment, version, result, bitsEqual: true });
}

/** Has the matrix, and whoever runs it, know what could not be had. */
export function missed(environment: string, reason: string): void {
  console.warn(`\nNOT SEEN: ${environment}: ${reason}\n`);
  record({ environment, version: "", result: `not had: ${reason}`, bitsEqual: false });
}

function record(seen: Seen): void {
  appendFileSync(inject("matrix").record, `${JSON.stringify(seen)}\n`);
}

/** Whether it came to the known loss by the known bits. */
export function expectKnown(result: Result): void {
  expect({ build: result.build, loss: result.loss, hash: result.hash }).toEqual(KNOWN);
}

/** Whether it learnt, in this build or in any; the build's name. */
export function expectLearnt(result: Result, build?: Result["build"]): string {
  expect(result.loss).toBeCloseTo(KNOWN.loss, 1);
  if (result.build === "simd") expectKnown(result);
  if (build) expect(result.build).toBe(build);
  return `\`${result.build}\``;
}

/** The last line that a program prints, which is JSON. */
export async function lastJson<T>(command: string, args: readonly string[], { cwd = "." } = {}): Promise<T> {
  const output = await run(command, args, { cwd });
  return JSON.parse(output.trim().split("\n").at(-1)!) as T;
}

/** The version of a tool that is installed. */
export const versionOf = (name: string): string =>
  (JSON.parse(readFileSync(join(TOOLS, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;

/** The command of a tool, whose package needs no install script. */
export const commandOf = (name: string): string => join(TOOLS, "node_modules/.bin", name);

/** The binary that a package's scope holds for this platform: @deno/linux-x64-glibc/deno, @oven/bun-linux-x64/bin/bun. */
export function binaryOf(scope: string, path: string): string {
  const [platform] = readdirSync(join(TOOLS, "node_modules", scope));
  return join(TOOLS, "node_modules", scope, platform!, path);
}
