/** Rounds numbers to 16-bit floating-point formats. */

/** The number of bits of the fraction, and the bias of the exponent. */
export const halfFormats = { float16: [10, 15], bfloat16: [7, 127] } as const;

/** The name of a 16-bit floating-point format. */
export type HalfType = keyof typeof halfFormats;

/** Adding and then subtracting this constant rounds a number below 2⁵¹ to the nearest whole number, and halves to the even one. */
const ROUND = 1.5 * 2 ** 52;
export const roundEven = (x: number): number => x + ROUND - ROUND;

/** The bits of the nearest number in a format; of two equally near ones, the even one. Numbers that are too large become infinite. */
export function toHalf(x: number, type: HalfType): number {
  const [fraction, bias] = halfFormats[type];
  const infinity = (2 * bias + 1) << fraction;
  if (Number.isNaN(x)) return infinity | 1;
  const size = Math.abs(x);
  const exponent = Math.max(1 - bias, Math.floor(Math.log2(size)));
  const bits = roundEven(size * 2 ** (fraction - exponent)) + (exponent + bias - 1) * 2 ** fraction;
  return (x < 0 || Object.is(x, -0) ? 0x8000 : 0) | (bits < infinity ? bits : infinity);
}

/** Whether a finite number is so large that it becomes infinite. */
export function isTooLarge(x: number, type: HalfType): boolean {
  const [fraction, bias] = halfFormats[type];
  return Number.isFinite(x) && Math.abs(x) >= (2 - 2 ** -(fraction + 1)) * 2 ** bias;
}

/** The bytes of the nearest numbers, little-endian. */
export const toHalves = (values: ArrayLike<number>, type: HalfType): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Uint16Array.from(values, (x) => toHalf(x, type)).buffer);
