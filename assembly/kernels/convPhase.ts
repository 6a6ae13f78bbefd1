/**
 * A phase is a grid of results that use the same taps and are computed together. The forward pass has one phase. The
 * gradient with respect to the input has up to strideH·strideW phases, because a pixel's position modulo the stride
 * determines which taps reach it. Each share keeps the record of its phase in its own workspace, so shares that run at
 * the same time do not overwrite each other's records.
 */
import { gemmWorkspace } from "./gemm";
import { NR } from "./pack";
import { Conv } from "../layerLayouts";
import { setWord, word } from "../operands";

/**
 * The members of a phase's record. The results form a grid [batch, gridHeight, gridWidth] of outChannels floats each.
 * For result (n, i, j), tap (a, b) reads pixel [n, i·stepH + offset(a), j·stepW + offset(b)] of the source [batch,
 * height, width, channels]. As in Conv, each member for width directly follows the corresponding member for height.
 */
export const enum Phase {
  /** Whether this is the forward pass's phase. */
  forward,
  /** Whether result (n, i, j) reads only pixel (n, i, j). */
  whole,
  channels,
  outChannels,
  height,
  width,
  gridHeight,
  gridWidth,
  stepH,
  stepW,
  /**
   * For each dimension: the list of taps (Tap) in ascending order of offset, its length, and the gap between offsets.
   */
  tapsH,
  tapsW,
  countH,
  countW,
  gapH,
  gapW,
  /** The size of the source, including the zeros around it that taps read. */
  paddedHeight,
  paddedWidth,
  /** The offset of result (n, i, j) in bytes: outFirst + n·outImage + i·outRow + j·outPixel. */
  outFirst,
  outImage,
  outRow,
  outPixel,
  /**
   * The parts of the workspace: gemm's workspace, the rearranged weights, and either a block of patches, a band of the source, or
   * Winograd's matrices.
   */
  workspace,
  weights,
  patches,
  words,
}

/**
 * A tap's position in the kernel, counted in taps, and the offset of the pixel that it reads. The position of tap (a,
 * b) is the position of a in tapsH plus the position of b in tapsW.
 */
const enum Tap {
  position,
  offset,
  words,
}

@inline
function tapAt(taps: usize, i: u32): usize { return taps + <usize>i * (Tap.words << 2); }

@inline
export function positionOf(taps: usize, i: u32): u32 { return word(tapAt(taps, i), Tap.position); }

@inline
export function offsetOf(taps: usize, i: u32): i32 { return word(tapAt(taps, i), Tap.offset); }

/** The number of pixels read along one dimension: those of the image, and the zeros that taps read on both sides. */
export function paddedSize(size: i32, first: i32, last: i32, step: i32, grid: i32): i32 {
  return size + max<i32>(0, -first) + max<i32>(0, (grid - 1) * step + last - (size - 1));
}

// The workspace: [gemm's workspace | the phase | its taps | rearranged weights | a block of patches | a block of results]; winograd.ts
// uses what follows the rearranged weights for its matrices.
@inline
export function lines(bytes: usize): usize { return (bytes + 63) & ~63; }

@inline
function phaseFrom(): usize { return gemmWorkspace(1, 1, 1 << 20, 1, 1); }

@inline
function tapsFrom(): usize { return phaseFrom() + lines(Phase.words << 2); }

@inline
function weightsFrom(at: usize): usize {
  return tapsFrom() + lines((word(at, Conv.kernelHeight) + word(at, Conv.kernelWidth)) * (Tap.words << 2));
}

/**
 * The offset of the patches in a workspace. The rearranged weights, which precede the patches, have room for whole
 * vectors and panels, or for the sums of depthwiseWeight.ts.
 */
export function patchesFrom(at: usize): usize {
  const taps = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth);
  const inputs = (word(at, Conv.channels) + <u32>NR) / word(at, Conv.groups) + 2;
  return weightsFrom(at) + lines((taps * inputs * (word(at, Conv.outChannels) + <u32>NR) + 64) << 2);
}

/**
 * Writes the record for one phase of a convolution to a share's workspace and returns the record's address. The phase
 * begins at result [firstH, firstW]; the forward pass has only the phase [0, 0].
 */
export function writePhase(at: usize, workspace: usize, forward: bool, firstH: u32, firstW: u32): usize {
  const phase = workspace + phaseFrom(), tapsH = workspace + tapsFrom();
  const pixelBytes = word(at, forward ? Conv.outChannels : Conv.channels) << 2;
  const rowBytes = word(at, forward ? Conv.outWidth : Conv.width) * pixelBytes;
  setWord(phase, Phase.forward, forward);
  setWord(phase, Phase.channels, word(at, forward ? Conv.channels : Conv.outChannels));
  setWord(phase, Phase.outChannels, pixelBytes >> 2);
  const wholeH = writeDimension(at, phase, forward, firstH, tapsH, word(at, Conv.kernelWidth), rowBytes);
  // The members for width are one word after those for height.
  const wholeW = writeDimension(at + 4, phase + 4, forward, firstW,
    tapsH + word(at, Conv.kernelHeight) * (Tap.words << 2), 1, pixelBytes);
  setWord(phase, Phase.whole, forward & wholeH & wholeW);
  setWord(phase, Phase.outFirst, firstH * rowBytes + firstW * pixelBytes);
  setWord(phase, Phase.outImage, word(at, forward ? Conv.outHeight : Conv.height) * rowBytes);
  setWord(phase, Phase.workspace, workspace);
  setWord(phase, Phase.weights, workspace + weightsFrom(at));
  setWord(phase, Phase.patches, workspace + patchesFrom(at));
  return phase;
}

/**
 * Writes the members of one dimension and its list of taps, and returns whether each result reads only the pixel at its
 * own position. `scale` is the distance between the positions of taps, and `pitch` is the distance between neighbouring
 * results in bytes.
 */
function writeDimension(at: usize, phase: usize, forward: bool, first: u32, taps: usize, scale: u32, pitch: u32): bool {
  const kernel = word(at, Conv.kernelHeight), dilation = word(at, Conv.dilationH), pad = word(at, Conv.padTop);
  const stride = word(at, Conv.strideH), step = forward ? stride : 1, spread = forward ? 1 : stride;
  const size = word(at, forward ? Conv.height : Conv.outHeight);
  const grid = (word(at, forward ? Conv.outHeight : Conv.height) - first + spread - 1) / spread;
  let count: u32 = 0;
  if (forward) {
    for (; count < kernel; count++) setTap(taps, count, count * scale, count * dilation - pad);
  } else {
    // Input pixel h is read by output pixel (h + pad − q·dilation)/stride, if that is an integer.
    for (let q = <i32>kernel - 1; q >= 0; q--) {
      const from = <i32>(first + pad - q * dilation);
      if (from % <i32>stride == 0) setTap(taps, count++, q * scale, from / <i32>stride);
    }
  }
  const offset = offsetOf(taps, 0), gap = count > 1 ? offsetOf(taps, 1) - offset : 1;
  setWord(phase, Phase.height, size);
  setWord(phase, Phase.gridHeight, grid);
  setWord(phase, Phase.stepH, step);
  setWord(phase, Phase.tapsH, taps);
  setWord(phase, Phase.countH, count);
  setWord(phase, Phase.gapH, gap);
  setWord(phase, Phase.paddedHeight, paddedSize(size, offset, offset + (count - 1) * gap, step, grid));
  setWord(phase, Phase.outRow, pitch * spread);
  return count == 1 && !offset && step == 1 && grid == size;
}

@inline
function setTap(taps: usize, i: u32, position: u32, offset: i32): void {
  setWord(tapAt(taps, i), Tap.position, position);
  setWord(tapAt(taps, i), Tap.offset, offset);
}
