/** Lets the user choose TensorFlow.js's backend on the command line: `--backend nabla`, `cpu` or `wasm`. */
import * as tf from "@tensorflow/tfjs-core";
import type { Command } from "commander";

// `npm ci` does not install this package.
const WASM = "@tensorflow/tfjs-backend-wasm";

/** Each import registers a backend. */
const BACKENDS: Readonly<Record<string, () => Promise<unknown>>> = {
  nabla: () => import("nabla/tfjs"),
  cpu: () => import("@tensorflow/tfjs-backend-cpu"),
  wasm: () => import(WASM),
};

/** Adds the option `--backend` to a command. */
export const withBackend = (program: Command): Command =>
  program.option("--backend <name>", `the backend of TensorFlow.js: ${Object.keys(BACKENDS).join(", ")}`, "nabla");

/** Registers and selects a backend. Ends the program if there is no such backend. */
export async function useBackend(program: Command, name: string): Promise<void> {
  const register = BACKENDS[name];
  if (!register)
    return program.error(`error: --backend must be one of ${Object.keys(BACKENDS).join(", ")}, got "${name}".`);
  try {
    await register();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    program.error(`error: ${WASM} is not installed. Run \`npm install --no-save ${WASM}@${tf.version_core}\`.`);
  }
  // Importing nabla/tfjs has already selected nabla.
  if (name !== "nabla") await tf.setBackend(name);
}

/** Ends the program unless all numeric options are above 0, and all except `lr` are integers. */
export function checkPositive(program: Command, settings: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value !== "number" || (value > 0 && (name === "lr" || Number.isInteger(value)))) continue;
    program.error(`error: --${name} must be ${name === "lr" ? "a number" : "an integer"} above 0, got ${value}.`);
  }
}
