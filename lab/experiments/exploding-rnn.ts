/**
 * Each step back in time multiplies the gradient by the transposed Jacobian of the recurrence. The spectral norm of the
 * recurrent weight bounds the gradient's growth. The weight's spectral radius and the activation determine how fast the
 * gradient grows.
 */
import { manualSeed, nn, randn, type Tensor, zeros } from "nabla";
import { gradientThroughTime, growthPerStep, spectralNorm } from "nabla/gradients";
import { norm as length, type Matrix, product, times, transpose, type Vector } from "../algebra.ts";
import { experiment } from "../experiment.ts";
import { slope } from "../statistics.ts";

const HIDDEN = 16;

export default experiment({
  name: "exploding-rnn",
  title: "Exploding and vanishing through time",
  section: "Vanishing and Exploding Gradients",
  claim:
    "Step by step back in time, the gradient grows at most like the powers of the recurrent weight's spectral norm. This is only an upper bound. An orthogonal weight without an activation reaches this bound; a Gaussian weight and tanh stay below it, so the gradient can vanish even if the norm is above 1. Gates open another path. The dashed lines show the gates alone: an untrained GRU keeps half of its state in each step, and an LSTM keeps σ(b) of its cell if its forget gate has bias b. The paths through the hidden state carry gradient, too: over many steps, more of it arrives, and it can even grow.",
  formula:
    "h_t=\\tanh(Wh_{t-1}+x_t),\\qquad \\Bigl\\|\\frac{\\partial L}{\\partial h_t}\\Bigr\\|\\le\\|W\\|_2^{\\,T-t}\\,\\Bigl\\|\\frac{\\partial L}{\\partial h_T}\\Bigr\\|",
  functions: ["gradientThroughTime", "growthPerStep", "spectralNorm"],
  parameters: {
    norm: { kind: "number", label: "spectral norm ‖W‖₂", min: 0.5, max: 1.5, default: 1.2, step: 0.05 },
    steps: { kind: "number", label: "time steps T", min: 5, max: 80, default: 40, integer: true },
    matrix: { kind: "choice", label: "recurrent matrix W", options: ["orthogonal", "Gaussian"], default: "Gaussian" },
    activation: { kind: "choice", label: "activation", options: ["linear", "tanh"], default: "tanh" },
    input: { kind: "number", label: "size of the inputs", min: 0, max: 1, default: 0.1, step: 0.05 },
    forget: { kind: "number", label: "bias of the LSTM's forget gate", min: 0, max: 6, default: 3, step: 0.5 },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ norm, steps, matrix, activation, input, forget, seed }) {
    manualSeed(seed);
    const inputs = Array.from({ length: steps }, () => randn([1, HIDDEN]).mul(input));
    // All singular values of an orthogonal matrix are equal, so after scaling, each of them equals the norm.
    const plain = matrix === "orthogonal" ? nn.init.orthogonal(zeros([HIDDEN, HIDDEN])) : randn([HIDDEN, HIDDEN]);
    const direction = randn([1, HIDDEN]);
    const w = plain.mul(norm / spectralNorm(plain));
    const isTanh = activation === "tanh";
    const next = (h: Tensor, x: Tensor): Tensor => {
      const z = h.matmul(w.t()).add(x);
      return isTanh ? z.tanh() : z;
    };
    const loss = (h: Tensor): Tensor => h.mul(direction).sum();
    const start = zeros([1, HIDDEN]);
    const measured = gradientThroughTime(next, start, inputs, loss);
    const weight = w.toArray<number[][]>();
    const rows = inputs.map((x) => Array.from(x.data));
    const exact = normsByJacobians(weight, rows, Array.from(direction.data), isTanh);
    const spectral = spectralNorm(w);
    const radius = spectralRadius(weight);
    const bound = measured.map((_, t) => measured.at(-1)! * spectral ** (steps - t));
    const gru = new nn.GRUCell(HIDDEN, HIDDEN);
    const gated = gradientThroughTime((h, x) => gru.forward(x, h), start, inputs, loss);
    for (const p of gru.parameters()) nn.init.zeros(p);
    const halved = gradientThroughTime((h, x) => gru.forward(x, h), start, inputs, loss);
    const open = lstmNorms(forget, inputs, loss);
    const carried = lstmNorms(forget, inputs, loss, true);
    const points = (norms: Vector): [number, number][] => norms.map((g, t) => [steps - t, g]);
    // Gradients below float32's normal range are inaccurate.
    const seen = (norms: Vector): Vector => norms.filter((_, t) => measured[t]! > 1e-37);
    const growth = growthPerStep(seen(measured));
    const sigmoid = 1 / (1 + Math.exp(-forget));
    /**
     * The gradient that flows back through a gate alone, if the gate keeps the fraction `factor` of the state in each
     * step.
     */
    const alone = (norms: Vector, factor: number): [number, number][] =>
      points(norms.map((_, t) => norms.at(-1)! * factor ** (steps - t)));
    return {
      findings: [
        {
          text: "‖W‖₂ by Lanczos",
          measured: spectral,
          // Lanczos multiplies by W in float32.
          expected: { equals: Math.sqrt(spectralRadius(product(transpose(weight), weight))), within: 2e-6 * norm },
          theory: "‖W‖₂² is the largest eigenvalue of WᵀW, by repeated squaring in float64",
        },
        {
          text: "growth of log ‖∂L/∂hₜ‖ per step back",
          measured: growth,
          expected: { equals: -logSlopeBack(seen(exact)), within: 1e-6 },
          theory: "a product of the Jacobians Wᵀ·diag(φ′(zₜ)) in float64, without autograd",
        },
        ...(exact[0]! > 1e-37
          ? [
              {
                text: "‖∂L/∂h₀‖, divided by the norm of the product of the Jacobians",
                measured: measured[0]! / exact[0]!,
                // Each step rounds the matrix, the state and the gradient to float32.
                expected: { equals: 1, within: 1e-5 * steps } as const,
                theory: "the chain rule through all steps",
              },
            ]
          : []),
        ...(matrix === "orthogonal"
          ? [
              {
                text: "spectral radius of an orthogonal W, divided by ‖W‖₂",
                measured: radius / norm,
                // W is orthogonal up to the rounding of float32.
                expected: { equals: 1, within: 2e-6 },
                theory: "all eigenvalues of a scaled orthogonal matrix have the same absolute value",
              },
            ]
          : []),
        ...(matrix === "orthogonal" && !isTanh
          ? [
              {
                text: "growth of log ‖∂L/∂hₜ‖ per step back through an orthogonal W",
                measured: growth,
                expected: { equals: Math.log(norm), within: 1e-6 },
                theory: "log ‖W‖₂: without an activation, each step back multiplies by Wᵀ",
              },
            ]
          : []),
        {
          text: "largest ‖∂L/∂hₜ‖ divided by its bound, for t < T",
          measured: Math.max(...measured.slice(0, -1).map((g, t) => g / bound[t]!)),
          expected: { atMost: 1 + 1e-3 },
          theory: "‖Wᵀg‖ ≤ ‖W‖₂·‖g‖ and tanh′ ≤ 1",
        },
        {
          text: "factor per step of an LSTM's cell whose gates see neither the state nor the inputs",
          measured: (carried[0]! / carried.at(-1)!) ** (1 / steps),
          expected: { equals: sigmoid, within: 1e-6 * sigmoid },
          theory: "c ← f·c + i·g, with f = σ(b) (Gers et al. 2000)",
        },
        {
          text: "factor per step of a GRU whose gates see neither the state nor the inputs",
          measured: (halved[0]! / halved.at(-1)!) ** (1 / steps),
          expected: { equals: 0.5, within: 1e-6 },
          theory: "h ← (1 − z)·n + z·h, with z = σ(0) = ½ (Cho et al. 2014)",
        },
      ],
      plots: [
        {
          title: "Gradient by step",
          x: { label: "steps back, T − t", integer: true },
          y: { label: "‖∂L/∂hₜ‖", scale: "log" },
          series: [
            { name: `plain RNN, ${activation}`, points: points(measured) },
            { name: "GRU", points: points(gated) },
            { name: `LSTM, b = ${forget}`, points: points(open) },
            { name: "upper bound, ‖W‖₂ per step", points: points(bound), style: "theory" },
            { name: "GRU: gate alone", points: alone(gated, 0.5), style: "theory", sameAs: 1 },
            { name: "LSTM: gate alone", points: alone(open, sigmoid), style: "theory", sameAs: 2 },
          ],
        },
      ],
      tables: [
        {
          title: "Factor per step",
          columns: ["quantity", "value"],
          rows: [
            ["spectral norm ‖W‖₂, the bound", spectral],
            ["spectral radius ρ(W), the factor in the long run without tanh", radius],
            ["measured factor per step", Math.exp(growth)],
          ],
        },
        {
          title: "First divided by last",
          columns: ["network", "measured", "through the gate alone"],
          rows: [
            [`${activation}, ${matrix}, ‖W‖₂ = ${norm}`, measured[0]! / measured.at(-1)!, "–"],
            ["GRU", gated[0]! / gated.at(-1)!, 0.5 ** steps],
            [`LSTM whose forget gate has the bias ${forget}`, open[0]! / open.at(-1)!, sigmoid ** steps],
          ],
        },
      ],
    };
  },
});

/** The slope of the least-squares line through log norms[t], as a function of t. */
const logSlopeBack = (norms: Vector): number => slope(norms.map((g, t): [number, number] => [t, Math.log(g)]));

/** ‖∂L/∂hₜ‖ for t = 0 … T and L = direction·h_T, by multiplying Jacobians in float64. */
function normsByJacobians(w: Matrix, inputs: readonly Vector[], direction: Vector, isTanh: boolean): number[] {
  let h: Vector = direction.map(() => 0);
  const slopes = inputs.map((x): Vector => {
    h = times(w, h).map((v, i) => (isTanh ? Math.tanh(v + x[i]!) : v + x[i]!));
    return h.map((v) => (isTanh ? 1 - v * v : 1));
  });
  const back = transpose(w);
  let g = direction;
  const norms = slopes.reverse().map((slope) => {
    g = times(
      back,
      g.map((v, i) => v * slope[i]!),
    );
    return length(g);
  });
  return [...norms.reverse(), length(direction)];
}

/** The largest absolute value of an eigenvalue: lim ‖Aᵏ‖^(1/k) (Gelfand 1941), for k = 2³⁰. */
function spectralRadius(a: Matrix): number {
  let power = a;
  let log = 0;
  const squarings = 30;
  for (let i = 0; i < squarings; i++) {
    const size = length(power.flat());
    const scaled = power.map((row) => row.map((v) => v / size));
    power = product(scaled, scaled);
    log = 2 * (log + Math.log(size));
  }
  return Math.exp((log + Math.log(length(power.flat()))) / 2 ** squarings);
}

/**
 * ‖∂L/∂(hₜ, cₜ)‖ for each t, for an LSTM whose loss depends on its last cell.
 * @param isAlone whether the gates depend only on their biases
 */
function lstmNorms(forget: number, inputs: readonly Tensor[], loss: (c: Tensor) => Tensor, isAlone = false): number[] {
  const cell = new nn.LSTMCell(HIDDEN, HIDDEN);
  for (const [name, p] of cell.namedParameters()) if (isAlone || name.startsWith("bias")) nn.init.zeros(p);
  // The gates are in PyTorch's order: input, forget, cell, output.
  const { biasIh } = Object.fromEntries(cell.namedParameters());
  biasIh!.copyFrom(Float32Array.from({ length: 4 * HIDDEN }, (_, i) => (Math.floor(i / HIDDEN) === 1 ? forget : 0)));
  const start: readonly Tensor[] = [zeros([1, HIDDEN]), zeros([1, HIDDEN])];
  const step = ([h, c]: readonly Tensor[], x: Tensor): readonly Tensor[] => cell.forward(x, [h!, c!]);
  return gradientThroughTime(step, start, inputs, ([, c]) => loss(c!));
}
