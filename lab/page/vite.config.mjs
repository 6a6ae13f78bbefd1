// Builds the lab's page. `npm run lab` serves the page, and reloads it when you edit its sources. `npm run lab:build`
// writes dist/lab-page, a folder that any host can serve from any path. The page loads nothing from other servers. Both
// commands need the kernels and digits that `npm run build` creates.
import { existsSync, readFileSync } from "node:fs";
import { defineConfig } from "vite";
import { alias, content, practices, root } from "./content.mjs";
import { renderArticle, renderContents, renderFont } from "./render.mjs";

if (!existsSync(`${root}dist/bin/digits.gz`))
  throw new Error("dist/bin/digits.gz does not exist. Run `npm run build` first.");

/** Writes the article into the document. */
const article = {
  name: "article",
  transformIndexHtml: {
    order: "pre",
    async handler(html) {
      const text = readFileSync(`${root}lab/article/article.md`, "utf8");
      const { experiments, references, drawTeaser, practices: exercises } = await content();
      const rendered = renderArticle(text, experiments, { teaser: drawTeaser }, references);
      const page = html
        .replace("<!--article-->", () => rendered)
        .replace("<!--contents-->", () => renderContents(rendered));
      // The exercises are not part of the article, but use the same font.
      const font = await renderFont(page + JSON.stringify(exercises));
      return page.replace("</head>", `<style>${font}</style></head>`);
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
  plugins: [article, practices],
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
