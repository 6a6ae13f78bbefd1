/** Builds the lab's experiments with one snippet of the library's source replaced, and runs them in a worker. */
import { mkdtemp, rm } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { rolldown } from "rolldown";
import type { Outcome, Task } from "./mutant.ts";

/** A change to one file of the library. */
export interface Edit {
  /** The file, relative to src. */
  readonly file: string;
  /** The text to replace, which occurs once. */
  readonly from: string;
  readonly to: string;
}

const root = process.cwd();
const FOLDER = `${root}/build`;
/** The time after which a worker counts as failed, for example because of an endless loop. */
const LIMIT = 250_000;

/** Runs the rows' experiments with the changed library. If a row takes too long, it has no outcome. */
export async function outcomesOf(edit: Edit | undefined, task: Task): Promise<Outcome[]> {
  const dir = await mkdtemp(`${FOLDER}/mutant-`);
  try {
    const build = await rolldown({
      input: { mutant: "test/support/mutant.ts" },
      platform: "node",
      logLevel: "silent",
      treeshake: false,
      resolve: {
        alias: { "nabla/gradients": `${root}/src/gradients/index.ts`, nabla: `${root}/src/index.ts` },
      },
      plugins: [
        {
          name: "edit",
          transform: (code, id) =>
            edit && id === `${root}/src/${edit.file}` ? code.replace(edit.from, () => edit.to) : null,
        },
      ],
    });
    await build.write({ dir, entryFileNames: "[name].mjs", chunkFileNames: "[name].mjs" });
    await build.close();
    return await run(`${dir}/mutant.mjs`, task);
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function run(file: string, task: Task): Promise<Outcome[]> {
  const worker = new Worker(file, { workerData: task });
  const timer = setTimeout(() => void worker.terminate(), LIMIT);
  try {
    return await new Promise((resolve, reject) => {
      const outcomes: Outcome[] = [];
      worker.on("message", (outcome: Outcome) => void outcomes.push(outcome));
      worker.once("error", reject);
      worker.once("exit", () => resolve(outcomes));
    });
  } finally {
    clearTimeout(timer);
  }
}
