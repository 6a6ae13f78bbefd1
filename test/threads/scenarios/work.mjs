/** Work with known results, and a check of whether a worker helps with it. Scripts in Node and scripts in pages share this file. */

/**
 * Whether a worker helps with f. A worker that helps clears its mark, the word that says whether it is running a job
 * (assembly/threads.ts: serve).
 */
export function helps({ orders: { memory, mark } }, f) {
  const UNTOUCHED = 7;
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, mark / 4, UNTOUCHED);
  f();
  // The worker may still be leaving the job.
  for (let i = 0; i < 1e6 && Atomics.load(words, mark / 4) === 1; i++);
  return Atomics.compareExchange(words, mark / 4, UNTOUCHED, 0) === 0;
}

/** Waits until `holds()` is true, for at most `milliseconds`. Returns whether it is. */
export async function until(holds, milliseconds = 10_000) {
  for (const end = Date.now() + milliseconds; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 10)))
    if (holds()) return true;
  return holds();
}

/** A product of n × n matrices of small integers, which float32 represents exactly. */
export class Product {
  constructor({ tensor, tidy }, n) {
    const random = generator(n);
    const [a, b] = [0, 1].map(() => Float32Array.from({ length: n * n }, () => (random() % 5) - 2));
    this.probe = Float64Array.from({ length: n }, () => random() % 1000);
    // For a random vector r, C·r = A·(B·r). A wrong C passes this check with a probability of 1/1000.
    this.expected = times(a, times(b, this.probe));
    this.factors = [tensor(a, [n, n]), tensor(b, [n, n])];
    this.tidy = tidy;
  }
  /** Computes the product and returns its elements. */
  run() {
    const [a, b] = this.factors;
    return this.tidy(() => a.matmul(b).data);
  }
  /** Whether the product has these elements. */
  is(elements) {
    const found = times(elements, this.probe);
    return this.expected.every((value, i) => value === found[i]);
  }
  /** Computes the product and returns whether it is correct. */
  isRight() {
    return this.is(this.run());
  }
}

/** An n × n matrix times a vector, in float64. */
function times(matrix, vector) {
  const n = vector.length;
  return vector.map((_, i) => {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += matrix[i * n + j] * vector[j];
    return sum;
  });
}

/** A pseudorandom integer generator. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

/** Trains an XOR network and returns its loss, which should be below 0.1. */
export function train({ losses, manualSeed, nn, optim, tensor }) {
  manualSeed(7);
  const x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]); // biome-ignore format: a table
  const y = tensor([[0], [1], [1], [0]]);
  const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
  let loss = Number.NaN;
  for (let step = 0; step < 300; step++) {
    const now = optimizer.minimize(() => losses.bceWithLogits(model.forward(x), y));
    loss = now.item();
    now.dispose();
  }
  return loss;
}
