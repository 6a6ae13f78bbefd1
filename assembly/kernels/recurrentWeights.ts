/**
 * The gradients of a recurrent layer's weights and biases: dW_hh = Σ dzᵀ·h and dW_ih = Σ dzᵀ·x over all rows, where h is
 * the state before the row's step, and db = Σ dz. Computes the transposed products [h x]ᵀ·dz, because h and x together
 * are narrower than dz, so that less needs to be transposed. A share is a range of gates. An element's bits do not depend
 * on the shares.
 */
import { RecurrentWeights } from "../layerLayouts";
import { word } from "../operands";
import { shareBegin, storeLanes } from "../simd";
import { KC, LDA, MC, PANELS } from "./gemm";
import { copyPanel, NR, part, transpose } from "./pack";
import { product } from "./recurrent";

// The workspace: [a tile | two panels of dz | a block of [h x]ᵀ | the products with one panel | the same, transposed].
@inline
const PANEL: usize = (KC + 4) * NR * 4;
@inline
const BLOCK: usize = PANELS + 2 * PANEL;
@inline
const COLUMNS: usize = BLOCK + (MC + 8) * LDA;
@inline
const ROWS: usize = COLUMNS + (MC + 8) * NR * 4;
@inline
const LDR: usize = (MC + 4) * 4;

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function recurrentWeightsWorkspace(): u32 { return <u32>(ROWS + NR * LDR); }

/** Stores row[n] in `to`, or adds it. */
function storeRow(to: usize, row: usize, n: u32, accumulate: bool): void {
  for (let j: u32 = 0; j < n; j += 4, to += 16, row += 16) {
    const v = v128.load(row);
    storeLanes(to, accumulate ? f32x4.add(v128.load(to), v) : v, n - j);
  }
}

/** Copies k rows of 2·NR columns to two panels: one panel at a time would read every line of the cache twice. */
function copyPair(panel: usize, src: usize, ld: usize, k: usize): void {
  for (const end = panel + k * NR * 4; panel < end; panel += NR * 4, src += ld) {
    for (let j: usize = 0; j < NR * 4; j += 16) {
      const v0 = v128.load(src + j), v1 = v128.load(src + j, NR * 4);
      v128.store(panel + j, v0);
      v128.store(panel + j, v1, PANEL);
    }
  }
}

/** out[NR] = the sums of a panel's columns. */
function sumColumns(out: usize, panel: usize, k: usize): void {
  for (let j: usize = 0; j < NR * 4; j += 16) {
    let even = f32x4.splat(0), odd = even, p: usize = 0;
    for (; p + 2 <= k; p += 2) {
      even = f32x4.add(even, v128.load(panel + p * NR * 4 + j));
      odd = f32x4.add(odd, v128.load(panel + (p + 1) * NR * 4 + j));
    }
    if (p < k) even = f32x4.add(even, v128.load(panel + p * NR * 4 + j));
    v128.store(out + j, f32x4.add(even, odd));
  }
}

/**
 * dW[cols, n] = (panel[k, NR]ᵀ·A[n, k]ᵀ) (+ dW if `accumulate`): A has rows LDA bytes apart, and dW rows ldw bytes apart.
 */
function weights(dw: usize, ldw: usize, a: usize, n: usize, panel: usize, k: usize, cols: usize, accumulate: bool,
  scratch: usize): void
{
  const c = scratch + COLUMNS, r = scratch + ROWS;
  product(c, NR * 4, a, LDA, n, NR, k, panel, 0, false, scratch);
  transpose(r, LDR, c, NR * 4, n, NR);
  for (let j: usize = 0; j < cols; j++) storeRow(dw + j * ldw, r + j * LDR, <u32>n, accumulate);
}

export function recurrentWeights(at: usize, thread: u32, threads: u32): void {
  const hidden = word(at, RecurrentWeights.hidden), inputs = word(at, RecurrentWeights.inputs);
  const steps = word(at, RecurrentWeights.steps), batch = word(at, RecurrentWeights.batch), rows = steps * batch;
  const stepRows = word(at, RecurrentWeights.stepRows), batchRows = word(at, RecurrentWeights.batchRows);
  const dwInput = word(at, RecurrentWeights.dwInput), dw = word(at, RecurrentWeights.dw);
  const dbInput = word(at, RecurrentWeights.dbInput), db = word(at, RecurrentWeights.db);
  const dz = word(at, RecurrentWeights.dz), x = word(at, RecurrentWeights.x), y = word(at, RecurrentWeights.y);
  const h0 = word(at, RecurrentWeights.h0), reverse = word(at, RecurrentWeights.reverse);
  const gates = word(at, RecurrentWeights.gates), n = gates * hidden;
  const row = hidden << 2, ldx = inputs << 2, total = hidden + inputs;
  // A GRU's rows hold one gate more: the last gate's gradient differs for the input.
  const joined = gates == 3 ? n - hidden : n, ldz = (gates == 3 ? n + hidden : n) << 2;
  const scratch = word(at, RecurrentWeights.workspace) + thread * recurrentWeightsWorkspace();
  const panels = scratch + PANELS, block = scratch + BLOCK, sums = scratch + COLUMNS;
  // The rows before which there is a step. If other rows do not come first or last, or if there is an initial state, they
  // are filled in; otherwise they are left out.
  const low = reverse ? 0 : stepRows, high = reverse ? rows - stepRows : rows, filled = h0 || batchRows != 1;
  const step = rows ? part(rows, KC, 4) : 4;
  let p: usize = 0;
  do {
    const kc = min(step, rows - p), more = p > 0;
    const from = min(max(p, low), p + kc), to = max(min(p + kc, high), from);
    const fromH = filled ? p : from, kh = filled ? kc : to - from;
    for (let ic: usize = 0; ic < total; ic += MC) {
      // The block's part of h, and its part of x.
      const mc = min(MC, total - ic), mh = ic < hidden ? min(mc, hidden - ic) : 0, mx = mc - mh, ix = ic + mh - hidden;
      const blockX = block + ((mh + 3) & ~3) * LDA;
      if (mh) {
        transpose(block + ((from - p) << 2), LDA,
          (reverse ? y + stepRows * row : y - stepRows * row) + from * row + (ic << 2), row, to - from, mh);
        for (let b: usize = 0; filled && b < batch; b++) {
          const r = b * batchRows + (reverse ? (steps - 1) * stepRows : 0);
          if (r < p || r >= p + kc) continue;
          for (let i: usize = 0; i < mh; i++)
            store<f32>(block + i * LDA + ((r - p) << 2), h0 ? load<f32>(h0 + b * row + ((ic + i) << 2)) : 0);
        }
      }
      if (mx) transpose(blockX, LDA, x + p * ldx + (ix << 2), ldx, kc, mx);
      // The gates whose gradients h and x share, and in a GRU the last gate for h and the last gate for x.
      for (let pass: u32 = 0; pass < (joined < n ? 3 : 1); pass++) {
        const first = pass ? joined : 0, width = <u32>(pass ? n - joined : joined);
        const last = first + shareBegin(width, <u32>NR, thread + 1, threads);
        for (let j = first + shareBegin(width, <u32>NR, thread, threads), odd = false; j < last; j += NR) {
          const cols = min(NR, last - j), src = dz + p * ldz + ((pass == 2 ? j + hidden : j) << 2);
          // Every second panel was copied with the one before it.
          const panel = panels + (odd ? PANEL : 0);
          if (odd) odd = false;
          else if (j + 2 * NR <= last) {
            copyPair(panel, src, ldz, kc);
            odd = true;
          } else copyPanel(panel, src, ldz, cols, kc);
          if (!ic) {
            sumColumns(sums, panel, kc);
            if (pass < 2) storeRow(db + (j << 2), sums, <u32>cols, more);
            if (pass != 1) storeRow(dbInput + (j << 2), sums, <u32>cols, more);
          }
          if (mh && pass < 2)
            weights(dw + j * row + (ic << 2), row, block + ((fromH - p) << 2), mh, panel + (fromH - p) * NR * 4, kh,
              cols, more, scratch);
          if (mx && pass != 1)
            weights(dwInput + j * ldx + (ix << 2), ldx, blockX, mx, panel, kc, cols, more, scratch);
        }
      }
    }
    p += step;
  } while (p < rows);
}
