/**
 * `npm run docs` builds the documentation site into dist/docs, with the reference and the lab's page. `npm run docs:dev` writes the
 * reference and serves the site while you edit it. DOCS_BASE is the path under which the site is served (default "/").
 */
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { build as buildPage } from "vite";
import { build, createServer } from "vitepress";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

async function writeReference() {
  const app = await Application.bootstrapWithPlugins({ options: path("typedoc.json") });
  const project = await app.convert();
  if (!project) throw new Error("docs: TypeDoc cannot read the sources.");
  await app.generateOutputs(project);
  if (app.logger.hasErrors()) throw new Error("docs: TypeDoc reported errors.");
}

await writeReference();
if (process.argv[2] === "dev") {
  const server = await createServer(path("."));
  await server.listen();
  server.printUrls();
} else {
  await build(path("."));
  await buildPage({
    configFile: path("../lab/page/vite.config.mjs"),
    build: { outDir: path("../dist/docs/lab") },
    logLevel: "warn",
  });
}
