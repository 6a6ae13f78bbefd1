// The documentation site. `npm run docs` builds it into dist/docs, which any static host can serve. It loads nothing from other hosts.
import { existsSync, readFileSync } from "node:fs";
import { defineConfig } from "vitepress";
import { referenceSidebars } from "./sidebar.mjs";

const sidebarFile = new URL("../reference/typedoc-sidebar.json", import.meta.url);
if (!existsSync(sidebarFile))
  throw new Error("docs: docs/reference is missing. Run `npm run docs` or `npm run docs:dev`.");
const guide = [
  {
    text: "Start here",
    items: [
      { text: "Get started", link: "/guide/" },
      { text: "Tensors and memory", link: "/guide/tensors" },
      { text: "Gradients", link: "/guide/gradients" },
      { text: "Layers and training", link: "/guide/layers" },
    ],
  },
  {
    text: "Go faster",
    items: [
      { text: "Compiled steps", link: "/guide/compile" },
      { text: "Threads", link: "/guide/threads" },
      { text: "Performance", link: "/guide/performance" },
    ],
  },
  {
    text: "Ship it",
    items: [
      { text: "Saving and loading", link: "/guide/saving" },
      { text: "Serverless", link: "/guide/serverless" },
      { text: "Browsers and bundlers", link: "/guide/browsers" },
      { text: "The nabla command", link: "/guide/command" },
    ],
  },
  {
    text: "Look inside",
    items: [
      { text: "What gradients tell you", link: "/guide/analysis" },
      { text: "The lab", link: "/guide/lab" },
      { text: "Concepts", link: "/guide/concepts" },
      { text: "Exercises", link: "/guide/practice" },
      { text: "Debugging", link: "/guide/debugging" },
    ],
  },
  {
    text: "Coming from",
    items: [
      { text: "PyTorch", link: "/guide/pytorch" },
      { text: "TensorFlow.js", link: "/guide/tensorflow" },
    ],
  },
  {
    text: "Facts",
    items: [
      { text: "Benchmarks", link: "/benchmarks" },
      { text: "Sizes", link: "/sizes" },
      { text: "Runtimes", link: "/runtimes" },
      { text: "Op table", link: "/ops" },
      { text: "TensorFlow.js kernels", link: "/tfjs-kernels" },
      { text: "Architecture", link: "/architecture" },
    ],
  },
];

export default defineConfig({
  title: "nabla",
  description: "Train and run neural networks in JavaScript.",
  lang: "en",
  // Write the sidebars to one separate file instead of to every page.
  metaChunk: true,
  base: process.env.DOCS_BASE ?? "/",
  outDir: "../dist/docs",
  cacheDir: "../node_modules/.vite/docs",
  // docs/build.mjs adds the lab's page after VitePress has checked the links.
  ignoreDeadLinks: [/^\/lab\/$/],
  head: [["link", { rel: "icon", href: `${process.env.DOCS_BASE ?? "/"}logo.svg`, type: "image/svg+xml" }]],
  markdown: { theme: { light: "github-light", dark: "github-dark" } },
  themeConfig: {
    logo: "/logo.svg",
    nav: [
      { text: "Guide", link: "/guide/", activeMatch: "^/guide/" },
      { text: "Reference", link: "/reference/", activeMatch: "^/reference/" },
      { text: "Lab", link: "/guide/lab" },
      { text: "Benchmarks", link: "/benchmarks" },
    ],
    sidebar: { ...referenceSidebars(JSON.parse(readFileSync(sidebarFile, "utf8"))), "/": guide },
    search: { provider: "local" },
    outline: [2, 3],
    footer: { message: "MIT licence" },
  },
});
