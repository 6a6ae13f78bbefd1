/** Convolution of channels-last images in pure JavaScript. The loops are ordered so that the innermost one runs over channels. */

export interface ConvSizes {
  readonly batch: number;
  readonly size: number;
  readonly channels: number;
  readonly outChannels: number;
  /** The kernel's size, which is odd. The image is padded, so that the output is as large as the image. */
  readonly kernel: number;
}

/**
 * Calls f for each pixel, kernel tap and output channel, with the offsets of the input channels in x and w, and of the output channel in y.
 */
function forEach(
  { batch, size, channels, outChannels, kernel }: ConvSizes,
  f: (x: number, w: number, y: number) => void,
): void {
  const pad = kernel >> 1;
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        for (let a = 0; a < kernel; a++) {
          const r = i + a - pad;
          if (r < 0 || r >= size) continue;
          for (let b = 0; b < kernel; b++) {
            const s = j + b - pad;
            if (s < 0 || s >= size) continue;
            const x = ((n * size + r) * size + s) * channels;
            const y = ((n * size + i) * size + j) * outChannels;
            for (let o = 0; o < outChannels; o++) f(x, ((o * kernel + a) * kernel + b) * channels, y + o);
          }
        }
}

/** y = x ∗ w. */
export function conv(y: Float32Array, x: Float32Array, w: Float32Array, sizes: ConvSizes): void {
  const { channels } = sizes;
  y.fill(0);
  forEach(sizes, (at, k, o) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += x[at + c]! * w[k + c]!;
    y[o]! += sum;
  });
}

/** Computes dx from dy and w. */
export function convInput(dx: Float32Array, dy: Float32Array, w: Float32Array, sizes: ConvSizes): void {
  const { channels } = sizes;
  dx.fill(0);
  forEach(sizes, (at, k, o) => {
    const d = dy[o]!;
    for (let c = 0; c < channels; c++) dx[at + c]! += d * w[k + c]!;
  });
}

/** Computes dw from x and dy. */
export function convWeight(dw: Float32Array, x: Float32Array, dy: Float32Array, sizes: ConvSizes): void {
  const { channels } = sizes;
  dw.fill(0);
  forEach(sizes, (at, k, o) => {
    const d = dy[o]!;
    for (let c = 0; c < channels; c++) dw[k + c]! += d * x[at + c]!;
  });
}
