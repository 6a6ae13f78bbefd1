// Orders the functions of a module so that gzip finds more repetitions: similar kernels follow each other. This makes the gzipped module
// 3 % smaller.
// `node tools/order.mjs` (after `npm run wasm`) finds a new order; run it when many kernels have changed.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { deflateRawSync } from "node:zlib";
import { assemble, readerOf, sectionsOf } from "./assemble.mjs";
import { partsOf } from "./parts.mjs";

/** How far back deflate finds repetitions, in bytes. */
const WINDOW = 32768;
const CODE = 10;

const compressedSize = (bytes, before) =>
  deflateRawSync(bytes, { level: 9, memLevel: 9, dictionary: before.length ? before : undefined }).length;

/** The bodies of a module's functions, as bytes. */
function functionBodies(bytes) {
  const reader = readerOf(sectionsOf(bytes).find(({ id }) => id === CODE).body);
  return Array.from({ length: reader.number() }, () => reader.bytes(reader.number()));
}

/**
 * The names of a module's functions, in an order that compresses well: the next function is always the one that compresses best after
 * those already chosen. The parts follow each other, so that each is in one piece. @param names the names of the module's functions, in the
 * module's order
 */
function compactOrder(bytes, names, partOf) {
  const bodies = functionBodies(bytes);
  if (bodies.length !== names.length)
    throw new Error(`compactOrder: the module has ${bodies.length} functions, got ${names.length} names.`);
  const alone = bodies.map((body) => compressedSize(body, []));
  const parts = names.map(partOf);
  const left = new Set(names.keys());
  const order = [];
  let before = Buffer.alloc(0);
  for (let next = 0; next !== undefined; ) {
    left.delete(next);
    order.push(names[next]);
    before = Buffer.concat([before, bodies[next]]).subarray(-WINDOW);
    let smallest = Infinity;
    const part = Math.min(...[...left].map((i) => parts[i]));
    next = undefined;
    for (const i of left) {
      if (parts[i] !== part) continue;
      const share = compressedSize(bodies[i], before) / alone[i];
      if (share < smallest) [smallest, next] = [share, i];
    }
  }
  return order;
}

/**
 * The build reads the order from this file instead of computing it, because deflate's output, and so the order, depends on the version of
 * zlib.
 */
const FILE = new URL("./functionOrder.json", import.meta.url);

/**
 * Sorts the functions of a module, given as text, first by part, then as functionOrder.json lists them. Functions that it lacks keep their
 * order and come last in their part.
 */
export function sortFunctions(wat) {
  const partOf = partsOf(wat);
  const places = new Map(JSON.parse(readFileSync(FILE, "utf8")).map((name, i) => [name, i]));
  const lines = wat.split("\n");
  const rest = [];
  const functions = [];
  let first;
  for (let i = 0; i < lines.length; ) {
    const [, name] = /^ \(func \$(\S+)/.exec(lines[i]) ?? [];
    if (!name) {
      rest.push(lines[i++]);
      continue;
    }
    first ??= rest.length;
    const end = lines.indexOf(" )", i) + 1;
    functions.push({ part: partOf(name), place: places.get(name) ?? places.size, lines: lines.slice(i, end) });
    i = end;
  }
  const sorted = functions.sort((a, b) => a.part - b.part || a.place - b.place).flatMap((one) => one.lines);
  return [...rest.slice(0, first), ...sorted, ...rest.slice(first)].join("\n");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const wat = readFileSync("build/simd.wat", "utf8");
  const { bytes, names } = assemble(wat);
  writeFileSync(FILE, `${JSON.stringify(compactOrder(bytes, names, partsOf(wat)), null, 2)}\n`);
}
