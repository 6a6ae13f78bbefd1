/**
 * Computes one layer of a recurrent network over a whole sequence, and the layer's gradient back through time. Each step
 * computes the gates x·W_ihᵀ + b + h·W_hhᵀ in the memory from which the gradient will read them, and then one fused cell
 * per sequence turns them into activations. The weights are packed once, unless packing does not pay off. In all arrays,
 * consecutive steps are `stepRows` rows apart, and consecutive sequences are `batchRows` rows apart. A share is a range of
 * sequences: sequences are independent, so threads need no barrier before the end. A sequence that has ended keeps its
 * state.
 */
import { gateSigmoid, gateTanh, relu, reluGrad, sigmoidGrad, tanhGrad } from "../math";
import { Recurrent, RecurrentGrad } from "../layerLayouts";
import { Activation, Op } from "../opcodes";
import { fma, shareBegin, storeLanes } from "../simd";
import { BLOCK, deepThin, dots, fullTiles, KC, PANELS, tile, tileRows } from "./gemm";
import { copyPanel, MR, micro, NR, transpose } from "./pack";
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

/** The number of bytes of packed panels of a matrix with n columns and k rows, a multiple of 64. */
function packedBytes(n: usize, k: usize): usize {
  return ((n + NR) * (k + NR) * 4 + 63) & ~63;
}

/**
 * The number of bytes in a row of products with the state: an odd number of cache lines, so that rows spread over the
 * cache's sets.
 */
function rowBytes(gates: u32, hidden: u32): usize {
  return (((<usize>gates * hidden << 2) + 63) & ~63) | 64;
}

/**
 * The number of scratch bytes for the products: gemm's or a tile, W_ih packed (`inputs` is 0 for gradients), and W_hh
 * packed, with its last gate apart.
 */
function productBytes(direct: bool, gates: u32, hidden: u32, inputs: u32): usize {
  const n = <usize>gates * hidden, own = packedBytes(n, inputs);
  return direct ? BLOCK + own : PANELS + own + packedBytes(n, hidden) + packedBytes(hidden, hidden);
}

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function recurrentWorkspace(op: u32, steps: u32, batch: u32, hidden: u32, inputs: u32): u32 {
  const gates = gatesOf(<Op>op), direct = isDirect(steps, batch);
  return <u32>(productBytes(direct, gates, hidden, inputs) + (<usize>batch + 1) * rowBytes(gates, hidden));
}

/** C[rows, n] = A[rows, k]·B + bias (+ C if load), with B in panels of NR columns for each block of k. */
export function product(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, n: usize, k: usize, panel: usize,
  bias: usize, load: bool, scratch: usize): void
{
  let pc: usize = 0;
  do {
    const kc = min(KC, k - pc), add = load || pc > 0, end = pc + kc == k && bias;
    for (let j: usize = 0; j < n; j += NR, panel += kc * NR * 4) {
      const cols = min(NR, n - j), bj = end ? bias + (j << 2) : 0;
      let ct = c + (j << 2), at = a + (pc << 2);
      for (let i: usize = 0, done: usize = 0; i < rows; i += done, ct += done * ldc, at += done * lda) {
        const rest = rows - i, own = tileRows(rest);
        done = own;
        if (cols == NR && (own == MR || own == 4)) {
          const tiles = own == MR ? fullTiles(rest) : rest / 4;
          done *= tiles;
          micro(ct, ldc, at, lda, own, panel, kc, 1, 0, add, bj, Activation.None, tiles, own * ldc, 0);
        } else tile(ct, ldc, at, lda, own, cols, panel, kc, 1, 0, bj, Activation.None, add, scratch);
      }
    }
    pc += KC;
  } while (pc < k);
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

/**
 * The cells compute one gate after another, in short loops: a long chain of dependent operations per iteration would leave
 * the processor waiting. z[n] = σ(z).
 */
function sigmoids(z: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4, z += 16) storeLanes(z, gateSigmoid(v128.load(z)), n - j);
}

/** z[n] = tanh z. */
function tanhs(z: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4, z += 16) storeLanes(z, gateTanh(v128.load(z)), n - j);
}

/** z[n] = relu z. */
function relus(z: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4, z += 16) storeLanes(z, relu(v128.load(z)), n - j);
}

/** c′ = f·c + i·g, h = o·tanh c′; z: i, f, g, o. */
function lstmCell(h: usize, c1: usize, z: usize, c0: usize, n: u32): void {
  const ld: usize = n << 2, f = z + ld, u = f + ld, o = u + ld;
  sigmoids(z, 2 * n);
  tanhs(u, n);
  sigmoids(o, n);
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2, rest = n - j;
    const c = fma(v128.load(f + at), v128.load(c0 + at), f32x4.mul(v128.load(z + at), v128.load(u + at)));
    storeLanes(c1 + at, c, rest);
    storeLanes(h + at, f32x4.mul(v128.load(o + at), gateTanh(c)), rest);
  }
}

/** n = tanh(xₙ + r·gₙ), h′ = n + z·(h − n). In memory, the gates are r, z, xₙ and gₙ; n replaces xₙ. */
function gruCell(h: usize, gates: usize, h0: usize, n: u32): void {
  const ld: usize = n << 2, z = gates + ld, u = z + ld, part = u + ld;
  sigmoids(gates, 2 * n);
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2;
    const v = gateTanh(fma(v128.load(gates + at), v128.load(part + at), v128.load(u + at)));
    storeLanes(u + at, v, rest);
    storeLanes(h + at, fma(v128.load(z + at), f32x4.sub(v128.load(h0 + at), v), v), rest);
  }
}

/** Whether sequence b has a step t. */
@inline
function isActive(lengths: usize, b: u32, t: u32): bool {
  return !lengths || <i32>t < load<i32>(lengths + (<usize>b << 2));
}

/** to ← to + from. */
function addRow(to: usize, from: usize, n: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const at: usize = j << 2;
    storeLanes(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)), n - j);
  }
}

/**
 * Adds g: [n], the product with the state or 0, and its bias or 0 to z. The last `apart` columns of their sum are not
 * added to z; they follow z.
 */
function join(z: usize, g: usize, bias: usize, n: u32, apart: u32): void {
  const joined = n - apart, from: usize = joined << 2, to = z + (<usize>n << 2);
  if (g) addRow(z, g, joined);
  if (bias) addRow(z, bias, joined);
  if (!apart) return;
  if (g) memory.copy(to, g + from, <usize>apart << 2);
  else memory.fill(to, 0, <usize>apart << 2);
  if (bias) addRow(to, bias + from, apart);
}

export function recurrent(op: Op, at: usize, thread: u32, threads: u32): void {
  const steps = <u32>word(at, Recurrent.steps), batch = <u32>word(at, Recurrent.batch),
    hidden = <u32>word(at, Recurrent.hidden), inputs = <u32>word(at, Recurrent.inputs);
  const begin = shareBegin(batch, <u32>MR, thread, threads), end = shareBegin(batch, <u32>MR, thread + 1, threads);
  if (begin >= end) return;
  const stepRows = word(at, Recurrent.stepRows), batchRows = word(at, Recurrent.batchRows);
  const y = word(at, Recurrent.y), c = word(at, Recurrent.c), x = word(at, Recurrent.x);
  const w = word(at, Recurrent.w), inputWeight = word(at, Recurrent.inputWeight);
  const bias = word(at, Recurrent.bias), inputBias = word(at, Recurrent.inputBias);
  const h0 = word(at, Recurrent.h0), c0 = word(at, Recurrent.c0), lengths = word(at, Recurrent.lengths);
  const rectify = word(at, Recurrent.rectify), reverse = word(at, Recurrent.reverse);
  const gates = gatesOf(op), row: usize = hidden << 2, n = <usize>gates * hidden, rows: usize = end - begin;
  // A GRU keeps the state's part of its last gate apart.
  const apart: u32 = op == Op.Gru ? hidden : 0, joined = n - apart;
  // The gates become the activations that the gradient reads or, in an RNN, the states.
  const gatesAt = op == Op.Rnn ? y : word(at, Recurrent.saved), gateRow = op == Op.Rnn ? row : row * 4;
  const ldx: usize = inputs << 2, ldg = rowBytes(gates, hidden), direct = isDirect(steps, batch);
  const scratch = word(at, Recurrent.workspace) + thread * recurrentWorkspace(op, steps, batch, hidden, inputs);
  const packedInput = scratch + (direct ? BLOCK : PANELS), packed = packedInput + packedBytes(n, inputs),
    packedApart = packed + packedBytes(n, hidden);
  const g = scratch + productBytes(direct, gates, hidden, inputs);
  // A few rows of x do not pay for packing. If a direct share has all sequences, it projects all steps at once.
  const few = inputs > 0 && steps * batch <= 8, atOnce = direct && rows == batch;
  if (!few) pack(packedInput, inputWeight, n, inputs, true);
  // With one step and no initial state, there is no product with the state.
  if (!direct && (steps > 1 || h0)) {
    pack(packed, w, joined, hidden, true);
    if (apart) pack(packedApart, w + joined * row, apart, hidden, true);
  }
  // Without an initial state, all sequences start from the same row of zeros.
  const zeros = g + rows * ldg;
  memory.fill(zeros, 0, row);
  let stateH = h0 ? h0 : zeros, stateC = c0 ? c0 : zeros, ld = h0 ? row : 0;
  for (let s: u32 = 0; s < steps; s++) {
    const t = reverse ? steps - 1 - s : s, first = t * stepRows;
    const own = first + begin * batchRows, z = gatesAt + own * gateRow, ldz = batchRows * gateRow;
    if (!atOnce || !s) {
      const from = atOnce ? 0 : own, stride: usize = atOnce ? 1 : batchRows,
        count: usize = atOnce ? steps * batch : rows;
      const to = gatesAt + from * gateRow, xs = x + from * ldx;
      if (few)
        dots(to, stride * gateRow, xs, stride * ldx, inputWeight, ldx, inputBias, count, n, inputs, 1, Activation.None,
          0, 0, scratch);
      else
        product(to, stride * gateRow, xs, stride * ldx, count, n, inputs, packedInput, inputBias, false, scratch);
    }
    const states = stateH + begin * ld, tiled = ld && !direct;
    if (tiled) {
      product(z, ldz, states, ld, rows, joined, hidden, packed, bias, true, scratch);
      if (apart)
        product(z + (n << 2), ldz, states, ld, rows, apart, hidden, packedApart, bias ? bias + (joined << 2) : 0, false,
          scratch);
    } else if (ld) dots(g, ldg, states, ld, w, row, 0, rows, n, hidden, 1, Activation.None, 0, 0, scratch);
    for (let b = begin; b < end; b++) {
      const r = first + b * batchRows, h = y + r * row, c1 = c + r * row, zb = gatesAt + r * gateRow;
      const hb = stateH + b * ld, cb = stateC + b * ld;
      if (!isActive(lengths, b, t)) {
        if (op != Op.Rnn) memory.fill(zb, 0, gateRow);
        memory.copy(h, hb, row);
        if (op == Op.Lstm) memory.copy(c1, cb, row);
        continue;
      }
      if (!tiled) join(zb, ld ? g + (b - begin) * ldg : 0, bias, <u32>n, apart);
      if (op == Op.Lstm) lstmCell(h, c1, zb, cb, hidden);
      else if (op == Op.Gru) gruCell(h, zb, hb, hidden);
      else if (rectify) relus(zb, hidden);
      else tanhs(zb, hidden);
    }
    stateH = y + first * row;
    stateC = c + first * row;
    ld = batchRows * row;
  }
}

/** dz = dh·act′ at y. */
function rnnCellGrad(dz: usize, dh: usize, dy: usize, y: usize, n: u32, rectify: u32): void {
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2;
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at)), v = v128.load(y + at);
    storeLanes(dz + at, rectify ? reluGrad(d, v) : tanhGrad(d, v), rest);
    storeLanes(dh + at, f32x4.splat(0), rest);
  }
}

/**
 * dc ← dc + dh·o·(1 − tanh² c), then the gradient of each gate before its activation; the previous step receives dc·f.
 * tanh c = y/o, where o > 0.
 */
function lstmCellGrad(dz: usize, dh: usize, dc: usize, dy: usize, dcs: usize, saved: usize, y: usize, c0: usize,
  n: u32): void
{
  const ld: usize = n << 2;
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2, atF = at + ld, atG = atF + ld, atO = atG + ld;
    const i = v128.load(saved + at), f = v128.load(saved + atF), u = v128.load(saved + atG), o = v128.load(saved + atO);
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at)), th = f32x4.div(v128.load(y + at), o);
    let e = f32x4.add(v128.load(dc + at), tanhGrad(f32x4.mul(d, o), th));
    if (dcs) e = f32x4.add(e, v128.load(dcs + at));
    storeLanes(dz + at, sigmoidGrad(f32x4.mul(e, u), i), rest);
    storeLanes(dz + atF, sigmoidGrad(f32x4.mul(e, v128.load(c0 + at)), f), rest);
    storeLanes(dz + atG, tanhGrad(f32x4.mul(e, i), u), rest);
    storeLanes(dz + atO, sigmoidGrad(f32x4.mul(d, th), o), rest);
    storeLanes(dc + at, f32x4.mul(e, f), rest);
    storeLanes(dh + at, f32x4.splat(0), rest);
  }
}

/**
 * The gradients of r, z, gₙ and xₙ before the activations; that of gₙ has the additional factor r. The previous state
 * receives dh·z directly.
 */
function gruCellGrad(dz: usize, dh: usize, dy: usize, saved: usize, h0: usize, n: u32): void {
  const ld: usize = n << 2;
  for (let j: u32 = 0; j < n; j += 4) {
    const rest = n - j, at: usize = j << 2, atZ = at + ld, atN = atZ + ld, atX = atN + ld;
    const r = v128.load(saved + at), z = v128.load(saved + atZ), u = v128.load(saved + atN),
      part = v128.load(saved + atX);
    const d = f32x4.add(v128.load(dh + at), v128.load(dy + at));
    const du = tanhGrad(f32x4.sub(d, f32x4.mul(d, z)), u);
    storeLanes(dz + at, sigmoidGrad(f32x4.mul(du, part), r), rest);
    storeLanes(dz + atZ, sigmoidGrad(f32x4.mul(d, f32x4.sub(v128.load(h0 + at), u)), z), rest);
    storeLanes(dz + atN, f32x4.mul(du, r), rest);
    storeLanes(dz + atX, du, rest);
    storeLanes(dh + at, f32x4.mul(d, z), rest);
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
  const dz = word(at, RecurrentGrad.dz), dh = word(at, RecurrentGrad.dh), dc = word(at, RecurrentGrad.dc);
  const dy = word(at, RecurrentGrad.dy), dcs = word(at, RecurrentGrad.dcs), saved = word(at, RecurrentGrad.saved);
  const y = word(at, RecurrentGrad.y), c = word(at, RecurrentGrad.c), h0 = word(at, RecurrentGrad.h0),
    c0 = word(at, RecurrentGrad.c0);
  const lengths = word(at, RecurrentGrad.lengths), rectify = <u32>word(at, RecurrentGrad.rectify),
    reverse = word(at, RecurrentGrad.reverse);
  const gates = gatesOf(op), row: usize = hidden << 2, n = <usize>gates * hidden, w = word(at, RecurrentGrad.w);
  const direct = isDirect(steps, batch);
  const scratch = word(at, RecurrentGrad.workspace) + thread * recurrentWorkspace(op, steps, batch, hidden, 0),
    packed = scratch + PANELS;
  // In a GRU, the gradients of the state's three gates come before that of the input's last gate.
  const ldz = op == Op.GruGrad ? row * 4 : n << 2;
  if (!direct && (steps > 1 || h0)) pack(packed, w, hidden, n, false);
  const zeros = scratch + productBytes(direct, gates, hidden, 0), g = zeros + rowBytes(gates, hidden);
  memory.fill(zeros, 0, row);
  memory.fill(dh + begin * row, 0, (end - begin) * row);
  if (op == Op.LstmGrad) memory.fill(dc + begin * row, 0, (end - begin) * row);
  for (let s: u32 = 0; s < steps; s++) {
    const t = reverse ? s : steps - 1 - s, last = s + 1 == steps;
    const first = t * stepRows, before = (reverse ? t + 1 : t - 1) * stepRows;
    for (let b = begin; b < end; b++) {
      const r = first + b * batchRows, own = b * row, dzb = dz + r * ldz, dyb = dy + r * row,
        kept = saved + r * row * 4;
      const previous = (before + b * batchRows) * row, first0 = h0 ? own : 0;
      if (!isActive(lengths, b, t)) {
        memory.fill(dzb, 0, ldz);
        addRow(dh + own, dyb, hidden);
        if (dcs) addRow(dc + own, dcs + r * row, hidden);
      } else if (op == Op.LstmGrad)
        lstmCellGrad(dzb, dh + own, dc + own, dyb, dcs ? dcs + r * row : 0, kept, y + r * row,
          last ? (c0 ? c0 : zeros) + first0 : c + previous, hidden);
      else if (op == Op.GruGrad)
        gruCellGrad(dzb, dh + own, dyb, kept, last ? (h0 ? h0 : zeros) + first0 : y + previous, hidden);
      else rnnCellGrad(dzb, dh + own, dyb, y + r * row, hidden, rectify);
    }
    const ld = batchRows * ldz;
    if (last && !h0) continue;
    const to = dh + begin * row, from = dz + first * ldz + begin * ld;
    if (direct) {
      deepThin(g, row, from, ld, 4, w, row, 0, end - begin, hidden, n, 1, Activation.None, 0, 0, scratch);
      addRow(to, g, (end - begin) * hidden);
    } else product(to, row, from, ld, end - begin, hidden, n, packed, 0, true, scratch);
  }
}
