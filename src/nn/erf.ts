/** The error function in float64, for the tails of the normal distribution. */

/**
 * erf in float64: its Maclaurin series if |x| ≤ 3, otherwise ±(1 − erfc(|x|)) (Abramowitz and Stegun 7.1.5, 7.1.14).
 */
export function erf64(x: number): number {
  if (Math.abs(x) > 3) return Math.sign(x) * (1 - erfc64(Math.abs(x)));
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total) && n < 200; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

/** 1 − erf in float64. A continued fraction, evaluated from its last term, keeps the right tail accurate. */
export function erfc64(x: number): number {
  if (x < 2) return 1 - erf64(x);
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}
