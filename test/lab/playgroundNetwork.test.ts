/** The playground's network: its gradients, its diagnosis, and its answers, compared with hand-written computations in float64. */
import { readFileSync } from "node:fs";
import { losses, tensor } from "nabla";
import { diagnose } from "nabla/gradients";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Digits, PIXELS, readDigits } from "../../cli/mnist/packed.ts";
import { type Diagnosis, diagnosisOf } from "../../lab/page/playground/diagnosis.ts";
import { explain } from "../../lab/page/playground/explain.ts";
import { BIN, histogramOf } from "../../lab/page/playground/histogram.ts";
import { Learner } from "../../lab/page/playground/network.ts";
import { type Activation, PRESETS, QUESTION, type Settings } from "../../lab/page/playground/settings.ts";

let digits: { train: Digits; test: Digits };
beforeAll(async () => void (digits = await readDigits(new Uint8Array(readFileSync("dist/bin/digits.gz")))));

const learners: Learner[] = [];
afterEach(() => {
  for (const learner of learners.splice(0)) learner.dispose();
});
function learn(settings: Settings, steps = 0): Learner {
  const learner = new Learner(digits, settings);
  learners.push(learner);
  for (let i = 1; i <= steps; i++) learner.step(i === steps);
  return learner;
}
const preset = (name: string): Settings => PRESETS[name]!;
const healthy = (): Settings => preset("healthy");
const diagnosis = (settings: Settings, steps = 0): Diagnosis =>
  diagnosisOf(learn(settings, steps).gradients().measured);

/** Each activation and its derivative, as functions of z. */
const FUNCTIONS: Partial<Record<Activation, [(z: number) => number, (z: number) => number]>> = {
  sigmoid: [(z) => 1 / (1 + Math.exp(-z)), (z) => Math.exp(-z) / (1 + Math.exp(-z)) ** 2],
  tanh: [Math.tanh, (z) => 1 - Math.tanh(z) ** 2],
  ReLU: [(z) => Math.max(0, z), (z) => Number(z > 0)],
};

/** ‖∂L/∂z‖ of each layer, the rms of each layer's ∂L/∂W, and the mean loss, by backpropagation in float64. */
function byHand({ batch, linear, settings }: Learner) {
  const [f, slope] = FUNCTIONS[settings.activation]!;
  const count = batch.labels.length;
  const layers = linear.map(({ weight, bias }) => ({
    w: Array.from(weight.data),
    b: Array.from(bias!.data),
    out: weight.shape[0]!,
    in: weight.shape[1]!,
  }));
  const norms = layers.map(() => 0);
  const gradients = layers.map(({ w }) => new Float64Array(w.length));
  let loss = 0;
  for (let k = 0; k < count; k++) {
    let x = Array.from(batch.pixels.subarray(k * PIXELS, (k + 1) * PIXELS), (v) => (v - 0.1307) / 0.3081);
    const [inputs, zs]: [number[][], number[][]] = [[], []];
    layers.forEach(({ w, b, out, in: n }, l) => {
      const z = Array.from({ length: out }, (_, i) => x.reduce((sum, v, j) => sum + w[i * n + j]! * v, b[i]!));
      inputs.push(x);
      zs.push(z);
      x = l < layers.length - 1 ? z.map(f) : z;
    });
    const most = Math.max(...x);
    const total = x.reduce((sum, v) => sum + Math.exp(v - most), 0);
    const label = batch.labels[k]!;
    loss += (Math.log(total) + most - x[label]!) / count;
    let g = x.map((v, i) => (Math.exp(v - most) / total - Number(i === label)) / count);
    for (let l = layers.length - 1; l >= 0; l--) {
      const { w, in: n } = layers[l]!;
      norms[l]! += g.reduce((sum, v) => sum + v * v, 0);
      g.forEach((v, i) => inputs[l]!.forEach((u, j) => (gradients[l]![i * n + j]! += v * u)));
      if (!l) continue;
      const z = zs[l - 1]!;
      g = z.map((v, j) => slope(v) * g.reduce((sum, u, i) => sum + u * w[i * n + j]!, 0));
    }
  }
  const rms = gradients.map((values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length));
  return { loss, rms, norms: norms.map(Math.sqrt) };
}

/** The factor by which the norm changes per layer in the backward pass: the exponential of the least-squares slope of ln(norm). */
function growth(norms: readonly number[]): number {
  const middle = (norms.length - 1) / 2;
  const logs = norms.map(Math.log);
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const [top, bottom] = logs.reduce(([t, b], v, i) => [t - (i - middle) * (v - mean), b + (i - middle) ** 2], [0, 0]);
  return Math.exp(top / bottom);
}

describe("gradients", () => {
  test.each([
    ["6 layers of sigmoid", { layers: 6, activation: "sigmoid", init: "Xavier" }],
    ["2 layers of ReLU with He", { layers: 2, activation: "ReLU", init: "He" }],
    ["4 layers of tanh with large biases", { layers: 4, activation: "tanh", init: "large biases" }],
  ] as const)("%s: norms, rms and growth per layer agree with backpropagation by hand", (_, part) => {
    const learner = learn({ ...healthy(), ...part }, 3);
    const { layers, measured } = learner.gradients();
    const expected = byHand(learner);
    // A sum of 784 float32 products is off by at most about 784·2⁻²⁴ ≈ 5·10⁻⁵ times the sum of its terms' magnitudes, but the typical
    // error is √784 = 28 times smaller.
    const close = (value: number): unknown => expect.closeTo(value, -Math.log10(2 * 3e-4 * Math.abs(value)));
    expect(measured.loss).toEqual(close(expected.loss));
    expect(measured.norms).toEqual(expected.norms.map(close));
    expect(layers.map(({ rms }) => rms)).toEqual(expected.rms.map(close));
    expect(diagnosisOf(measured).factor).toEqual(close(growth(expected.norms.slice(0, -1))));
  });

  test("there is one histogram per layer, and it counts every weight", () => {
    const { layers } = learn({ ...healthy(), layers: 5 }).gradients();
    expect(layers.map(({ name }) => name)).toEqual(["layer 1", "layer 2", "layer 3", "layer 4", "layer 5", "output"]);
    const counted = layers.map(({ histogram: { counts, zeros } }) => counts.reduce((a, b) => a + b, zeros));
    expect(counted).toEqual([64 * 784, 64 * 64, 64 * 64, 64 * 64, 64 * 64, 10 * 64]);
  });

  test("each value is in the bin that contains its logarithm; zeros and infinities are in none", () => {
    const { first, counts, zeros } = histogramOf([1e-5, -1.2e-5, 3e-4, 0, Number.POSITIVE_INFINITY]);
    const edges = counts.flatMap((count, i) => (count ? [[(first + i) * BIN, count] as const] : []));
    expect(zeros).toBe(1);
    expect(edges.map(([, count]) => count)).toEqual([2, 1]);
    for (const [power, i] of [
      [Math.log10(1.1e-5), 0],
      [Math.log10(3e-4), 1],
    ] as const) {
      expect(edges[i]![0]).toBeLessThanOrEqual(power + 1e-9);
      expect(edges[i]![0] + BIN).toBeGreaterThan(power);
    }
  });
});

describe("training", () => {
  test("300 mini-batches teach the healthy network to read 88 % of the test digits", () => {
    expect(learn(healthy(), 300).accuracy()).toBeGreaterThan(0.88);
  });

  test("a step trains on one mini-batch and measures how much it changes each weight", () => {
    const learner = learn(healthy());
    const weights = (): number[][] => learner.linear.map(({ weight }) => Array.from(weight.data));
    const before = weights();
    learner.step(true);
    expect(learner.steps).toBe(1);
    const after = weights();
    const expected = before.map((w, i) => Math.hypot(...w.map((v, k) => after[i]![k]! - v)) / Math.hypot(...after[i]!));
    const { updates } = learner.gradients().measured;
    expect(updates!.map((update, i) => update / expected[i]!)).toEqual(expected.map(() => expect.closeTo(1, 6)));
    expect(Math.min(...expected)).toBeGreaterThan(0);
  });

  test("SGD moves each weight by lr·∂L/∂W", () => {
    const learner = learn({ ...healthy(), lr: 1e-4 }, 1);
    const { layers, measured } = learner.gradients();
    learner.linear.forEach(({ weight }, i) => {
      const norm = Math.hypot(...Array.from(weight.data));
      // The gradients before and after a step differ by O(lr).
      expect((measured.updates![i]! * norm) / (1e-4 * layers[i]!.rms * Math.sqrt(weight.size))).toBeCloseTo(1, 1);
    });
  });

  test("another optimizer or learning rate continues with the same weights", () => {
    const learner = learn(healthy(), 50);
    const before = Array.from(learner.linear[0]!.weight.data);
    learner.tune("Adam", 1e-3);
    expect(Array.from(learner.linear[0]!.weight.data)).toEqual(before);
    learner.tune("Adam", 1e-4);
    learner.step(true);
    expect(learner.steps).toBe(51);
    // Adam's first step changes each weight by at most lr.
    const moved = Array.from(learner.linear[0]!.weight.data).map((v, i) => Math.abs(v - before[i]!));
    expect(Math.max(...moved)).toBeGreaterThan(0.9e-4);
    expect(Math.max(...moved)).toBeLessThan(1.1e-4);
  });
});

describe("the diagnosis", () => {
  test("gradients vanish in 6 layers of sigmoid, but not in 2 layers of ReLU with He initialization", () => {
    const sigmoid = diagnosis({ ...healthy(), layers: 6, activation: "sigmoid", init: "Xavier" });
    expect(sigmoid.kind).toBe("vanishing");
    // σ′ ≤ ¼, and Xavier initialization preserves the norm, so each layer shrinks the gradient by a factor of about 4 or more.
    expect(sigmoid.factor).toBeGreaterThan(1 / 6);
    expect(sigmoid.factor).toBeLessThan(1 / 3.5);
    expect(sigmoid.text).toContain(`shrinks ${(1 / sigmoid.factor).toPrecision(2)}-fold per layer`);
    expect(sigmoid.remedies.map(({ text }) => text)).toEqual(["ReLU with He", "tanh with Xavier"]);
    const relu = diagnosis({ ...healthy(), layers: 2 });
    expect(relu.kind).toBe("healthy");
    expect(relu.remedies).toEqual([]);
    expect(Math.abs(Math.log(relu.factor))).toBeLessThan(Math.log(2));
  });

  test("2 layers of sigmoid shrink the gradient, which the diagnosis describes but does not call a problem", () => {
    const { kind, factor, text, remedies } = diagnosis({ ...preset("vanishing"), layers: 2 }, 150);
    expect(kind).toBe("healthy");
    expect(factor).toBeLessThan(1 / 3);
    expect(text).toContain(`shrinks ${(1 / factor).toPrecision(2)}-fold per layer`);
    expect(remedies).toEqual([]);
  });

  test("with ReLU and 5 times Xavier's weights, gradients explode by a factor of 5/√2 per layer", () => {
    const { kind, factor, text } = diagnosis(preset("exploding"));
    expect(kind).toBe("exploding");
    // In each layer, the measured factor is a mean over 64 units and 64 digits, which is off by a few percent.
    expect(factor / (5 / Math.SQRT2)).toBeCloseTo(1, 0.7);
    expect(text).toContain(`grows ${factor.toPrecision(2)}-fold per layer`);
  });

  test("large biases saturate tanh", () => {
    const { kind, factor, text } = diagnosis(preset("saturated"));
    expect(kind).toBe("saturated");
    expect(factor).toBeLessThan(1 / 3);
    expect(text).toMatch(/\d+ % of layer \d’s outputs are in the flat part of tanh/);
  });

  test.each([
    ["healthy", healthy()],
    ["vanishing", preset("vanishing")],
    ["exploding", preset("exploding")],
    ["saturated", preset("saturated")],
    ["dead", { ...healthy(), width: 8 }],
    // A diagnosis with limits other than the library's would call the first of these two vanishing and the second healthy.
    ["healthy", { ...healthy(), layers: 3, activation: "sigmoid", init: "Xavier" }],
    ["saturated", { ...healthy(), activation: "tanh", init: "Xavier", optimizer: "Adam", lr: 3e-3 }, 400],
  ] as [string, Settings, number?][])("it is %s, as in the library's report", (kind, settings, steps = 1) => {
    const learner = learn(settings, steps);
    const [pixels, labels] = [tensor(learner.batch.pixels), tensor(learner.batch.labels)];
    const report = diagnose(learner.model, () => losses.crossEntropy(learner.model.forward(pixels), labels));
    expect(report.verdicts[0]!.kind).toBe(kind);
    expect(diagnosisOf(learner.gradients().measured).kind).toBe(kind);
  });

  test.each([
    ["too fast", { ...healthy(), lr: 1 }, ["learning rate 0.1"]],
    ["too slow", { ...healthy(), optimizer: "Adam", lr: 1e-9 }, ["learning rate 0.001"]],
  ] as const)("it finds that the steps are %s, and offers a remedy", (kind, settings, remedies) => {
    const found = diagnosis(settings, 1);
    expect(found.kind).toBe(kind);
    expect(found.remedies.map(({ text }) => text)).toEqual(remedies);
  });

  test("a learning rate of 1 makes training diverge", () => {
    const { kind, remedies } = diagnosis(preset("too fast"), 60);
    expect(kind).toBe("diverged");
    expect(remedies).toEqual([{ text: "learning rate 0.1", settings: { lr: 0.1 } }]);
  });

  test.each(["vanishing", "exploding", "saturated"])("each remedy for %s helps", (name) => {
    const { remedies } = diagnosis(preset(name));
    expect(remedies.length).toBeGreaterThan(0);
    for (const { settings, text } of remedies)
      expect([text, diagnosis({ ...preset(name), ...settings }).kind]).toEqual([text, "healthy"]);
  });

  test("if the loss stays at that of guessing, it says that the network does not learn, whatever the gradient", () => {
    const settings = { ...healthy(), lr: 1e-4 };
    expect(diagnosis(settings, 40).kind).toBe("healthy"); // 40 mini-batches are too few to tell
    const { kind, text, remedies } = diagnosis({ ...settings, optimizer: "RMSProp", lr: 1 }, 150);
    expect([kind, text]).toEqual(["no gradient", expect.stringContaining("is exactly 0")]);
    expect(remedies.map((one) => one.text)).toEqual(["learning rate 0.001"]);
    const stuck = diagnosis(settings, 120);
    expect(stuck.kind).toBe("stuck");
    expect(stuck.text).toMatch(/After 120 mini-batches, the loss is 2\.\d\d, no better than guessing/);
  });

  test("units that are dead for the whole mini-batch are named", () => {
    const learner = learn({ ...healthy(), layers: 2 });
    learner.linear[1]!.bias!.copyFrom(new Float32Array(64).fill(-1000));
    const { kind, text } = diagnosisOf(learner.gradients().measured);
    expect(kind).toBe("no gradient");
    expect(text).toContain("The gradient of the weights of layer 1, layer 2 and the output is exactly 0");
    expect(text).toContain("100 % of layer 2’s units are 0 for the whole mini-batch");
  });
});

describe("answers", () => {
  let learner: Learner;
  let drawing: Float32Array;
  beforeAll(() => {
    learner = new Learner(digits, healthy());
    for (let i = 0; i < 300; i++) learner.step(false);
    drawing = Float32Array.from(digits.test.pixels.subarray(0, PIXELS), (v) => v / 255);
  });

  /** The logits for a drawing, in float64. */
  function logits(pixels: ArrayLike<number>): number[] {
    let x = Array.from(pixels, (v) => (v - 0.1307) / 0.3081);
    learner.linear.forEach(({ weight, bias }, l) => {
      const [w, b, n] = [weight.data, bias!.data, weight.shape[1]!];
      const z = Array.from(b, (start, i) => x.reduce((sum, v, j) => sum + w[i * n + j]! * v, start));
      x = l < learner.linear.length - 1 ? z.map((v) => Math.max(0, v)) : z;
    });
    return x;
  }
  const moved = (pixel: number, by: number): Float64Array => {
    const pixels = Float64Array.from(drawing);
    pixels[pixel]! += by;
    return pixels;
  };
  const H = 1e-5;
  const slopeAt = (pixel: number, of: (pixels: Float64Array) => number): number =>
    (of(moved(pixel, H)) - of(moved(pixel, -H))) / (2 * H);
  const someInk = (): number[] => [...drawing.keys()].filter((i) => drawing[i]! > 0.5).slice(0, 30);

  test("the first test digit is read as a 7", () => {
    const { answer } = explain(learner.model, drawing, QUESTION);
    expect(answer.digit).toBe(7);
    const scores = logits(drawing);
    const total = scores.reduce((sum, v) => sum + Math.exp(v - Math.max(...scores)), 0);
    answer.probabilities.forEach((p, digit) => {
      expect(p).toBeCloseTo(Math.exp(scores[digit]! - Math.max(...scores)) / total, 4);
    });
  });

  test("gradient × input is signed and agrees with differences of the score", () => {
    const { attribution } = explain(learner.model, drawing, QUESTION);
    expect(Math.min(...attribution)).toBeLessThan(0);
    expect(Math.max(...attribution)).toBeGreaterThan(0);
    for (const pixel of someInk())
      expect(attribution[pixel]! / drawing[pixel]!).toBeCloseTo(
        slopeAt(pixel, (x) => logits(x)[7]!),
        2,
      );
  });

  test("the score of another digit can be explained", () => {
    const { answer, explained, attribution } = explain(learner.model, drawing, { ...QUESTION, target: 9 });
    expect([answer.digit, explained]).toEqual([7, 9]);
    for (const pixel of someInk())
      expect(attribution[pixel]! / drawing[pixel]!).toBeCloseTo(
        slopeAt(pixel, (x) => logits(x)[9]!),
        2,
      );
  });

  test("integrated gradients add up to the score minus the score of blank paper", () => {
    const { attribution } = explain(learner.model, drawing, { ...QUESTION, method: "integrated gradients" });
    const difference = logits(drawing)[7]! - logits(new Float32Array(PIXELS))[7]!;
    const sum = attribution.reduce((a, b) => a + b, 0);
    // Because ReLU has kinks, the error with n points is O(1/n).
    expect(Math.abs(sum / difference - 1)).toBeLessThan(1 / 32);
    expect(Math.min(...attribution)).toBeLessThan(0);
  });

  test("SmoothGrad is signed and also covers blank paper", () => {
    const { attribution } = explain(learner.model, drawing, { ...QUESTION, method: "SmoothGrad" });
    const paper = attribution.filter((_, i) => drawing[i] === 0);
    expect(Math.min(...paper)).toBeLessThan(0);
    expect(Math.max(...paper)).toBeGreaterThan(0);
  });

  test("FGSM moves each pixel by ε in the direction that raises the loss, and keeps it between 0 and 1", () => {
    const epsilon = 0.05;
    const { attacked, answer, after } = explain(learner.model, drawing, { ...QUESTION, epsilon });
    const loss = (pixels: Float64Array): number => {
      const scores = logits(pixels);
      return Math.log(scores.reduce((sum, v) => sum + Math.exp(v - scores[7]!), 0));
    };
    for (const pixel of someInk()) {
      const slope = slopeAt(pixel, loss);
      const wanted = Math.min(1, Math.max(0, drawing[pixel]! + epsilon * Math.sign(slope)));
      if (Math.abs(slope) > 1e-6) expect(attacked[pixel]!).toBeCloseTo(wanted, 6);
    }
    expect(after.probabilities[7]!).toBeLessThan(answer.probabilities[7]!);
  });

  test.each(["FGSM", "PGD"] as const)("%s with ε = 0 changes nothing", (attack) => {
    const { attacked, answer, after } = explain(learner.model, drawing, { ...QUESTION, attack, epsilon: 0 });
    expect(attacked).toEqual(drawing);
    expect(after).toEqual(answer);
  });

  test("PGD stays within ε and lowers the probability of the answer at least as much as FGSM", () => {
    const at = (attack: "FGSM" | "PGD") => explain(learner.model, drawing, { ...QUESTION, attack, epsilon: 0.1 });
    const [fgsm, pgd] = [at("FGSM"), at("PGD")];
    for (const { attacked } of [fgsm, pgd]) {
      expect(Math.max(...attacked.map((v, i) => Math.abs(v - drawing[i]!)))).toBeCloseTo(0.1, 5);
      expect(Math.min(...attacked)).toBe(0);
      expect(Math.max(...attacked)).toBeLessThanOrEqual(1);
    }
    expect(pgd.after.probabilities[7]!).toBeLessThanOrEqual(fgsm.after.probabilities[7]!);
  });

  test("a network with parameters that are not finite gives no answer", () => {
    const broken = learn(healthy());
    broken.linear[0]!.weight.copyFrom(new Float32Array(64 * 784).fill(Number.NaN));
    const { answer, attacked, attribution } = explain(broken.model, drawing, QUESTION);
    expect(answer.digit).toBe(-1);
    expect(attacked).toEqual(drawing);
    expect(attribution.every((v) => v === 0)).toBe(true);
  });
});
