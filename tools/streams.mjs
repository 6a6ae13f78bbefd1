// Splits a WebAssembly module into streams, one for each kind of bytes, such as opcodes or the indices of locals. Bytes of one kind
// follow simpler patterns than a mix of all kinds, so after gzip the streams are a fifth smaller than the module. assembly/streams.ts
// joins the streams.
import { readFileSync } from "node:fs";
import { PART_HEADER } from "./parts.mjs";

/**
 * The streams, in the order that compresses best. Each letter stands for a kind of bytes. b: block types, and indices of one byte. d: the
 * depths of branches. c: the functions that are called. l: locals. m, n: the alignments and offsets of loads and stores. i, j: i32 and i64
 * constants. f, w: float and vector constants. a: lanes. o: opcodes. t: the types of locals. h: everything outside functions. Numbers of
 * three bytes precede the streams: the size of the module, the size of its part before the functions, the number of functions, and the
 * size of each stream.
 */
const STREAMS = "ihanctjmwfbdlo";

/** The first and the last opcode of a range, and the kinds of the immediates that these opcodes have. */
const IMMEDIATES = [
  [0x02, 0x04, "b"], // block, loop, if
  [0x0c, 0x0d, "d"], // br, br_if
  [0x10, 0x10, "c"], // call
  [0x20, 0x22, "l"], // local.get, local.set, local.tee
  [0x28, 0x3e, "mn"], // loads and stores
  [0x3f, 0x40, "b"], // memory.size, memory.grow
  [0x41, 0x41, "i"],
  [0x42, 0x42, "j"],
  [0x43, 0x43, "ffff"],
  [0x44, 0x44, "ffffffff"],
];
/** The same for opcodes after a prefix. "p" is a byte that stream b stores as it is. */
const PREFIXED = {
  252: [
    [10, 10, "pp"], // memory.copy
    [11, 11, "p"], // memory.fill
  ],
  253: [
    [0, 11, "mn"],
    [12, 13, "w".repeat(16)], // v128.const, i8x16.shuffle
    [21, 34, "a"],
    [84, 91, "mna"],
    [92, 93, "mn"],
  ],
  254: [
    [0, 2, "mn"],
    [3, 3, "p"], // atomic.fence
    [4, 78, "mn"],
  ],
};
const CODE = 10;
const BR_TABLE = 14;

/** Joins streams. Runs build/streams.wasm, which `npm run wasm` compiles from assembly/streams.ts. */
export function joinStreams(packed) {
  const { memory, join } = new WebAssembly.Instance(
    new WebAssembly.Module(readFileSync(new URL("../build/streams.wasm", import.meta.url))),
  ).exports;
  const text = 8192; // where assembly/streams.ts expects it
  new Uint8Array(memory.buffer).set(packed, text);
  const start = text + packed.length;
  const size = join(packed.length);
  return new Uint8Array(memory.buffer).slice(start, start + size);
}

/**
 * Splits a module, or a part of one (parts.mjs). @throws Error if assembly/streams.ts would not restore it
 * @param count the number of functions in a part
 */
export function splitModule(module, count) {
  const streams = Object.fromEntries([...STREAMS].map((kind) => [kind, []]));
  let at = 0;
  /** Reads a byte, and copies it if `kind` is the letter of a stream. */
  const byte = (kind) => {
    if (kind) streams[kind].push(module[at]);
    return module[at++];
  };
  /** Reads a number in LEB128. */
  const number = (kind) => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const part = byte(kind);
      value |= (part & 127) << shift;
      if (part < 128) return value >>> 0;
    }
  };

  const lastOf = new Map();
  function instruction(locals) {
    const first = byte("o");
    const table = PREFIXED[first];
    const opcode = table ? number("o") : first;
    if (first === BR_TABLE) for (let count = number("d"); count >= 0; count--) number("d");
    const [, , kinds] = (table ?? IMMEDIATES).find(([from, to]) => opcode >= from && opcode <= to) ?? [0, 0, ""];
    for (const kind of kinds)
      if (kind === "l") {
        const place = locals.indexOf(number());
        streams.l.push(place);
        locals.unshift(...locals.splice(place, 1));
      } else if (kind === "m" || kind === "b") {
        const key = 1000 * (table ? first : 0) + opcode;
        const value = byte();
        streams[kind].push(value ^ (lastOf.get(key) ?? 0));
        lastOf.set(key, value);
      } else if (kind === "p") byte("b");
      else if (kind === "f" || kind === "w") byte(kind);
      else number(kind);
  }
  function body() {
    const size = number();
    const end = at + size;
    for (let groups = number("t"); groups > 0; groups--) {
      number("t");
      byte("t");
    }
    const locals = Array.from({ length: 256 }, (_, i) => i);
    while (at < end) instruction(locals);
  }

  let [head, functions] = [PART_HEADER, count];
  const headerSize = count === undefined ? 8 : PART_HEADER;
  while (at < headerSize) byte("h");
  for (let i = 0; i < count; i++) body();
  while (at < module.length) {
    const section = byte("h");
    const end = number("h") + at;
    if (section === CODE) {
      functions = number("h");
      head = at;
      for (let i = 0; i < functions; i++) body();
    }
    while (at < end) byte("h");
  }
  const parts = Object.values(streams);
  const numbers = [module.length, head, functions, ...parts.map(({ length }) => length)];
  const header = numbers.flatMap((value) => [value & 255, (value >> 8) & 255, value >> 16]);
  const packed = Buffer.from([header, ...parts].flat());
  if (Buffer.compare(joinStreams(packed), module))
    throw new Error("splitModule: the streams do not join to the module. Check assembly/streams.ts.");
  return packed;
}
