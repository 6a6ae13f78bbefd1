/**
 * A training step in pure JavaScript, as a careful programmer would write it for this particular model: buffers are allocated once, loops
 * are fused where possible, and steps allocate no memory.
 */
import { LR, startOf, type TrainingTask } from "../training.ts";
import { product, productTransB } from "./matmul.ts";

/** A parameter, its gradient and Adam's running means. */
class Parameter {
  readonly value: Float32Array;
  readonly grad: Float32Array;
  private readonly m: Float32Array;
  private readonly v: Float32Array;

  constructor(private readonly initial: Float32Array) {
    this.value = initial.slice();
    this.grad = new Float32Array(initial.length);
    this.m = new Float32Array(initial.length);
    this.v = new Float32Array(initial.length);
  }
  reset(): void {
    this.value.set(this.initial);
    this.m.fill(0);
    this.v.fill(0);
  }

  /** m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  p ← p − rate·m/(√v·correction + ε). */
  adam(rate: number, correction: number): void {
    const { value, grad, m, v } = this;
    for (let i = 0; i < value.length; i++) {
      const g = grad[i]!;
      const mean = 0.9 * m[i]! + 0.1 * g;
      const square = 0.999 * v[i]! + 0.001 * g * g;
      m[i] = mean;
      v[i] = square;
      value[i] = value[i]! - (rate * mean) / (Math.sqrt(square) * correction + 1e-8);
    }
  }
}

/** g[j] = Σᵢ d[i, j] for d [m, n]. */
function sumRows(g: Float32Array, d: Float32Array, m: number, n: number): void {
  g.fill(0);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) g[j] = g[j]! + d[i * n + j]!;
}

export class PureTraining {
  private readonly start;
  private readonly w1: Parameter;
  private readonly b1: Parameter;
  private readonly w2: Parameter;
  private readonly b2: Parameter;
  private readonly h: Float32Array;
  private readonly dh: Float32Array;
  private readonly z: Float32Array;
  private readonly dz: Float32Array;
  private steps = 0;

  constructor(private readonly training: TrainingTask) {
    const { batch, hidden, outputs } = training;
    this.start = startOf(training);
    this.w1 = new Parameter(this.start.w1);
    this.b1 = new Parameter(this.start.b1);
    this.w2 = new Parameter(this.start.w2);
    this.b2 = new Parameter(this.start.b2);
    this.h = new Float32Array(batch * hidden);
    this.dh = new Float32Array(batch * hidden);
    this.z = new Float32Array(batch * outputs);
    this.dz = new Float32Array(batch * outputs);
  }

  reset(): void {
    for (const p of [this.w1, this.b1, this.w2, this.b2]) p.reset();
    this.steps = 0;
  }

  /** Takes one step. @returns the loss before the step */
  step(): number {
    const { start, w1, b1, w2, b2, h, dh, z, dz } = this;
    const { kind, batch, inputs, hidden, outputs } = this.training;
    productTransB(h, start.x, w1.value, batch, inputs, hidden, b1.value);
    if (kind === "classes") for (let i = 0; i < h.length; i++) h[i] = h[i]! > 0 ? h[i]! : 0;
    else for (let i = 0; i < h.length; i++) h[i] = Math.tanh(h[i]!);
    productTransB(z, h, w2.value, batch, hidden, outputs, b2.value);
    const loss = kind === "classes" ? this.crossEntropy() : this.squaredError();

    product(w2.grad, dz, h, outputs, batch, hidden, true);
    sumRows(b2.grad, dz, batch, outputs);
    product(dh, dz, w2.value, batch, outputs, hidden);
    if (kind === "classes") for (let i = 0; i < h.length; i++) dh[i] = h[i]! > 0 ? dh[i]! : 0;
    else for (let i = 0; i < h.length; i++) dh[i] = dh[i]! * (1 - h[i]! * h[i]!);
    product(w1.grad, dh, start.x, hidden, batch, inputs, true);
    sumRows(b1.grad, dh, batch, hidden);

    this.steps++;
    const rate = LR / (1 - 0.9 ** this.steps);
    const correction = 1 / Math.sqrt(1 - 0.999 ** this.steps);
    w1.adam(rate, correction);
    b1.adam(rate, correction);
    w2.adam(rate, correction);
    b2.adam(rate, correction);
    return loss;
  }

  /** Returns the mean of −log softmax(z)[label], and sets dz = (softmax(z) − onehot(label))/batch. */
  private crossEntropy(): number {
    const { z, dz, start } = this;
    const { batch, outputs } = this.training;
    let loss = 0;
    for (let i = 0; i < batch; i++) {
      const row = i * outputs;
      let largest = z[row]!;
      for (let j = 1; j < outputs; j++) if (z[row + j]! > largest) largest = z[row + j]!;
      let total = 0;
      for (let j = 0; j < outputs; j++) {
        const e = Math.exp(z[row + j]! - largest);
        dz[row + j] = e;
        total += e;
      }
      const at = row + start.labels[i]!;
      loss += Math.log(total) + largest - z[at]!;
      const factor = 1 / (total * batch);
      for (let j = 0; j < outputs; j++) dz[row + j] = dz[row + j]! * factor;
      dz[at] = dz[at]! - 1 / batch;
    }
    return loss / batch;
  }

  /** Returns the mean of (σ(z) − target)², and sets dz = 2(σ(z) − target)·σ'(z)/count. */
  private squaredError(): number {
    const { z, dz, start } = this;
    let loss = 0;
    for (let i = 0; i < z.length; i++) {
      const y = 1 / (1 + Math.exp(-z[i]!));
      const d = y - start.targets[i]!;
      loss += d * d;
      dz[i] = ((2 * d) / z.length) * y * (1 - y);
    }
    return loss / z.length;
  }
}
