// Loads the exports of lab/page/content.ts for the build, and provides the exercises, with rendered text, to the page
// as a module.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export const alias = [
  { find: /^nabla$/, replacement: `${root}src/index.ts` },
  { find: /^nabla\/gradients$/, replacement: `${root}src/gradients/index.ts` },
];

let loaded;
/** Loads the exports of content.ts, only once, because each load starts another copy of nabla. */
export function content() {
  loaded ??= runnerImport(`${root}lab/page/content.ts`, { root, resolve: { alias } }).then(({ module }) => module);
  return loaded;
}

const ID = "virtual:practices";
/** Provides the exercises as the module virtual:practices. */
export const practices = {
  name: "practices",
  resolveId: (id) => (id === ID ? `\0${ID}` : undefined),
  async load(id) {
    if (id === `\0${ID}`) return `export const practices = ${JSON.stringify((await content()).practices)};`;
  },
  configureServer({ watcher, moduleGraph, ws }) {
    watcher.on("change", () => {
      loaded = undefined;
      const shown = moduleGraph.getModuleById(`\0${ID}`);
      if (!shown) return;
      moduleGraph.invalidateModule(shown);
      ws.send({ type: "full-reload" });
    });
  },
};
