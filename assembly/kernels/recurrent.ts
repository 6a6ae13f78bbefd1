/**
 * Computes one layer of a recurrent network over a whole sequence, and the layer's gradient back through time. Each
 * step computes one product with the weights, and then one fused cell per sequence. The weights are packed once, unless
 * packing does not pay off. x: [steps, batch, gates·hidden] holds the contribution of the inputs. In x,
 * y, c and saved, consecutive steps are `stepRows` rows apart, and consecutive sequences are `batchRows` rows apart. A
 * share is a range of sequences: sequences are independent, so threads need no barrier before the end. A sequence that
 * has ended keeps its state.
 */
import { gateSigmoid, gateTanh, relu, reluGrad, sigmoidGrad, tanhGrad } from "../math";
import { Recurrent, RecurrentGrad } from "../layerLayouts";
import { Activation, Op } from "../opcodes";
import { fma, shareBegin, storeLanes } from "../simd";
import { BLOCK, deepThin, dots, KC, PANELS, tile, tileRows } from "./gemm";
import { copyPanel, MR, NR, transpose } from "./pack";
import { word } from "../operands";

/**
 * Whether the products read the weights without packing them. Packing does not pay off for a few sequences, whose tiles
 * would have few rows, or for a few steps. This depends on the whole batch, so that the results' bits do not depend on how
 * the batch is split into shares.
 */
@inline
function isDirect(steps: u32, batch: u32): bool { return batch <= 3 || (steps <= 4 && batch <= 8); }

/** The gates of a cell, in the order of PyTorch's weights: i, f, g, o (LSTM); r, z, n (GRU). */
function gatesOf(op: Op): u32 {
  switch (op) {
    case Op.Lstm:
    case Op.LstmGrad:
      return 4;
    case Op.Gru:
    case Op.GruGrad:
      return 3;
    case Op.Rnn:
    case Op.RnnGrad:
      return 1;
    default:
      unreachable();
  }
  return 0;
}

function packedBytes(gates: u32, hidden: u32): usize {
  const n = (<usize>gates * hidden + NR) * (hidden + NR) << 2;
  return (n + 63) & ~63;
}

/** The number of scratch bytes for the products: gemm's, or a tile and the packed weights. */
function productBytes(direct: bool, gates: u32, hidden: u32): usize {
  return direct ? BLOCK : PANELS + packedBytes(gates, hidden);
}

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function recurrentWorkspace(op: u32, steps: u32, batch: u32, hidden: u32): u32 {
  const gates = gatesOf(<Op>op);
  return <u32>(productBytes(isDirect(steps, batch), gates, hidden) + (<usize>batch + 1) * rowBytes(gates, hidden));
}

/**
 * The number of bytes in a row of the products with the state: an odd number of cache lines, so that rows spread over
 * the cache's sets.
 */
function rowBytes(gates: u32, hidden: u32): usize {
  return (((<usize>gates * hidden << 2) + 63) & ~63) | 64;
}

/** C[rows, n] = A[rows, k]·B (+ C if load), with B in panels of NR columns for each block of k. */
function product(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, n: usize, k: usize, panel: usize, load: bool,
  scratch: usize): void
{
  for (let pc: usize = 0; pc < k; pc += KC) {
    const kc = min(KC, k - pc);
    for (let j: usize = 0; j < n; j += NR, panel += kc * NR * 4) {
      for (let i: usize = 0, own: usize = 0; i < rows; i += own) {
        own = tileRows(rows - i);
        tile(c + i * ldc + (j << 2), ldc, a + i * lda + (pc << 2), lda, own, min(NR, n - j), panel, kc, 1, 0, 0,
          Activation.None, load || pc > 0, scratch);
      }
    }
  }
}

/** Packs panels of W[n, k]ᵀ or, in the backward pass, of W[k, n]. */
function pack(panel: usize, w: usize, n: usize, k: usize, transposed: bool): void {
  for (let pc: usize = 0; pc < k; pc += KC) {
    const kc = min(KC, k - pc);
    for (let j: usize = 0; j < n; j += NR, panel += kc * NR * 4) {
      const cols = min(NR, n - j);
      if (transposed) transpose(panel, NR * 4, w + ((j * k + pc) << 2), k << 2, cols, kc);
      else copyPanel(panel, w + ((pc * n + j) << 2), n << 2, cols, kc);
    }
  }
}

/** The state's part of a gate, with the state's bias (or 0). */
@inline
function hiddenPart(g: usize, bias: usize, at: usize): v128 {
  return bias ? f32x4.add(v128.load(g + at), v128.load(bias + at)) : v128.load(g + at);
}

/**
 * The cells compute one gate after another, in short loops: a long chain of dependent operations per iteration would leave
 * the processor waiting. out[n] = σ(x + g + bias).
 */
function sigmoids(out: usize, x: usize, g: usize, bias: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2;
    storeLanes(out + at, gateSigmoid(f32x4.add(v128.load(x + at), hiddenPart(g, bias, at))), n - j);
  }
}

/** out[n] = tanh(x + g + bias). */
function tanhs(out: usize, x: usize, g: usize, bias: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2;
    storeLanes(out + at, gateTanh(f32x4.add(v128.load(x + at), hiddenPart(g, bias, at))), n - j);
  }
}

/** h = act(x + g). */
function rnnCell(h: usize, x: usize, g: usize, bias: usize, n: u32, rectify: u32): void {
  if (!rectify) {
    tanhs(h, x, g, bias, n);
    return;
  }
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2;
    storeLanes(h + at, relu(f32x4.add(v128.load(x + at), hiddenPart(g, bias, at))), n - j);
  }
}

/** c′ = f·c + i·g, h = o·tanh c′; saved: i, f, g, o. */
function lstmCell(h: usize, c1: usize, saved: usize, x: usize, g: usize, bias: usize, c0: usize, n: u32): void {
  const ld: usize = n << 2, f = saved + ld, u = f + ld, o = u + ld;
  const biasG = bias ? bias + 2 * ld : 0, biasO = bias ? bias + 3 * ld : 0;
  sigmoids(saved, x, g, bias, 2 * n);
  tanhs(u, x + 2 * ld, g + 2 * ld, biasG, n);
  sigmoids(o, x + 3 * ld, g + 3 * ld, biasO, n);
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2, rest = n - j;
    const c = fma(v128.load(f + at), v128.load(c0 + at), f32x4.mul(v128.load(saved + at), v128.load(u + at)));
    storeLanes(c1 + at, c, rest);
    storeLanes(h + at, f32x4.mul(v128.load(o + at), gateTanh(c)), rest);
  }
}

/** n = tanh(xₙ + r·gₙ), h′ = n + z·(h − n); saved: r, z, n, gₙ. */
function gruCell(h: usize, saved: usize, x: usize, g: usize, bias: usize, h0: usize, n: u32): void {
  const ld: usize = n << 2, z = saved + ld, u = z + ld, part = u + ld;
  sigmoids(saved, x, g, bias, 2 * n);
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2, atN = at + 2 * ld;
    const gn = hiddenPart(g, bias, atN), v = gateTanh(fma(v128.load(saved + at), gn, v128.load(x + atN)));
    storeLanes(part + at, gn, rest);
    storeLanes(u + at, v, rest);
    storeLanes(h + at, fma(v128.load(z + at), f32x4.sub(v128.load(h0 + at), v), v), rest);
  }
}

/** Whether sequence b has a step t. */
@inline
function isActive(lengths: usize, b: u32, t: u32): bool {
  return !lengths || <i32>t < load<i32>(lengths + (<usize>b << 2));
}

export function recurrent(op: Op, at: usize, thread: u32, threads: u32): void {
  const steps = <u32>word(at, Recurrent.steps), batch = <u32>word(at, Recurrent.batch),
    hidden = <u32>word(at, Recurrent.hidden);
  const begin = shareBegin(batch, <u32>MR, thread, threads), end = shareBegin(batch, <u32>MR, thread + 1, threads);
  if (begin >= end) return;
  const stepRows = word(at, Recurrent.stepRows), batchRows = word(at, Recurrent.batchRows);
  const y = word(at, Recurrent.y), c = word(at, Recurrent.c), saved = word(at, Recurrent.saved),
    x = word(at, Recurrent.x);
  const bias = word(at, Recurrent.bias), h0 = word(at, Recurrent.h0), c0 = word(at, Recurrent.c0),
    lengths = word(at, Recurrent.lengths);
  const rectify = <u32>word(at, Recurrent.rectify), reverse = word(at, Recurrent.reverse);
  const gates = gatesOf(op), row: usize = hidden << 2, n = <usize>gates * hidden, w = word(at, Recurrent.w);
  const direct = isDirect(steps, batch), ldg = rowBytes(gates, hidden);
  const scratch = word(at, Recurrent.workspace) + thread * recurrentWorkspace(op, steps, batch, hidden);
  const packed = scratch + PANELS, g = scratch + productBytes(direct, gates, hidden);
  // With one step and no initial state, there is no product.
  if (!direct && (steps > 1 || h0)) pack(packed, w, n, hidden, true);
  // Without an initial state, all sequences start from the same row of zeros.
  const zeros = g + (end - begin) * ldg;
  memory.fill(zeros, 0, row);
  let stateH = h0 ? h0 : zeros, stateC = c0 ? c0 : zeros, ld = h0 ? row : 0;
  for (let s: u32 = 0; s < steps; s++) {
    const t = reverse ? steps - 1 - s : s;
    if (!ld) memory.fill(g, 0, (end - begin) * ldg);
    else if (direct)
      dots(g, ldg, stateH + begin * ld, ld, w, row, 0, end - begin, n, hidden, 1, Activation.None, 0, 0, scratch);
    else product(g, ldg, stateH + begin * ld, ld, end - begin, n, hidden, packed, false, scratch);
    const first = t * stepRows;
    for (let b = begin; b < end; b++) {
      const r = first + b * batchRows, h = y + r * row, c1 = c + r * row, kept = saved + r * row * 4;
      const hb = stateH + b * ld, cb = stateC + b * ld, xb = x + r * row * gates, gb = g + (b - begin) * ldg;
      if (!isActive(lengths, b, t)) {
        memory.copy(h, hb, row);
        if (op == Op.Lstm) memory.copy(c1, cb, row);
        if (op != Op.Rnn) memory.fill(kept, 0, row * 4);
      } else if (op == Op.Lstm) lstmCell(h, c1, kept, xb, gb, bias, cb, hidden);
      else if (op == Op.Gru) gruCell(h, kept, xb, gb, bias, hb, hidden);
      else rnnCell(h, xb, gb, bias, hidden, rectify);
    }
    stateH = y + first * row;
    stateC = c + first * row;
    ld = batchRows * row;
  }
}

/** dz = dh·act′ at y. */
function rnnCellGrad(dx: usize, dh: usize, dy: usize, y: usize, n: u32, rectify: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2;
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at)), v = v128.load(y + at);
    storeLanes(dx + at, rectify ? reluGrad(d, v) : tanhGrad(d, v), rest);
    storeLanes(dh + at, f32x4.splat(0), rest);
  }
}

/**
 * dc ← dc + dh·o·(1 − tanh² c), then the gradient of each gate before its activation; the previous step receives dc·f.
 * tanh c = y/o, where o > 0.
 */
function lstmCellGrad(dx: usize, dh: usize, dc: usize, dy: usize, dcs: usize, saved: usize, y: usize, c0: usize,
  n: u32): void
{
  const ld: usize = n << 2;
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2, atF = at + ld, atG = atF + ld, atO = atG + ld;
    const i = v128.load(saved + at), f = v128.load(saved + atF), u = v128.load(saved + atG), o = v128.load(saved + atO);
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at)), th = f32x4.div(v128.load(y + at), o);
    let e = f32x4.add(v128.load(dc + at), tanhGrad(f32x4.mul(d, o), th));
    if (dcs) e = f32x4.add(e, v128.load(dcs + at));
    storeLanes(dx + at, sigmoidGrad(f32x4.mul(e, u), i), rest);
    storeLanes(dx + atF, sigmoidGrad(f32x4.mul(e, v128.load(c0 + at)), f), rest);
    storeLanes(dx + atG, tanhGrad(f32x4.mul(e, i), u), rest);
    storeLanes(dx + atO, sigmoidGrad(f32x4.mul(d, th), o), rest);
    storeLanes(dc + at, f32x4.mul(e, f), rest);
    storeLanes(dh + at, f32x4.splat(0), rest);
  }
}

/**
 * The gradient of each gate before its activation. dg differs from dx only in gate n, by the factor r. The previous state
 * receives dh·z directly.
 */
function gruCellGrad(dx: usize, dg: usize, dh: usize, dy: usize, saved: usize, h0: usize, n: u32): void {
  const ld: usize = n << 2;
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2, atZ = at + ld, atN = atZ + ld;
    const r = v128.load(saved + at), z = v128.load(saved + atZ), u = v128.load(saved + atN),
      part = v128.load(saved + atN + ld);
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at));
    const du = tanhGrad(f32x4.sub(d, f32x4.mul(d, z)), u);
    const dr = sigmoidGrad(f32x4.mul(du, part), r), dz = sigmoidGrad(f32x4.mul(d, f32x4.sub(v128.load(h0 + at), u)), z);
    storeLanes(dx + at, dr, rest);
    storeLanes(dx + atZ, dz, rest);
    storeLanes(dx + atN, du, rest);
    storeLanes(dg + at, dr, rest);
    storeLanes(dg + atZ, dz, rest);
    storeLanes(dg + atN, f32x4.mul(du, r), rest);
    storeLanes(dh + at, f32x4.mul(d, z), rest);
  }
}

/** to ← to + from. */
function addRow(to: usize, from: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2;
    storeLanes(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)), n - j);
  }
}

/**
 * dh and dc: [batch, hidden] carry the gradient from step to step; after the last step, they hold the gradients of h0
 * and c0, if any.
 */
export function recurrentGrad(op: Op, at: usize, thread: u32, threads: u32): void {
  const steps = <u32>word(at, RecurrentGrad.steps), batch = <u32>word(at, RecurrentGrad.batch),
    hidden = <u32>word(at, RecurrentGrad.hidden);
  const begin = shareBegin(batch, <u32>MR, thread, threads), end = shareBegin(batch, <u32>MR, thread + 1, threads);
  if (begin >= end) return;
  const stepRows = word(at, RecurrentGrad.stepRows), batchRows = word(at, RecurrentGrad.batchRows);
  const dx = word(at, RecurrentGrad.dx), dg = word(at, RecurrentGrad.dg), dh = word(at, RecurrentGrad.dh),
    dc = word(at, RecurrentGrad.dc);
  const dy = word(at, RecurrentGrad.dy), dcs = word(at, RecurrentGrad.dcs), saved = word(at, RecurrentGrad.saved);
  const y = word(at, RecurrentGrad.y), c = word(at, RecurrentGrad.c), h0 = word(at, RecurrentGrad.h0),
    c0 = word(at, RecurrentGrad.c0);
  const lengths = word(at, RecurrentGrad.lengths), rectify = <u32>word(at, RecurrentGrad.rectify),
    reverse = word(at, RecurrentGrad.reverse);
  const gates = gatesOf(op), row: usize = hidden << 2, n = <usize>gates * hidden, w = word(at, RecurrentGrad.w);
  const direct = isDirect(steps, batch);
  const scratch = word(at, RecurrentGrad.workspace) + thread * recurrentWorkspace(op, steps, batch, hidden),
    packed = scratch + PANELS;
  if (!direct && (steps > 1 || h0)) pack(packed, w, hidden, n, false);
  const zeros = scratch + productBytes(direct, gates, hidden), g = zeros + rowBytes(gates, hidden);
  memory.fill(zeros, 0, row);
  memory.fill(dh + begin * row, 0, (end - begin) * row);
  if (op == Op.LstmGrad) memory.fill(dc + begin * row, 0, (end - begin) * row);
  // The gradients that are multiplied by W and added to the previous step's dh.
  const dz = op == Op.GruGrad ? dg : dx;
  for (let s: u32 = 0; s < steps; s++) {
    const t = reverse ? s : steps - 1 - s, last = s + 1 == steps;
    const first = t * stepRows, before = (reverse ? t + 1 : t - 1) * stepRows;
    for (let b = begin; b < end; b++) {
      const r = first + b * batchRows, own = b * row, dxb = dx + r * row * gates, dyb = dy + r * row,
        kept = saved + r * row * 4;
      const previous = (before + b * batchRows) * row, first0 = h0 ? own : 0;
      if (!isActive(lengths, b, t)) {
        memory.fill(dxb, 0, row * gates);
        if (op == Op.GruGrad) memory.fill(dg + r * row * gates, 0, row * gates);
        addRow(dh + own, dyb, hidden);
        if (dcs) addRow(dc + own, dcs + r * row, hidden);
      } else if (op == Op.LstmGrad)
        lstmCellGrad(dxb, dh + own, dc + own, dyb, dcs ? dcs + r * row : 0, kept, y + r * row,
          last ? (c0 ? c0 : zeros) + first0 : c + previous, hidden);
      else if (op == Op.GruGrad)
        gruCellGrad(dxb, dg + r * row * gates, dh + own, dyb, kept, last ? (h0 ? h0 : zeros) + first0 : y + previous,
          hidden);
      else rnnCellGrad(dxb, dh + own, dyb, y + r * row, hidden, rectify);
    }
    const ld = batchRows * n << 2;
    if (last && !h0) continue;
    const to = dh + begin * row, from = dz + (first * n << 2) + begin * ld;
    if (direct) {
      deepThin(g, row, from, ld, 4, w, row, 0, end - begin, hidden, n, 1, Activation.None, 0, 0, scratch);
      addRow(to, g, (end - begin) * hidden);
    } else product(to, row, from, ld, end - begin, hidden, n, packed, true, scratch);
  }
}
