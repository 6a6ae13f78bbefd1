/** Rounds numbers to 16-bit floating-point formats. */

/** The names of the 16-bit floating-point formats. */
export const halfTypes = ["float16", "bfloat16"] as const;
export type HalfType = (typeof halfTypes)[number];

/** Adding and then subtracting this constant rounds a number below 2⁵¹ to the nearest whole number, and halves to the even one. */
const ROUND = 1.5 * 2 ** 52;
export const roundEven = (x: number): number => x + ROUND - ROUND;

/**
 * The bytes of the nearest numbers, little-endian; of two equally near ones, the even one. Small numbers become subnormal or 0.
 * @throws the error that `tooLarge` returns, for the first finite number that would become infinite
 */
export function toHalves(
  values: Float32Array,
  type: HalfType,
  tooLarge: (x: number) => Error,
): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  const sum = new Float32Array(1);
  const sumWord = new Uint32Array(sum.buffer);
  const isFloat16 = type === "float16";
  const infinity = isFloat16 ? 0x7c00 : 0x7f80;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const size = word & 0x7fffffff;
    let half: number;
    if (size >= 0x7f800000) half = infinity;
    // Adding half of the last bit that stays, and one less if that bit is 0, rounds to the nearest and even number.
    else if (!isFloat16) half = (size + 0x7fff + ((size >>> 16) & 1)) >>> 16;
    else if (size >= 0x38800000) half = (size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13;
    else {
      // Below 2⁻¹⁴: the last bit of |x| + ½ in float32 is 2⁻²⁴, the smallest float16 number.
      sum[0] = Math.abs(values[i]!) + 0.5;
      half = sumWord[0]! - 0x3f000000;
    }
    if (half >= infinity && size < 0x7f800000) throw tooLarge(values[i]!);
    // The sign of NaN differs between machines.
    halves[i] = size > 0x7f800000 ? infinity | (infinity >> 1) : half | ((word >>> 16) & 0x8000);
  }
  return new Uint8Array(halves.buffer);
}
