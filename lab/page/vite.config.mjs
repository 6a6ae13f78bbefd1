// The lab's page. `npm run lab` serves it and reloads it while you edit it. `npm run lab:build` writes dist/lab-page, a folder that any host
// can serve from any path, and that loads nothing else from the network. Both need the kernels and digits of `npm run build`.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const root = fileURLToPath(new URL("../..", import.meta.url));
if (!existsSync(`${root}dist/bin/digits.gz`))
  throw new Error("dist/bin/digits.gz does not exist. Run `npm run build` first.");

/** KaTeX's style sheet without the fonts that only old browsers read. */
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
