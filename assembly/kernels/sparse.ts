/**
 * Sparse gradients: lists the distinct rows that indices refer to, and updates these rows. Neither kernel reads any
 * other row of the table.
 */
import { Unique, UpdatePart } from "../layouts";
import { Op } from "../opcodes";
import { word } from "../operands";
import { adagrad, adam, sgd } from "./optimizer";

/** The number of different values of a byte. */
const BYTES: u32 = 256;

@inline
function get(list: usize, i: u32): u32 { return load<u32>(list + (<usize>i << 2)); }

@inline
function set(list: usize, i: u32, value: u32): void { store<u32>(list + (<usize>i << 2), value); }

/**
 * Lists the distinct indices (layouts.ts: Unique). Uses a radix sort, which is stable: sorts the positions of the
 * indices by one byte of the index at a time, starting with the lowest byte.
 */
export function unique(at: usize): void {
  const out: usize = word(at, Unique.out), inverse: usize = word(at, Unique.inverse),
    index: usize = word(at, Unique.index);
  const n = word(at, Unique.n), count = word(at, Unique.count);
  const starts: usize = word(at, Unique.workspace);
  let from = starts + (BYTES << 2), to = from + (<usize>count << 2);
  let valid: u32 = 0;
  for (let j: u32 = 0; j < count; j++) {
    const row = get(index, j);
    if (row < n) {
      set(from, valid, j);
      valid++;
    } else set(inverse, j, -1);
  }
  for (let shift: u32 = 0; shift < 32 && (n - 1) >> shift; shift += 8) {
    sortByByte(to, from, valid, index, shift, starts);
    const sorted = to;
    to = from;
    from = sorted;
  }
  let last: u32 = -1, rows: u32 = 0;
  for (let i: u32 = 0; i < valid; i++) {
    const j = get(from, i), row = get(index, j);
    if (row != last) {
      set(out, rows, row);
      rows++;
      last = row;
    }
    set(inverse, j, rows - 1);
  }
  memory.fill(out + (<usize>rows << 2), 0xff, <usize>(min(count, n) - rows) << 2);
}

/** Copies `count` positions, sorted by the byte at bit `shift` of their indices. `starts` is scratch memory for 256 numbers. */
function sortByByte(to: usize, from: usize, count: u32, index: usize, shift: u32, starts: usize): void {
  memory.fill(starts, 0, BYTES << 2);
  for (let i: u32 = 0; i < count; i++) {
    const byte = (get(index, get(from, i)) >> shift) & 0xff;
    set(starts, byte, get(starts, byte) + 1);
  }
  // Replace each count with the place of the first position that has this byte.
  for (let byte: u32 = 0, place: u32 = 0; byte < BYTES; byte++) {
    const number = get(starts, byte);
    set(starts, byte, place);
    place += number;
  }
  for (let i: u32 = 0; i < count; i++) {
    const j = get(from, i), byte = (get(index, j) >> shift) & 0xff, place = get(starts, byte);
    set(to, place, j);
    set(starts, byte, place + 1);
  }
}

/** Updates the rows of p that rows [begin, end) of its gradient refer to. */
export function updateRows(op: Op, at: usize, part: usize, beta1t: f64, beta2t: f64, begin: u32, end: u32): void {
  const rows = word(part, UpdatePart.rows), width = word(part, UpdatePart.width);
  for (let r = begin; r < end; r++) {
    const row = get(rows, r);
    if (row == <u32>-1) return;
    const first = row * width, g = word(part, UpdatePart.g) + ((r - row) * width << 2);
    switch (op) {
      case Op.Sgd: sgd(at, part, g, first, first + width); break;
      case Op.Adam: adam(at, part, g, beta1t, beta2t, first, first + width); break;
      case Op.Adagrad: adagrad(at, part, g, first, first + width); break;
      default:
        unreachable();
    }
  }
}
