/**
 * Low-precision numbers (opcodes.ts: WeightFormat) as float32, and products with them. A product widens a few rows of w at a time, so w stays small in
 * memory. Its results have the same bits as those of the product with the widened w.
 */
import { Widen, WidenedMatmul } from "../layerLayouts";
import { WeightFormat } from "../opcodes";
import { word } from "../operands";
import { shareBegin } from "../simd";
import { gemm, gemmWorkspace } from "./gemm";

/** The number of rows of w that a product widens at once: if x has up to FEW rows, so few that they stay in the L1 cache. */
const ROWS: usize = 32;
const FEW_ROWS: usize = 16;
const FEW: usize = 12;

/** The number of scratch bytes that one thread needs to widen rows: `rows` of k numbers, and the rest of a group. */
export function widenWorkspace(k: u32, rows: u32): u32 {
  return (rows * k * 4 + 191) & ~63;
}

/** The number of scratch bytes that one thread needs for a product. */
export function widenedWorkspace(m: u32, n: u32, k: u32): u32 {
  return gemmWorkspace(m, n, k, 0, 1) + widenWorkspace(k, <u32>ROWS);
}

/** The number of bytes in a row. */
@inline
function rowBytes(k: usize, kind: u32): usize {
  return kind == WeightFormat.Int8 ? k : kind == WeightFormat.Int4 ? groupsOf(k) << 4 : k << 1;
}

/** The number of scales of a row. */
@inline
function scalesOf(k: usize, kind: u32): usize {
  return kind == WeightFormat.Int8 ? 1 : kind == WeightFormat.Int4 ? groupsOf(k) : 0;
}

@inline
function groupsOf(k: usize): usize { return (k + 31) >> 5; }

/** Stores four numbers of a vector of eight, (v − base)·scale. */
@inline
function put8(to: usize, v: v128, base: v128, scale: v128): void {
  v = i16x8.sub(v, base);
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(v)), scale));
  v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(v)), scale), 16);
}

/**
 * Widens a row of w. Writes up to 31 numbers after the k numbers of the row, and reads up to 7 bytes after its end.
 */
export function widenRow(to: usize, w: usize, scale: usize, k: usize, kind: u32): void {
  const end = to + (k << 2);
  if (kind == WeightFormat.Int8) {
    const factor = v128.load32_splat(scale), base = i16x8.splat(128);
    for (; to < end; to += 32, w += 8) put8(to, v128.load_ext<u8>(w), base, factor);
  } else if (kind == WeightFormat.Int4) {
    const low = i8x16.splat(15), base = i16x8.splat(8);
    for (; to < end; to += 128, w += 16, scale += 4) {
      const v = v128.load(w), factor = v128.load32_splat(scale);
      const a = v128.and(v, low), b = i8x16.shr_u(v, 4);
      put8(to, i16x8.extend_low_i8x16_u(a), base, factor);
      put8(to + 32, i16x8.extend_high_i8x16_u(a), base, factor);
      put8(to + 64, i16x8.extend_low_i8x16_u(b), base, factor);
      put8(to + 96, i16x8.extend_high_i8x16_u(b), base, factor);
    }
  } else if (kind == WeightFormat.Float16) {
    // Bits 28 to 30 of the shifted number repeat the sign. Without them, its exponent is too small by 127 − 15.
    const mask = i32x4.splat(0x8fffffff), factor = i32x4.splat((127 + 112) << 23);
    for (; to < end; to += 16, w += 8)
      v128.store(to, f32x4.mul(v128.and(i32x4.shl(v128.load_ext<i16>(w), 13), mask), factor));
  } else {
    for (; to < end; to += 16, w += 8) v128.store(to, i32x4.shl(v128.load_ext<u16>(w), 16));
  }
}

/** Runs a share of Widen: some of the rows. */
export function stepWiden(at: usize, thread: u32, threads: u32): void {
  const m = word(at, Widen.m), k = word(at, Widen.k), kind = <u32>word(at, Widen.kind);
  const out = word(at, Widen.out), w = word(at, Widen.w), scale = word(at, Widen.scale);
  const row = word(at, Widen.workspace) + thread * widenWorkspace(<u32>k, 1);
  const bytes = rowBytes(k, kind), scales = scalesOf(k, kind) << 2;
  for (let i = shareBegin(m, 1, thread, threads), end = shareBegin(m, 1, thread + 1, threads); i < end; i++) {
    widenRow(row, w + i * bytes, scale + i * scales, k, kind);
    memory.copy(out + (i * k << 2), row, k << 2);
  }
}

/** Runs a share of WidenedMatmul: some of the columns. */
export function stepWidenedMatmul(at: usize, thread: u32, threads: u32): void {
  const m = word(at, WidenedMatmul.m), n = word(at, WidenedMatmul.n), k = word(at, WidenedMatmul.k);
  const kind = <u32>word(at, WidenedMatmul.kind), w = word(at, WidenedMatmul.w), scale = word(at, WidenedMatmul.scale);
  const workspace = word(at, WidenedMatmul.workspace) + thread * widenedWorkspace(<u32>m, <u32>n, <u32>k);
  const panel = workspace + gemmWorkspace(<u32>m, <u32>n, <u32>k, 0, 1);
  const bytes = rowBytes(k, kind), scales = scalesOf(k, kind) << 2, row = k << 2;
  const step = m > FEW ? ROWS : FEW_ROWS, end = shareBegin(n, ROWS, thread + 1, threads);
  for (let j = shareBegin(n, ROWS, thread, threads); j < end; j += step) {
    const last = min(j + step, end);
    for (let i = j; i < last; i++) widenRow(panel + (i - j) * row, w + i * bytes, scale + i * scales, k, kind);
    // gemm reads row j of its second operand first.
    gemm(word(at, WidenedMatmul.out), word(at, WidenedMatmul.x), panel - j * row, word(at, WidenedMatmul.bias), 0, m, n,
      k, 0, 1, 1, 0, 0, workspace, 0, m, j, last);
  }
}
