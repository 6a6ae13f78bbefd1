// Bundles dist/src into a few files in dist/node for Node, Deno and Bun: each file that they load costs about a millisecond at startup.
// Browser bundlers use dist/src directly and drop unused code.
import { rmSync } from "node:fs";
import { rolldown } from "rolldown";
import { storedBytes } from "./edits.mjs";
import { lines } from "./lines.mjs";

const OUT = "dist/node";
rmSync(OUT, { recursive: true, force: true });
/** The modules that `import "nabla"` loads: all except the other entry points and the modules that are loaded on demand. */
const CORE =
  /[\\/]dist[\\/](?:assembly|src)[\\/](?!gradients|formats|tfjs|runtime[\\/](?:threads|wide|binaries[\\/]wide))/;

/** The modules that nabla/tfjs imports. They form a separate chunk without layers and optimizers, which take milliseconds to parse. */
const base = new Set();
const findBase = {
  name: "base",
  buildEnd() {
    const left = [...this.getModuleIds()].filter((id) => /[\\/]dist[\\/]src[\\/]tfjs[\\/]index\.js$/.test(id));
    for (let id = left.pop(); id; id = left.pop()) {
      if (base.has(id)) continue;
      base.add(id);
      left.push(...(this.getModuleInfo(id)?.importedIds ?? []));
    }
  },
};

/**
 * Stores the kernels as base64, which these runtimes decode natively, and omits the module that decodes the package's usual text. Uses
 * the global Buffer, because importing node:buffer would take a millisecond.
 */
const kernels = {
  name: "kernels",
  load(id) {
    // The stored builds already contain all parts.
    if (/runtime[\\/]parts[\\/]/.test(id)) return "";
    const build = /binaries[\\/](\w+)\.js$/.exec(id)?.[1];
    if (!build) return null;
    if (build === "streams") return 'export default "";';
    const text = storedBytes(build).toString("base64");
    return `export default () => new Uint8Array(Buffer.from("${text}", "base64"));`;
  },
};

/**
 * Rewrites code that V8 parses slowly: turns the kernels, which the minifier prints as templates, back into strings, and escapes
 * non-ASCII characters, which occur only in strings and names, where escapes are valid. This saves a twentieth of the import time.
 */
const parseable = {
  name: "parseable",
  generateBundle(_, output) {
    const escape = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
    let builds = 0;
    const asString = (_, base64) => {
      builds++;
      return `Buffer.from("${base64}",`;
    };
    for (const chunk of Object.values(output))
      if (chunk.type === "chunk")
        chunk.code = chunk.code
          .replace(/Buffer\.from\(`([A-Za-z0-9+/=]*)`,/g, asString)
          .replace(/[\u0080-\uffff]/g, escape);
    if (builds !== 3) throw new Error(`tools/node.mjs: expected three builds in base64, got ${builds}.`);
  },
};

/**
 * Restores the comment in dynamic imports of Node's built-in modules, which the minifier drops. Without the comment, webpack prints a
 * warning.
 */
const ignoredImports = {
  name: "ignored-imports",
  generateBundle(_, output) {
    for (const chunk of Object.values(output))
      if (chunk.type === "chunk")
        chunk.code = chunk.code.replace(/\bimport\((?=\w+\))/g, "import(/* webpackIgnore: true */");
  },
};

/** Matches an import of an optional peer. Captures the imported names, each with its local name if that differs, and the package. */
const PEER = /import\{([^}]*)\}from"(@tensorflow\/[\w-]+)";/g;

/**
 * Adds a copy of tfjs.js that gets the peers from a CommonJS file. When an ES module imports a CommonJS module, Node reads the file twice
 * and scans it for exports, which takes 6 ms for the two peers. tfjs.js keeps the imports for bundlers, which can then drop unused code.
 */
const requiredPeers = {
  name: "required-peers",
  generateBundle(_, output) {
    const peers = [];
    const code = output["tfjs.js"].code.replace(PEER, (_, names, peer) => {
      peers.push(peer);
      return `const{${names.replace(/ as /g, ":")}}=peers["${peer}"];`;
    });
    if (peers.length !== 2) throw new Error(`tools/node.mjs: expected imports of two peers in tfjs.js, got ${peers}.`);
    const required = peers.map((peer) => `exports["${peer}"] = require("${peer}");\n`).join("");
    this.emitFile({ type: "asset", fileName: "tfjs-peers.cjs", source: required });
    const source = `import peers from"./tfjs-peers.cjs";\n${code}`;
    this.emitFile({ type: "asset", fileName: "tfjs-require.js", source });
  },
};

const bundle = await rolldown({
  input: {
    index: "dist/src/index.js",
    gradients: "dist/src/gradients/index.js",
    formats: "dist/src/formats/index.js",
    tfjs: "dist/src/tfjs/index.js",
    // Bundlers look for this file. Node starts threads from inlined source instead.
    "nabla-worker": "dist/src/runtime/threads/nabla-worker.js",
  },
  // Optional peers.
  external: /^@tensorflow\//,
  platform: "neutral",
  plugins: [kernels, findBase, parseable, ignoredImports, lines, requiredPeers],
  // Keep modules with side effects even if none of their exports is used.
  treeshake: { moduleSideEffects: true },
});
await bundle.write({
  dir: OUT,
  // Functions and classes keep their names for stack traces; short local names make the bundle compile faster.
  comments: { legal: true, annotation: false, jsdoc: false },
  minify: { compress: true, mangle: { toplevel: false }, codegen: { removeWhitespace: true } },
  minifyInternalExports: false,
  // Keep the core in the files `base` and `core`, even if other entries use only parts of it.
  codeSplitting: {
    groups: [
      { name: "base", test: (id) => CORE.test(id) && base.has(id) },
      { name: "core", test: CORE },
    ],
  },
  chunkFileNames: "[name]-[hash].js",
});
