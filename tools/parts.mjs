// Divides a build of the kernels into a base, which every page loads, and parts, which a page loads only if it imports an op that needs them
// (src/runtime/parts). In the base, a stub that traps stands for each function of a part.
import { CALLED, readerOf } from "./assemble.mjs";

/**
 * The files in assembly/kernels and the functions that belong to each part. A function that only one part needs belongs to that part, too.
 * The families in assembly/opcodes.ts name the parts that they need.
 */
export const PARTS = {
  image: /\/kernels\/(conv|convDirect|convPhase|depthwise|depthwiseWeight|dilation|pool|winograd)\/|\/interpolate/,
  sequence: /\/kernels\/(attention|cache|recurrent|recurrentWeights)\//,
  norm: /\/kernels\/norm\//,
  quantized: /\/kernels\/(quantized|widen)\//,
};
export const PART_NAMES = Object.keys(PARTS);

/** The functions that each function in the text of a module calls. */
function callsOf(wat) {
  const calls = new Map();
  for (const [, name, body] of wat.matchAll(/^ \(func \$(\S+)([\s\S]*?)^ \)$/gm))
    calls.set(name, new Set(Array.from(body.matchAll(/\bcall \$([^\s)]+)/g), ([, callee]) => callee)));
  return calls;
}

/** Returns a function that maps the name of a function in the text of a module to the index of its part; −1 for the base. */
export function partsOf(wat) {
  const calls = callsOf(wat);
  const names = [...calls.keys()];
  const ownPart = (name) => PART_NAMES.findIndex((part) => PARTS[part].test(name));
  const reach = (roots, isWanted) => {
    const found = new Set();
    const left = [...roots];
    for (let name = left.pop(); name; name = left.pop()) {
      if (found.has(name) || !isWanted(name)) continue;
      found.add(name);
      left.push(...(calls.get(name) ?? []));
    }
    return found;
  };
  const base = reach(
    names.filter((name) => CALLED.test(/[^/]+$/.exec(name)[0])),
    (name) => ownPart(name) < 0,
  );
  const needed = PART_NAMES.map((_, part) =>
    reach(
      names.filter((name) => ownPart(name) === part),
      () => true,
    ),
  );
  return (name) => {
    const parts = base.has(name) ? [] : [...needed.keys()].filter((part) => needed[part].has(name));
    return parts.length === 1 ? parts[0] : -1;
  };
}

const CODE = 10;
/** The size of a stub's function, which has no locals, and the function: unreachable, end. */
const STUB = [3, 0, 0, 11];
/** The size of the header of a part. */
export const PART_HEADER = 9;
const threeBytes = (value) => [value & 255, (value >> 8) & 255, value >> 16];

/**
 * Divides a module whose functions are sorted by part. Returns the base and, for each part, its functions after a header of three numbers
 * of three bytes: where its stubs begin and end in the base, and where the size of the base's code section is. Parts that have no functions
 * are empty. src/runtime/load.ts inserts parts into the base.
 * @param partOfFunction the part of each function, or −1
 */
export function divide(bytes, partOfFunction) {
  let at = 8;
  const number = () => {
    const reader = readerOf(bytes.subarray(at, at + 5));
    const value = reader.number();
    while (bytes[at++] > 127);
    return value;
  };
  while (bytes[at++] !== CODE) at = number() + at;
  const sizeAt = at;
  const end = number() + at;
  if (end !== bytes.length || number() !== partOfFunction.length)
    throw new Error("divide: the code section must be the last section, and hold the functions in partOfFunction.");
  const head = bytes.subarray(0, at);
  const base = [];
  const parts = PART_NAMES.map(() => []);
  for (const part of partOfFunction) {
    const start = at;
    at = number() + at;
    (parts[part] ?? base).push(bytes.subarray(start, at));
  }
  const result = { base: Buffer.concat([head, ...base]), parts: [] };
  for (const functions of parts) {
    const begin = result.base.length;
    result.base = Buffer.concat([result.base, ...functions.map(() => Buffer.from(STUB))]);
    const header = [begin, result.base.length, sizeAt].flatMap(threeBytes);
    result.parts.push({ count: functions.length, bytes: Buffer.concat([Buffer.from(header), ...functions]) });
  }
  const size = result.base.length - sizeAt - 3;
  result.base.set([(size & 127) | 128, ((size >> 7) & 127) | 128, size >> 14], sizeAt);
  return result;
}
