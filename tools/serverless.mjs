// Bundles nabla/serverless over what tsc made of it, with the router and the schemas that it uses: the installed package depends on
// nothing. nabla itself stays outside: the package's own exports resolve it.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rolldown } from "rolldown";
import { licences } from "./licences.mjs";
import { lines, READABLE } from "./lines.mjs";

const OUT = "dist/src/serverless";
const { version } = JSON.parse(readFileSync("package.json", "utf8"));

for (const file of readdirSync(OUT)) if (file.endsWith(".js")) rmSync(`${OUT}/${file}`);
const bundle = await rolldown({
  input: "src/serverless/index.ts",
  external: ["nabla", "nabla/formats"],
  plugins: [lines],
  tsconfig: false,
  transform: { define: { NABLA_VERSION: JSON.stringify(version) } },
});
const { output } = await bundle.write({ file: `${OUT}/index.js`, ...READABLE });
writeFileSync(`${OUT}/LICENSES`, licences(output));
