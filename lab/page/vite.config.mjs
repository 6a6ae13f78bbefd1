// The lab's page. `npm run lab` serves it and reloads it while you edit it. `npm run lab:build` writes dist/lab-page, a
// folder that any host can serve from any path. The page loads nothing from other servers. Both commands need the
// kernels and digits that `npm run build` creates.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const root = fileURLToPath(new URL("../..", import.meta.url));
if (!existsSync(`${root}dist/bin/digits.gz`))
  throw new Error("dist/bin/digits.gz does not exist. Run `npm run build` first.");

/** Removes the font formats that only old browsers need from KaTeX's style sheet. */
const modernFonts = {
  name: "modern-fonts",
  enforce: "pre",
  transform: (code, id) =>
    id.includes("katex") && id.endsWith(".css")
      ? code.replace(/,url\([^)]*\.(woff|ttf)\) format\("[a-z]+"\)/g, "")
      : undefined,
};

export default defineConfig({
  root: `${root}lab/page`,
  base: "./",
  cacheDir: `${root}node_modules/.vite/lab`,
  assetsInclude: ["**/*.gz"],
  plugins: [modernFonts],
  resolve: {
    alias: [
      { find: /^nabla$/, replacement: `${root}src/index.ts` },
      { find: /^nabla\/gradients$/, replacement: `${root}src/gradients/index.ts` },
    ],
  },
  worker: { format: "es" },
  server: { fs: { allow: [root] } },
  build: {
    outDir: `${root}dist/lab-page`,
    emptyOutDir: true,
    target: "es2023",
    chunkSizeWarningLimit: 1500,
  },
});
