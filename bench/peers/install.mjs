/**
 * Installs the built package beside the other libraries, so that nabla/tfjs and the programs use one copy of TensorFlow.js, as in a user's
 * project.
 */
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

export function installNabla() {
  const target = path("node_modules/nabla");
  rmSync(target, { recursive: true, force: true });
  for (const name of ["package.json", "dist/node"])
    cpSync(path(`../../${name}`), `${target}/${name}`, { recursive: true });
}
