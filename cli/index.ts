#!/usr/bin/env node
/**
 * `npx nabla`: what people do with nabla in a terminal. This file is the command; what it does is in command/. Exit codes: 0 done, 1 bad
 * usage or an error, 2 a finding does not hold (lab --check), 130 stopped by Ctrl-C. `serve` exits with 0 after a signal.
 */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addInfo } from "./info.ts";
import { addLab } from "./lab.ts";
import { endWithReader } from "./mnist/pipe.ts";
import { addServe } from "./serve.ts";

/** This file is dist/bin/nabla.js when it runs. */
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

endWithReader("nabla");
const program = new Command("nabla")
  .description("Neural networks at native speed, in WebAssembly.")
  .version(version)
  .showHelpAfterError("(nabla --help lists the commands)");
addInfo(program);
// Programs of their own: their options, and their --help, are theirs.
program.command("mnist", "learns to read handwritten digits, and shows how well", { executableFile: "mnist.js" });
program.command("bench [suite...]", "measures nabla against pure JavaScript", { executableFile: "bench.js" });
addLab(program);
addServe(program);

try {
  await program.parseAsync();
} catch (error) {
  // For people; a bug shows its stack with NODE_DEBUG=nabla.
  console.error(
    process.env.NODE_DEBUG === "nabla" ? error : `nabla: ${error instanceof Error ? error.message : error}`,
  );
  process.exitCode = 1;
}
