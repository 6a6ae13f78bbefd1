// Replaces tsc's output of nabla/serverless with one bundle that includes its router and its schema library, so that the installed
// package does not depend on them. nabla itself stays external, and resolves to the package's own exports.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rolldown } from "rolldown";
import { licences } from "./licences.mjs";
import { lines, READABLE } from "./lines.mjs";

const OUT = "dist/src/serverless";
const { version } = JSON.parse(readFileSync("package.json", "utf8"));

for (const file of readdirSync(OUT, { recursive: true })) if (file.endsWith(".js")) rmSync(`${OUT}/${file}`);
const bundle = await rolldown({
  input: "src/serverless/index.ts",
  external: ["nabla", "nabla/formats"],
  plugins: [lines],
  tsconfig: false,
  transform: { define: { NABLA_VERSION: JSON.stringify(version) } },
});
const { output } = await bundle.write({ file: `${OUT}/index.js`, ...READABLE });
writeFileSync(`${OUT}/LICENSES`, licences(output));
