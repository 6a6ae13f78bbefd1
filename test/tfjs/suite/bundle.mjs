// Bundles TensorFlow.js's own test suite, which its npm package contains, with a backend to test.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const core = `${root}node_modules/@tensorflow/tfjs-core/dist`;

/** The program: the order matters, because the tests read the test environments when they are loaded. */
const program = (backend) => `
import ${JSON.stringify(`${root}test/tfjs/suite/jasmine.mjs`)};
import "@tensorflow/tfjs-core";
import ${JSON.stringify(`${core}/public/chained_ops/register_all_chained_ops`)};
import ${JSON.stringify(`${core}/register_all_gradients`)};
import "@tensorflow/tfjs-backend-cpu";
${backend === "nabla" ? `import "nabla/tfjs";` : ""}
import { setTestEnvs } from ${JSON.stringify(`${core}/jasmine_util`)};
import "virtual:environments";
import ${JSON.stringify(`${core}/tests`)};
export { runSuite } from ${JSON.stringify(`${root}test/tfjs/suite/jasmine.mjs`)};
`;
const environments = (backend) => `
import { setTestEnvs } from ${JSON.stringify(`${core}/jasmine_util`)};
setTestEnvs([{ name: "${backend}", backendName: "${backend}", isDataSync: true }]);
`;

/** Writes the bundle for "cpu" or "nabla". `platform` is "node" or "browser". */
export async function bundleSuite(backend, file, platform = "node") {
  const bundle = await rolldown({
    input: "virtual:suite",
    platform,
    logLevel: "silent",
    resolve: {
      alias: {
        "@tensorflow/tfjs-core": `${core}/index.js`,
        "@tensorflow/tfjs-backend-cpu": `${root}node_modules/@tensorflow/tfjs-backend-cpu/dist/index.js`,
        "nabla/tfjs": `${root}src/tfjs/index.ts`,
      },
    },
    treeshake: false,
    plugins: [
      {
        name: "suite",
        resolveId: (id) => (id.startsWith("virtual:") ? `\0${id}` : null),
        load: (id) =>
          id === "\0virtual:suite" ? program(backend) : id === "\0virtual:environments" ? environments(backend) : null,
      },
    ],
  });
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
}
