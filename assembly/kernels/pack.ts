/**
 * The inner loops of gemm: packing, which brings every transposition into one layout, and micro-kernels, which hold a
 * tile of C in registers. Sizes are in elements, leading dimensions (ld…) in bytes. The loops read up to 12 bytes past
 * the end of an operand; those bytes affect only lanes, rows or columns that are never stored in C.
 */
import { fma } from "../simd";
import { ceilingOf, clamp, floorOf, shiftAt, zeroOf } from "./epilogue";
import { micro16 } from "./wide";

/**
 * The number of rows in a tile. V8 can use 15 vector registers. With fused multiply-adds, a tile of 6 rows takes 6·2
 * for sums, 2 for B and 1 for A. Without them, a product takes a register of its own, so a tile has 4 rows.
 */
@inline
export const MR: usize = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;

/** The number of columns in a tile and in a packed panel of B: twice as many in the wide build, in which two vectors share a register. */
@inline
export const NR: usize = WIDE_BUILD ? 16 : 8;

/**
 * dst[c, r] = src[r, c] in 4 × 4 blocks. Rounds both sizes up to multiples of 4; rows past the end repeat the last row.
 */
export function transpose(dst: usize, ldd: usize, src: usize, lds: usize, rows: usize, cols: usize): void {
  const last = src + (rows - 1) * lds;
  for (let r: usize = 0; r < rows; r += 4, dst += 16) {
    const s0 = src + r * lds;
    const s1 = min(s0 + lds, last);
    const s2 = min(s1 + lds, last);
    const s3 = min(s2 + lds, last);
    let d = dst;
    for (let c: usize = 0; c < cols << 2; c += 16) {
      const v0 = v128.load(s0 + c);
      const v1 = v128.load(s1 + c);
      const v2 = v128.load(s2 + c);
      const v3 = v128.load(s3 + c);
      const low01 = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5);
      const low23 = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
      const high01 = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
      const high23 = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
      v128.store(d, v128.shuffle<f64>(low01, low23, 0, 2));
      d += ldd;
      v128.store(d, v128.shuffle<f64>(low01, low23, 1, 3));
      d += ldd;
      v128.store(d, v128.shuffle<f64>(high01, high23, 0, 2));
      d += ldd;
      v128.store(d, v128.shuffle<f64>(high01, high23, 1, 3));
      d += ldd;
    }
  }
}

/** panel[p, 0..NR] = src[p, 0..cols] for p in 0..kc; the columns past `cols` are padding. */
export function copyPanel(panel: usize, src: usize, ld: usize, cols: usize, kc: usize): void {
  if (NR == 16 && cols > 12) {
    for (const end = panel + kc * NR * 4; panel < end; panel += NR * 4, src += ld) {
      const v0 = v128.load(src), v1 = v128.load(src, 16), v2 = v128.load(src, 32), v3 = v128.load(src, 48);
      v128.store(panel, v0);
      v128.store(panel, v1, 16);
      v128.store(panel, v2, 32);
      v128.store(panel, v3, 48);
    }
    return;
  }
  const second: usize = cols > 4 ? 16 : 0, third: usize = cols > 8 ? 32 : 0;
  for (const end = panel + kc * NR * 4; panel < end; panel += NR * 4, src += ld) {
    v128.store(panel, v128.load(src));
    v128.store(panel, v128.load(src + second), 16);
    if (NR == 8) continue;
    v128.store(panel, v128.load(src + third), 32);
    v128.store(panel, v128.load(src), 48);
  }
}

/**
 * C[6, NR] = act(A[6, k]·panel[k, NR] (+ C if load) + bias), where act is at most Relu6 (epilogue.ts). Rows of A past
 * `rows` repeat the last row. k is split into `segments` ≥ 1 segments of length kc. In A, which may be an image, a
 * segment begins `jump` bytes after the beginning of the previous one.
 *
 * Computes `tiles` ≥ 1 such tiles, which saves most of a call's time. Tiles are `nextC` bytes apart in C; the next tile has the
 * same panel and the next rows of A, or the same rows, the next bias and the panel `nextPanel` ≥ 1 bytes further on.
 */
export function micro6(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, kc: usize,
  segments: usize, jump: usize, load: bool, bias: usize, activation: u32, tiles: usize, nextC: usize,
  nextPanel: usize): void
{
  tilesOf(true, c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation, tiles, nextC, nextPanel);
}

/** Like micro6, for 4 rows. */
export function micro4(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, kc: usize,
  segments: usize, jump: usize, load: bool, bias: usize, activation: u32, tiles: usize, nextC: usize,
  nextPanel: usize): void
{
  tilesOf(false, c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation, tiles, nextC, nextPanel);
}

/** Calls micro6 if a tile has more than 4 rows, and micro4 otherwise. */
@inline
export function micro(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, kc: usize, segments: usize,
  jump: usize, load: bool, bias: usize, activation: u32, tiles: usize, nextC: usize, nextPanel: usize): void
{
  if (MR == 6 && rows > 4)
    micro6(c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation, tiles, nextC, nextPanel);
  else micro4(c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation, tiles, nextC, nextPanel);
}

@inline
function tilesOf(six: bool, c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, kc: usize,
  segments: usize, jump: usize, load: bool, bias: usize, activation: u32, tiles: usize, nextC: usize,
  nextPanel: usize): void
{
  do {
    if (WIDE_BUILD) micro16(six, c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation);
    else micro8(six, c, ldc, a, lda, rows, panel, kc, segments, jump, load, bias, activation);
    c += nextC;
    if (nextPanel) {
      panel += nextPanel;
      if (bias) bias += NR << 2;
    } else a += (six ? 6 : 4) * lda;
  } while (--tiles);
}

@inline
function micro8(
  six: bool,
  c: usize,
  ldc: usize,
  a: usize,
  lda: usize,
  rows: usize,
  panel: usize,
  k: usize,
  segments: usize,
  jump: usize,
  load: bool,
  bias: usize,
  activation: u32,
): void {
  const last = a + (rows - 1) * lda;
  let a0 = a;
  let a1 = min(a0 + lda, last);
  let a2 = min(a1 + lda, last);
  let a3 = min(a2 + lda, last);
  let a4 = min(a3 + lda, last);
  let a5 = min(a4 + lda, last);
  let b = panel;
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  let c50 = c00;
  let c51 = c00;
  let x: v128, b0: v128, b1: v128;
  // The distances from the end of a segment's last group of four to the next segment: `advance` in A, and `skip` in the
  // panel.
  const advance = jump - ((k & ~3) << 2);
  const skip = (k & 3) << 5;
  for (;;) {
    let kc = k;
    // The exits between the steps have a second purpose: they keep asc from moving one step's products past the next
    // step's loads, which would spill registers.
    while (kc) {
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      x = v128.load32_splat(a0);
      c00 = fma(x, b0, c00);
      c01 = fma(x, b1, c01);
      x = v128.load32_splat(a1);
      c10 = fma(x, b0, c10);
      c11 = fma(x, b1, c11);
      x = v128.load32_splat(a2);
      c20 = fma(x, b0, c20);
      c21 = fma(x, b1, c21);
      x = v128.load32_splat(a3);
      c30 = fma(x, b0, c30);
      c31 = fma(x, b1, c31);
      if (six) {
        x = v128.load32_splat(a4);
        c40 = fma(x, b0, c40);
        c41 = fma(x, b1, c41);
        x = v128.load32_splat(a5);
        c50 = fma(x, b0, c50);
        c51 = fma(x, b1, c51);
      }
      if (kc == 1) break;
      b0 = v128.load(b, 32);
      b1 = v128.load(b, 48);
      x = v128.load32_splat(a0, 4);
      c00 = fma(x, b0, c00);
      c01 = fma(x, b1, c01);
      x = v128.load32_splat(a1, 4);
      c10 = fma(x, b0, c10);
      c11 = fma(x, b1, c11);
      x = v128.load32_splat(a2, 4);
      c20 = fma(x, b0, c20);
      c21 = fma(x, b1, c21);
      x = v128.load32_splat(a3, 4);
      c30 = fma(x, b0, c30);
      c31 = fma(x, b1, c31);
      if (six) {
        x = v128.load32_splat(a4, 4);
        c40 = fma(x, b0, c40);
        c41 = fma(x, b1, c41);
        x = v128.load32_splat(a5, 4);
        c50 = fma(x, b0, c50);
        c51 = fma(x, b1, c51);
      }
      if (kc == 2) break;
      b0 = v128.load(b, 64);
      b1 = v128.load(b, 80);
      x = v128.load32_splat(a0, 8);
      c00 = fma(x, b0, c00);
      c01 = fma(x, b1, c01);
      x = v128.load32_splat(a1, 8);
      c10 = fma(x, b0, c10);
      c11 = fma(x, b1, c11);
      x = v128.load32_splat(a2, 8);
      c20 = fma(x, b0, c20);
      c21 = fma(x, b1, c21);
      x = v128.load32_splat(a3, 8);
      c30 = fma(x, b0, c30);
      c31 = fma(x, b1, c31);
      if (six) {
        x = v128.load32_splat(a4, 8);
        c40 = fma(x, b0, c40);
        c41 = fma(x, b1, c41);
        x = v128.load32_splat(a5, 8);
        c50 = fma(x, b0, c50);
        c51 = fma(x, b1, c51);
      }
      if (kc == 3) break;
      b0 = v128.load(b, 96);
      b1 = v128.load(b, 112);
      x = v128.load32_splat(a0, 12);
      c00 = fma(x, b0, c00);
      c01 = fma(x, b1, c01);
      x = v128.load32_splat(a1, 12);
      c10 = fma(x, b0, c10);
      c11 = fma(x, b1, c11);
      x = v128.load32_splat(a2, 12);
      c20 = fma(x, b0, c20);
      c21 = fma(x, b1, c21);
      x = v128.load32_splat(a3, 12);
      c30 = fma(x, b0, c30);
      c31 = fma(x, b1, c31);
      if (six) {
        x = v128.load32_splat(a4, 12);
        c40 = fma(x, b0, c40);
        c41 = fma(x, b1, c41);
        x = v128.load32_splat(a5, 12);
        c50 = fma(x, b0, c50);
        c51 = fma(x, b1, c51);
      }
      a0 += 16;
      a1 += 16;
      a2 += 16;
      a3 += 16;
      a4 += 16;
      a5 += 16;
      b += 128;
      kc -= 4;
    }
    if (--segments == 0) break;
    a0 += advance;
    a1 += advance;
    a2 += advance;
    a3 += advance;
    a4 += advance;
    a5 += advance;
    b += skip;
  }
  if (load) {
    const p1 = c + ldc, p2 = p1 + ldc, p3 = p2 + ldc;
    c00 = f32x4.add(v128.load(c), c00);
    c01 = f32x4.add(v128.load(c, 16), c01);
    c10 = f32x4.add(v128.load(p1), c10);
    c11 = f32x4.add(v128.load(p1, 16), c11);
    c20 = f32x4.add(v128.load(p2), c20);
    c21 = f32x4.add(v128.load(p2, 16), c21);
    c30 = f32x4.add(v128.load(p3), c30);
    c31 = f32x4.add(v128.load(p3, 16), c31);
    if (six) {
      const p4 = p3 + ldc, p5 = p4 + ldc;
      c40 = f32x4.add(v128.load(p4), c40);
      c41 = f32x4.add(v128.load(p4, 16), c41);
      c50 = f32x4.add(v128.load(p5), c50);
      c51 = f32x4.add(v128.load(p5, 16), c51);
    }
  }
  if (bias || activation) {
    const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
    b0 = shiftAt(bias, zero);
    b1 = shiftAt(bias ? bias + 16 : 0, zero);
    c00 = clamp(f32x4.add(c00, b0), floor, ceiling);
    c01 = clamp(f32x4.add(c01, b1), floor, ceiling);
    c10 = clamp(f32x4.add(c10, b0), floor, ceiling);
    c11 = clamp(f32x4.add(c11, b1), floor, ceiling);
    c20 = clamp(f32x4.add(c20, b0), floor, ceiling);
    c21 = clamp(f32x4.add(c21, b1), floor, ceiling);
    c30 = clamp(f32x4.add(c30, b0), floor, ceiling);
    c31 = clamp(f32x4.add(c31, b1), floor, ceiling);
    if (six) {
      c40 = clamp(f32x4.add(c40, b0), floor, ceiling);
      c41 = clamp(f32x4.add(c41, b1), floor, ceiling);
      c50 = clamp(f32x4.add(c50, b0), floor, ceiling);
      c51 = clamp(f32x4.add(c51, b1), floor, ceiling);
    }
  }
  storeRow(c, c00, c01);
  storeRow(c += ldc, c10, c11);
  storeRow(c += ldc, c20, c21);
  storeRow(c += ldc, c30, c31);
  if (six) {
    storeRow(c += ldc, c40, c41);
    storeRow(c += ldc, c50, c51);
  }
}

@inline
export function storeRow(c: usize, v0: v128, v1: v128): void {
  v128.store(c, v0);
  v128.store(c, v1, 16);
}

/** The length of the parts if n ≥ 1 is split into equal parts of at most `most`, rounded up to a multiple of `grain`. */
@inline
export function part(n: usize, most: usize, grain: usize): usize {
  const count = (n + most - 1) / most, length = (n + count - 1) / count;
  return (length + grain - 1) / grain * grain;
}
