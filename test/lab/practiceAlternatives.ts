/** Correct answers to the exercises that differ from the solutions: other formulas, other types, other styles. */
export const alternatives: Readonly<Record<string, string>> = {
  "derive-a-partial": `
export const gradient = (theta, x, y) => {
  const f = (a, b) => 0.5 * (a * x[0] + b * x[1] - y) ** 2;
  return Float64Array.of((f(theta[0] + 1, theta[1]) - f(theta[0] - 1, theta[1])) / 2, (f(theta[0], theta[1] + 1) - f(theta[0], theta[1] - 1)) / 2);
};`,
  "write-gradcheck": `
const norm = (v) => Math.sqrt(v.reduce((sum, value) => sum + value * value, 0));
export function numericalGradient(f, theta, h) {
  const at = theta.slice();
  const result = [];
  for (let i = 0; i < theta.length; i++) {
    at[i] = theta[i] + h;
    const above = f(at);
    at[i] = theta[i] - h;
    result.push((above - f(at)) / h / 2);
    at[i] = theta[i];
  }
  return result;
}
export function gradcheck(f, gradient, theta) {
  const [g, d] = [gradient(theta), numericalGradient(f, theta, 1e-4)];
  return norm(g.map((value, i) => value - d[i])) / (norm(g) + norm(d) || 1);
}`,
  "logistic-gradient": `
export function gradient(w, x, y) {
  const [weights, labels] = [w.toArray(), y.toArray()];
  const result = weights.map(() => 0);
  x.toArray().forEach((row, k) => {
    const z = row.reduce((sum, value, i) => sum + value * weights[i], 0);
    const error = 1 / (1 + Math.exp(-z)) - labels[k];
    row.forEach((value, i) => (result[i] += (error * value) / labels.length));
  });
  return result;
}`,
  "backpropagate-by-hand": `
export function gradients({ w1, b1, w2, b2 }, x, t) {
  const z = x.matmul(w1.t()).add(b1);
  const g = z.tanh().matmul(w2.t()).add(b2).sub(t);
  const back = g.matmul(w2);
  const d = back.sub(back.mul(z.tanh().pow(2)));
  return { b2: g.sum(0), w2: z.tanh().t().matmul(g).t(), b1: d.sum(0), w1: x.t().matmul(d).t() };
}`,
  "preserve-the-gradient": `
import { uniform } from "nabla";
// The variance of a uniform distribution from −a to a is a²/3.
export const initialize = (fanIn, fanOut) => uniform([fanOut, fanIn], -Math.sqrt(6 / fanOut), Math.sqrt(6 / fanOut));`,
  "clip-an-rnn": `
export const clip = (gradients, maxNorm) => {
  const norm = Math.hypot(...gradients.flatMap((g) => [...g.data]));
  return norm > maxNorm ? gradients.map((g) => g.mul(maxNorm / (norm + 1e-6))) : gradients;
};`,
  "escape-direction": `
export function escapeDirection([[a, b], [, c]]) {
  const lambda = (a + c - Math.sqrt((a - c) ** 2 + 4 * b * b)) / 2;
  if (lambda >= 0) return null;
  if (b === 0) return a < c ? [-1, 0] : [0, -1];
  const v = [b, lambda - a];
  return v.map((value) => value / Math.hypot(...v));
}`,
  "condition-a-ravine": `
export function standardize(x) {
  const n = x.length;
  const result = x.map((row) => row.slice());
  for (let j = 0; j < x[0].length; j++) {
    let [mean, squares] = [0, 0];
    for (const row of x) mean += row[j] / n;
    for (const row of x) squares += (row[j] - mean) ** 2 / n;
    for (const row of result) row[j] = squares > 0 ? (row[j] - mean) / squares ** 0.5 : 0;
  }
  return result;
}`,
  "measure-confusion": `
import { signFlips } from "nabla/gradients";
export const confusion = (gradients) => {
  const pairs = gradients.slice(1).map((g, t) => signFlips(Float64Array.from(gradients[t]), Float64Array.from(g)));
  return pairs.reduce((a, b) => a + b) / pairs.length;
};`,
  "reorder-a-curriculum": `
export function order(gradients) {
  const used = new Set([0]);
  const result = [0];
  while (result.length < gradients.length) {
    let [best, fewest] = [-1, Infinity];
    gradients.forEach((g, i) => {
      let flips = 0;
      g.forEach((value, k) => (flips += value * gradients[result.at(-1)][k] < 0 ? 1 : 0));
      // Of equally near batches, this takes the last.
      if (!used.has(i) && flips <= fewest) [best, fewest] = [i, flips];
    });
    used.add(best);
    result.push(best);
  }
  return result;
}`,
  "integrate-the-flow": `
const add = (...terms) => terms[0].map((_, i) => terms.reduce((sum, term) => sum + term[i], 0));
const times = (s, v) => v.map((value) => s * value);
export function rk4(f, theta, h) {
  const a = times(h, f(theta));
  const b = times(h, f(add(theta, times(0.5, a))));
  const c = times(h, f(add(theta, times(0.5, b))));
  const d = times(h, f(add(theta, c)));
  return Float64Array.from(add(theta, times(1 / 6, a), times(1 / 3, b), times(1 / 3, c), times(1 / 6, d)));
}
export function flow(gradient, theta, time, steps) {
  let at = [...theta];
  for (let i = 0; i < steps; i++) at = [...rk4(gradient, at, -time / steps)];
  return at;
}`,
  "critical-damping": "export const momentum = (lr, curvature) => 1 + lr * curvature - 2 * Math.sqrt(lr * curvature);",
  "fisher-information": `
const sigmoid = (z) => 1 / (1 + Math.exp(-z));
export const fisher = (p) => 1 / p + 1 / (1 - p);
export const fisherOfLogit = (z) => sigmoid(z) * sigmoid(-z);`,
  "natural-step": `
export function naturalStep([x, y], [g, h], [[a, b], [c, d]], lr) {
  const second = (h - (c / a) * g) / (d - (c / a) * b);
  const first = (g - b * second) / a;
  return [x - lr * first, y - lr * second];
}`,
  "integrated-gradients": `
import { grad } from "nabla";
export function integratedGradients(f, x, baseline, steps) {
  const gradient = grad(f);
  const points = Array.from({ length: steps }, (_, k) => (k + 0.5) / steps);
  const all = points.map((t) => gradient(x.mul(t).add(baseline.mul(1 - t))).toArray());
  const [end, start] = [x.toArray(), baseline.toArray()];
  return end.map((value, i) => ((value - start[i]) * all.reduce((sum, g) => sum + g[i], 0)) / steps);
}`,
};
