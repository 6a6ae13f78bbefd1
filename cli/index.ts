#!/usr/bin/env node
/**
 * `npx nabla`. Exit codes: 0 success; 1 bad usage or an error; 2 a finding does not hold (lab --check) or an exercise is not
 * solved (practice); 130 stopped by Ctrl-C. `serve` exits with 0 after a signal.
 */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { experiments } from "../lab/experiments/index.ts";
import { addInfo } from "./info.ts";
import { addLab } from "./lab.ts";
import { exitOnOutputError } from "./mnist/pipe.ts";
import { addPractice } from "./practice.ts";
import { addServe } from "./serve.ts";

/** At run time, this file is dist/bin/nabla.js, two folders below package.json. */
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

exitOnOutputError("nabla");
const program = new Command("nabla")
  .description("Train and run neural networks in JavaScript.")
  .version(version)
  .showHelpAfterError("Run nabla --help for a list of commands.");
addInfo(program);
// Separate programs, with their own options and --help.
program.command("mnist", "Train a network to read handwritten digits.", { executableFile: "mnist.js" });
program.command("bench [suite...]", "Measure nabla against pure JavaScript.", { executableFile: "bench.js" });
addLab(program, experiments);
addPractice(program);
addServe(program);

try {
  await program.parseAsync();
} catch (error) {
  // If NODE_DEBUG is "nabla", print the error with its stack trace.
  console.error(
    process.env.NODE_DEBUG === "nabla" ? error : `nabla: ${error instanceof Error ? error.message : error}`,
  );
  process.exitCode = 1;
}
