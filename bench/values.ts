/** Reproducible inputs for all contenders, and a check that they compute the same results. */

/** n float32 values, uniform in [low, high), from a linear congruential generator (Numerical Recipes, § 7.1). */
export function uniform(n: number, low: number, high: number, seed: number): Float32Array {
  const values = new Float32Array(n);
  let state = seed >>> 0;
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = low + ((high - low) * state) / 2 ** 32;
  }
  return values;
}

/** 0 … n − 1 in a pseudorandom order (Fisher–Yates). */
export function shuffledOrder(n: number): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  uniform(n, 0, 1, 7).forEach((u, step) => {
    const i = n - 1 - step;
    const j = Math.min(i, Math.floor(u * (i + 1)));
    [order[i], order[j]] = [order[j]!, order[i]!];
  });
  return order;
}

/** ‖got − expected‖ / ‖expected‖. */
export function difference(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [lost, squares] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    lost += (got[i]! - expected[i]!) ** 2;
    squares += expected[i]! ** 2;
  }
  return Math.sqrt(lost / squares);
}

/** @throws Error unless |got − expected| ≤ tolerance·(1 + |expected|) everywhere */
export function requireClose(
  what: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  if (got.length !== expected.length)
    throw new Error(`${what}: there must be ${expected.length} results, got ${got.length}.`);
  for (let i = 0; i < got.length; i++) {
    if (!(Math.abs(got[i]! - expected[i]!) <= tolerance * (1 + Math.abs(expected[i]!)))) {
      throw new Error(
        `${what}: result ${i} must be ${expected[i]}, as in pure JS, got ${got[i]}. The contender computes something else.`,
      );
    }
  }
}
