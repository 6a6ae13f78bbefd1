/**
 * Restores a build of the kernels from text. This is a WebAssembly module because JavaScript that runs only once is slower.
 * tools/wasm.mjs documents the text, and tools/streams.mjs documents the streams.
 */

/** The address of each stream's next byte. A stream's number is its index in STREAMS of tools/streams.mjs. */
const NEXT: usize = 0;
/** The byte values that the text encodes as one character, then those that it encodes as two characters. */
const ORDER: usize = 64;
/** The previous alignment or block type of each opcode. */
const LAST: usize = 512;
/** The indices of a function's locals, the most recently used first. */
const LOCALS: usize = 4096;
/** The text. `decode` overwrites it with the bytes that it encodes. */
const TEXT: usize = 8192;

const INTEGER = 0;
const OTHER = 1;
const LANE = 2;
const OFFSET = 3;
const CALL = 4;
const TYPE = 5;
const LONG = 6;
const ALIGNMENT = 7;
const VECTOR = 8;
const FLOAT = 9;
const BLOCK_TYPE = 10;
const DEPTH = 11;
const LOCAL = 12;
const OPCODE = 13;
const STREAMS = 14;

/** The end of the output. */
let end: usize = 0;

function put(byte: u32): void {
  store<u8>(end++, <u8>byte);
}

function take(stream: usize): u32 {
  const at = load<u32>(NEXT + 4 * stream);
  store<u32>(NEXT + 4 * stream, at + 1);
  return load<u8>(at);
}

/** Copies bytes. */
function copy(stream: usize, count: u32): void {
  for (; count; count--) put(take(stream));
}

/** Copies a number in LEB128. */
function copyNumber(stream: usize): void {
  let byte: u32;
  do {
    byte = take(stream);
    put(byte);
  } while (byte > 127);
}

/** Copies an alignment or a block type, which the stream stores XORed with the opcode's previous one. */
function copySame(stream: usize, opcode: u32): void {
  const byte = take(stream) ^ load<u8>(LAST + opcode);
  store<u8>(LAST + opcode, <u8>byte);
  put(byte);
}

/** Copies the alignment and the offset of an access. */
function copyAccess(opcode: u32): void {
  copySame(ALIGNMENT, opcode);
  copyNumber(OFFSET);
}

/** Copies the index of a local, which the stream stores as its place in LOCALS, and moves the index to the front. */
function copyLocal(): void {
  let place: usize = LOCALS + take(LOCAL);
  const local = load<u8>(place);
  for (; place > LOCALS; place--) store<u8>(place, load<u8>(place - 1));
  store<u8>(LOCALS, local);
  put(local);
  if (local > 127) put(1);
}

/** Copies the immediates of an opcode without a prefix. */
function copyImmediates(opcode: u32): void {
  if (opcode >= 0x20 && opcode <= 0x22) copyLocal();
  else if (opcode >= 0x28 && opcode <= 0x3e) copyAccess(opcode);
  else if (opcode >= 0x02 && opcode <= 0x04) copySame(BLOCK_TYPE, opcode);
  else if (opcode === 0x41) copyNumber(INTEGER);
  else if (opcode === 0x0c || opcode === 0x0d) copyNumber(DEPTH);
  else if (opcode === 0x0e) copy(DEPTH, load<u8>(load<u32>(NEXT + 4 * DEPTH)) + 2);
  else if (opcode === 0x10) copyNumber(CALL);
  else if (opcode === 0x42) copyNumber(LONG);
  else if (opcode === 0x43) copy(FLOAT, 4);
  else if (opcode === 0x44) copy(FLOAT, 8);
  else if (opcode === 0x3f || opcode === 0x40) copySame(BLOCK_TYPE, opcode);
}

/** Copies the immediates of a vector opcode. */
function copyVectorImmediates(opcode: u32): void {
  if (opcode <= 11 || (opcode >= 84 && opcode <= 93)) copyAccess(256 + opcode);
  else if (opcode <= 13) copy(VECTOR, 16);
  if ((opcode >= 21 && opcode <= 34) || (opcode >= 84 && opcode <= 91)) copyNumber(LANE);
}

/** Copies an opcode after a prefix, and its immediates. */
function copyPrefixed(prefix: u32): void {
  let opcode = take(OPCODE);
  put(opcode);
  if (opcode > 127) {
    const high = take(OPCODE);
    put(high);
    opcode += (high - 1) << 7;
  }
  if (prefix === 0xfd) copyVectorImmediates(opcode);
  else if (prefix === 0xfe) {
    if (opcode === 3) copy(BLOCK_TYPE, 1);
    else copyAccess(512 + opcode);
  } else if (opcode === 10) copy(BLOCK_TYPE, 2);
  else if (opcode === 11) copy(BLOCK_TYPE, 1);
}

/** Copies a function, and inserts its size before it. A function ends at the END that closes no block. */
function copyFunction(): void {
  const start = end;
  copy(TYPE, 2 * load<u8>(load<u32>(NEXT + 4 * TYPE)) + 1);
  for (let i: u32 = 0; i < 256; i++) store<u8>(LOCALS + i, <u8>i);
  for (let depth = 0; depth >= 0;) {
    const opcode = take(OPCODE);
    put(opcode);
    if (opcode > 0xfb) {
      copyPrefixed(opcode);
      continue;
    }
    if (opcode >= 0x02 && opcode <= 0x04) depth++;
    else if (opcode === 0x0b) depth--;
    copyImmediates(opcode);
  }
  let size = <u32>(end - start);
  const room = size < 128 ? 1 : size < 16384 ? 2 : 3;
  memory.copy(start + room, start, size);
  for (let i = 0; i < room; i++, size >>= 7) store<u8>(start + i, <u8>(size | (i < room - 1 ? 128 : 0)));
  end += room;
}

/** Decodes text of `length` characters, the first 64 of which are a header. Returns the number of decoded bytes, which are at TEXT. */
export function decode(length: usize): usize {
  let order = ORDER;
  for (let single: u32 = 1; single <= 1; single--) {
    for (let byte: u32 = 0; byte < 256; byte++) {
      const character = <u32>load<u8>(TEXT + (byte >> 2));
      const digit = character > 57 ? character - 87 : character - 48;
      if (((digit >> (3 - (byte & 3))) & 1) === single) store<u8>(order++, <u8>byte);
    }
  }
  end = TEXT;
  for (let at: usize = TEXT + 64; at < TEXT + length; at++) {
    let code = <u32>load<u8>(at);
    let page: u32 = 0;
    if (code > 124) {
      page = code - 124;
      code = load<u8>(++at);
    }
    put(load<u8>(ORDER + 86 * page + code - (code < 92 ? 35 : 36)));
  }
  return end - TEXT;
}

/** Reads one of the three-byte numbers that precede the streams. */
function number(place: usize): u32 {
  return load<u32>(TEXT + 3 * place) & 0xffffff;
}

/** Joins the streams at TEXT, `length` bytes in all. Writes the module after them, and returns the module's size. */
export function join(length: usize): usize {
  let at = TEXT + 3 * (STREAMS + 3);
  for (let i: usize = 0; i < <usize>STREAMS; i++) {
    store<u32>(NEXT + 4 * i, <u32>at);
    at += number(3 + i);
  }
  end = TEXT + length;
  copy(OTHER, number(1));
  for (let functions = number(2); functions; functions--) copyFunction();
  copy(OTHER, number(0) - <u32>(end - TEXT - length));
  return number(0);
}
