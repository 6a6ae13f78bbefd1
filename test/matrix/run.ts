/** Runs another program to completion. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Environment variables that make programs print plain output. */
const ENV = { NO_COLOR: "1", FORCE_COLOR: "0", NODE_NO_WARNINGS: "1", DO_NOT_TRACK: "1", NODE_OPTIONS: "" };

/**
 * The standard output of a program.
 * @throws Error with the program's error output if it fails or takes longer than two minutes
 */
export async function run(command: string, args: readonly string[], { cwd = "." } = {}): Promise<string> {
  const options = { cwd, env: { ...process.env, ...ENV }, timeout: 120_000, maxBuffer: 2 ** 26 };
  const { stdout } = await promisify(execFile)(command, args, options);
  return stdout;
}
