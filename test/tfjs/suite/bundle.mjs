// Bundles TensorFlow.js's own tests, which its npm package contains, with the backend to test.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const core = `${root}node_modules/@tensorflow/tfjs-core/dist`;
const jasmine = `${root}test/tfjs/suite/jasmine.mjs`;

const quote = JSON.stringify;

/** The source of the suite. The order of imports matters: the tests read the list of backends when they are loaded. */
const program = (backend) => `
export { runSuite } from ${quote(jasmine)};
import "@tensorflow/tfjs-core";
import ${quote(`${core}/public/chained_ops/register_all_chained_ops`)};
import ${quote(`${core}/register_all_gradients`)};
import "@tensorflow/tfjs-backend-cpu";
${backend === "nabla" ? `import "nabla/tfjs";` : ""}
import "virtual:environments";
import ${quote(`${core}/tests`)};
`;

/**
 * Chooses the backend, and starts nabla with the options in globalThis.NABLA_OPTIONS. With several threads, all kernels share their work,
 * however small it is.
 */
const environments = (backend) => `
import { setTestEnvs } from ${quote(`${core}/jasmine_util`)};
${
  backend === "nabla"
    ? `
import { info, init } from "nabla";
import { sharing } from ${quote(`${root}src/ops/definition/work.ts`)};
const { threads = 1 } = globalThis.NABLA_OPTIONS;
await init(globalThis.NABLA_OPTIONS);
if (info().threads !== threads) throw new Error("nabla has " + info().threads + " threads, not " + threads + ": " + info().reason);
if (threads > 1) Object.assign(sharing, { least: 1e-9, program: 1e-9 });`
    : ""
}
setTestEnvs([{ name: "${backend}", backendName: "${backend}", isDataSync: true }]);
`;

/** Writes the suite for a backend ("cpu" or "nabla") and a platform ("node" or "browser") to a file. */
export async function bundleSuite(backend, platform, file) {
  const bundle = await rolldown({
    input: "virtual:suite",
    platform,
    logLevel: "silent",
    treeshake: false,
    resolve: {
      alias: {
        "@tensorflow/tfjs-core": `${core}/index.js`,
        "@tensorflow/tfjs-backend-cpu": `${root}node_modules/@tensorflow/tfjs-backend-cpu/dist/index.js`,
        "nabla/tfjs": `${root}src/tfjs/index.ts`,
        nabla: `${root}src/index.ts`,
      },
    },
    plugins: [
      {
        name: "suite",
        resolveId: (id) => (id.startsWith("virtual:") ? `\0${id}` : null),
        load: (id) => ({ "\0virtual:suite": program, "\0virtual:environments": environments })[id]?.(backend) ?? null,
      },
    ],
  });
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
}
