// Stores a build as edits to another one. The builds share most of their code, so the edits take a tenth of the bytes.

import { readFileSync } from "node:fs";

/** The shortest copy, in bytes. Shorter ones would save another 5 KB, but with twice as many edits to apply at startup. */
const SHORTEST = 24;

/** Encodes a number as LEB128: 7 bits per byte, lowest bits first. */
function leb128(number) {
  const bytes = [];
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
  return [...bytes, number];
}

const zigzag = (number) => (number < 0 ? -2 * number - 1 : 2 * number);

/**
 * Encodes `bytes` as edits to `base`: first the length of the result in bytes; then, for each edit, the number of new bytes, the new bytes,
 * the number of bytes to copy, and their position relative to the end of the previous copy. Numbers are LEB128; signed numbers
 * are zigzag-encoded. src/runtime/load.ts applies the edits.
 */
export function editsOf(base, bytes) {
  const places = new Map();
  const keyAt = (from, at) => from.toString("latin1", at, at + SHORTEST);
  for (let at = 0; at + SHORTEST <= base.length; at++) {
    const key = keyAt(base, at);
    if (!places.has(key)) places.set(key, []);
    places.get(key).push(at);
  }
  const edits = leb128(bytes.length);
  let end = 0;
  let fresh = [];
  for (let at = 0; at < bytes.length; ) {
    let [length, from] = [0, 0];
    for (const place of places.get(keyAt(bytes, at)) ?? []) {
      let n = 0;
      while (at + n < bytes.length && base[place + n] === bytes[at + n]) n++;
      if (n > length || (n === length && Math.abs(place - end) < Math.abs(from - end))) [length, from] = [n, place];
    }
    if (length < SHORTEST) fresh.push(bytes[at++]);
    else {
      edits.push(...leb128(fresh.length), ...fresh, ...leb128(length), ...leb128(zigzag(from - end)));
      fresh = [];
      at += length;
      end = from + length;
    }
  }
  return Buffer.from([...edits, ...leb128(fresh.length), ...fresh]);
}

/** The build to which each other build is stored as edits. */
const BASES = { relaxed: "simd", wide: "relaxed" };

/** The bytes that the package stores for a build: those of the build, or of its edits to another one. */
export function storedBytes(build) {
  const bytes = readFileSync(`build/${build}.wasm`);
  const base = BASES[build];
  return base ? editsOf(readFileSync(`build/${base}.wasm`), bytes) : bytes;
}
