// The lab's page. `npm run lab` serves it and reloads it while you edit it. `npm run lab:build` writes dist/lab-page, a
// folder that any host can serve from any path. The page loads nothing from other servers. Both commands need the
// kernels and digits that `npm run build` creates.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, runnerImport } from "vite";
import { renderArticle, renderContents, renderFont } from "./render.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
if (!existsSync(`${root}dist/bin/digits.gz`))
  throw new Error("dist/bin/digits.gz does not exist. Run `npm run build` first.");

const alias = [
  { find: /^nabla$/, replacement: `${root}src/index.ts` },
  { find: /^nabla\/gradients$/, replacement: `${root}src/gradients/index.ts` },
];

/** A module of the lab, to run it now. */
const load = async (file) => (await runnerImport(`${root}lab/${file}`, { root, resolve: { alias } })).module;

/** Writes the article into the document. */
const article = {
  name: "article",
  transformIndexHtml: {
    order: "pre",
    async handler(html) {
      const text = readFileSync(`${root}lab/article/article.md`, "utf8");
      const { experiments } = await load("experiments/index.ts");
      const { drawTeaser } = await load("page/teaser.ts");
      const { references } = await load("article/references.ts");
      const rendered = renderArticle(text, experiments, { teaser: drawTeaser }, references);
      const page = html
        .replace("<!--article-->", () => rendered)
        .replace("<!--contents-->", () => renderContents(rendered));
      return page.replace("</head>", `<style>${await renderFont(page)}</style></head>`);
    },
  },
  configureServer({ watcher, ws }) {
    const file = `${root}lab/article/article.md`;
    watcher.add(file);
    watcher.on("change", (changed) => changed === file && ws.send({ type: "full-reload" }));
  },
};

export default defineConfig({
  root: `${root}lab/page`,
  base: "./",
  cacheDir: `${root}node_modules/.vite/lab`,
  assetsInclude: ["**/*.gz"],
  plugins: [article],
  resolve: { alias },
  worker: { format: "es" },
  server: { fs: { allow: [root] } },
  build: {
    outDir: `${root}dist/lab-page`,
    emptyOutDir: true,
    target: "es2023",
    chunkSizeWarningLimit: 1500,
  },
});
