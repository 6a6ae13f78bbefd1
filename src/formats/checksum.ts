/**
 * The checksum of a safetensors file: XXH32 (https://github.com/Cyan4973/xxHash) of the whole file, with the checksum's own
 * digits set to zero. As a function of any single 32-bit word of its input, XXH32 is a bijection, so it detects all damage within
 * one word; it misses other damage with probability 2⁻³². In JavaScript, it is faster than CRC-32, and it needs no table.
 */
import { FormatError } from "./errors.ts";
import { LENGTH_BYTES } from "./header.ts";

/** The metadata entry that holds the checksum. */
const KEY = "nabla.checksum";
const LABEL = "xxh32:";
const DIGITS = 8;
/** In a file with a checksum, the text between the length field and the checksum's hex digits. */
const START = `{"__metadata__":{"${KEY}":"${LABEL}`;
const DIGITS_AT = LENGTH_BYTES + START.length;
const VALUE = new RegExp(`^${LABEL}[0-9a-f]{${DIGITS}}$`);

const [P1, P2, P3, P4, P5] = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1];
const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
const round = (lane: number, word: number): number => Math.imul(rotate((lane + Math.imul(word, P2)) | 0, 13), P1);

/** The number of bytes in a stripe: one word for each of the four lanes. */
const STRIPE = 16;

/** Streaming XXH32 with seed 0. */
export class XXH32 {
  private readonly lanes = Int32Array.of(P1 + P2, P2, 0, -P1);
  /** The bytes of the last stripe until the stripe is complete. */
  private readonly rest = new Int32Array(STRIPE / 4);
  private readonly restBytes = new Uint8Array(this.rest.buffer);
  private total = 0;

  update(bytes: Uint8Array): this {
    const buffered = this.total % STRIPE;
    this.total += bytes.length;
    let at = 0;
    if (buffered) {
      at = Math.min(STRIPE - buffered, bytes.length);
      this.restBytes.set(bytes.subarray(0, at), buffered);
      if (buffered + at < STRIPE) return this;
      this.mix(this.rest);
    }
    const end = at + Math.floor((bytes.length - at) / STRIPE) * STRIPE;
    this.processStripes(bytes.subarray(at, end));
    this.restBytes.set(bytes.subarray(end));
    return this;
  }

  digest(): number {
    const [a, b, c, d] = this.lanes as unknown as [number, number, number, number];
    let hash = this.total < STRIPE ? P5 : rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    hash = (hash + this.total) | 0;
    const buffered = this.total % STRIPE;
    const words = buffered >> 2;
    for (let i = 0; i < words; i++) hash = Math.imul(rotate((hash + Math.imul(this.rest[i]!, P3)) | 0, 17), P4);
    for (let i = 4 * words; i < buffered; i++)
      hash = Math.imul(rotate((hash + Math.imul(this.restBytes[i]!, P5)) | 0, 11), P1);
    hash = Math.imul(hash ^ (hash >>> 15), P2);
    hash = Math.imul(hash ^ (hash >>> 13), P3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  /** Adds whole stripes to the hash. Copies unaligned bytes in chunks, so that they can be read as words. */
  private processStripes(bytes: Uint8Array): void {
    const { buffer, byteOffset, length } = bytes;
    const chunk = byteOffset % 4 ? 2 ** 16 : length;
    for (let at = 0; at < length; at += chunk) {
      const size = Math.min(chunk, length - at);
      const words = byteOffset % 4 ? new Uint8Array(bytes.subarray(at, at + size)).buffer : buffer;
      this.mix(new Int32Array(words, byteOffset % 4 ? 0 : byteOffset, size / 4));
    }
  }

  private mix(words: Int32Array): void {
    let [a, b, c, d] = this.lanes as unknown as [number, number, number, number];
    for (let i = 0; i < words.length; i += 4) {
      a = round(a, words[i]!);
      b = round(b, words[i + 1]!);
      c = round(c, words[i + 2]!);
      d = round(d, words[i + 3]!);
    }
    this.lanes.set([a, b, c, d]);
  }
}

const digitsOf = (hash: XXH32): string => hash.digest().toString(16).padStart(DIGITS, "0");

/** Whether a metadata key is reserved for the checksum. */
export const isReserved = (key: string): boolean => key === KEY;

/** The first metadata entry of a file with a checksum. Its digits are placeholders, which `seal` overwrites. */
export const CHECKSUM_PLACEHOLDER: readonly [string, string] = [KEY, LABEL + "0".repeat(DIGITS)];

/**
 * Overwrites the placeholder in the header with the checksum.
 * @param head the length field and the header
 * @param parts the rest of the file
 */
export function seal(head: Uint8Array, parts: Iterable<Uint8Array>): void {
  const hash = new XXH32().update(head);
  for (const part of parts) hash.update(part);
  head.set(new TextEncoder().encode(digitsOf(hash)), DIGITS_AT);
}

/** Verifies a file against its checksum as its bytes arrive. */
export interface Verification {
  /** Adds the next bytes after the header. */
  update(bytes: Uint8Array): void;
  /** @throws FormatError if the checksum does not match */
  end(): void;
}

const checksumError = (): FormatError =>
  new FormatError(
    "safetensors: the checksum does not match, so the file is damaged or was edited by another program. " +
      "Load an older copy, or pass { verify: false } to read it anyway.",
  );

/**
 * Starts verifying a file, and removes the checksum from its metadata. The key alone or the value alone is enough to detect a
 * checksum, because one flipped bit cannot damage both.
 * @param head the length field and the header
 * @param verify if false, only removes the entry, without verifying the file
 * @returns undefined if there is nothing to verify
 * @throws FormatError if the entry is damaged or is not the first
 */
export function startVerification(
  head: Uint8Array,
  metadata: Record<string, string>,
  verify: boolean,
): Verification | undefined {
  const hasChecksum = Object.hasOwn(metadata, KEY) || Object.values(metadata).some((value) => VALUE.test(value));
  delete metadata[KEY];
  if (!hasChecksum || !verify) return undefined;
  const text = new TextDecoder().decode(head.subarray(LENGTH_BYTES, DIGITS_AT + DIGITS));
  if (!text.startsWith(START)) throw checksumError();
  const hash = new XXH32().update(head.slice().fill(0x30, DIGITS_AT, DIGITS_AT + DIGITS));
  return {
    update: (bytes) => void hash.update(bytes),
    end() {
      if (digitsOf(hash) !== text.slice(START.length)) throw checksumError();
    },
  };
}
