import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { expectsWide } from "./support/wide.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
// Node 20 enables relaxed SIMD only with a flag; later versions enable it by default.
const major = Number.parseInt(process.versions.node, 10);
const execArgv = major < 22 ? ["--experimental-wasm-relaxed-simd"] : [];
const resolve = {
  alias: [
    { find: /^nabla$/, replacement: `${root}src/index.ts` },
    { find: /^nabla\/gradients$/, replacement: `${root}src/gradients/index.ts` },
    { find: /^nabla\/formats$/, replacement: `${root}src/formats/index.ts` },
    { find: /^nabla\/tfjs$/, replacement: `${root}src/tfjs/index.ts` },
    { find: /^nabla\/serverless$/, replacement: `${root}src/serverless/index.ts` },
  ],
};

/** Folders whose tests run once in each build. */
const LIBRARY = ["runtime", "ops", "core", "autograd", "compile", "nn", "losses", "optim"];

/** The tests of ops in the wide build. All code is optimized, because V8's baseline compiler does not combine vectors. */
const wideOps = {
  resolve,
  test: {
    name: "wide-ops",
    root,
    include: ["test/ops/*.test.ts"],
    env: { NABLA_BUILD: "wide" },
    setupFiles: ["test/support/setup.ts"],
    execArgv: ["--no-liftoff"],
    testTimeout: 120_000,
  },
};

/** The tests of kernels and the library run in `simd` and in `relaxed`. The others do not depend on the arithmetic and run in the fastest build. */
export default defineConfig({
  test: {
    // By default, Vitest leaves one core idle, which is half of a two-core machine.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ["default", `${root}test/support/counts.ts`],
    projects: [
      ...["simd", "relaxed"].map((build) => ({
        resolve,
        test: {
          name: build,
          root,
          include: LIBRARY.map((folder) => `test/${folder}/*.test.ts`),
          env: { NABLA_BUILD: build },
          setupFiles: ["test/support/setup.ts"],
          execArgv,
          testTimeout: 60_000,
        },
      })),
      // The wide build needs Node 24. On older versions, its tests start Node 24 themselves.
      {
        resolve,
        test: { name: "wide", root, include: ["test/wide/*.test.ts"], testTimeout: 120_000 },
      },
      ...(expectsWide(major) ? [wideOps] : []),
      ...["gradients", "formats", "serverless", "cli", "lab", "tfjs", "threads"].map((name) => ({
        resolve,
        test: { name, root, include: [`test/${name}/*.test.ts`], execArgv, testTimeout: 120_000 },
      })),
      {
        resolve,
        test: {
          name: "package",
          root,
          include: ["test/package/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        resolve,
        test: {
          name: "docs",
          root,
          include: ["test/docs/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "matrix",
          root,
          include: ["test/matrix/*.test.ts"],
          globalSetup: ["test/matrix/pack.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
