/**
 * Each step back in time multiplies the gradient by the recurrent weight, so the weight's norm determines whether the gradient explodes or
 * vanishes.
 */
import { manualSeed, nn, optim, randn, type Tensor, tidy, zeros } from "nabla";
import { gradientThroughTime, growthPerStep, spectralNorm } from "nabla/gradients";
import { experiment } from "../experiment.ts";

const HIDDEN = 16;
type Step = (h: Tensor, x: Tensor) => Tensor;

export default experiment({
  name: "exploding-rnn",
  title: "Exploding and vanishing through time",
  section: "Vanishing and Exploding Gradients",
  claim:
    "In a recurrent network, the norm of the gradient grows at most as fast as the powers of the recurrent weight's spectral norm: above 1 the gradient can explode, below 1 it vanishes. An orthogonal weight reaches the bound; other weights stay below it. Gates and clipping are the remedies.",
  formula:
    "h_t=\\tanh(Wh_{t-1}+Ux_t),\\qquad \\Bigl\\|\\frac{\\partial L}{\\partial h_t}\\Bigr\\|\\le\\|W\\|_2^{\\,T-t}\\,\\Bigl\\|\\frac{\\partial L}{\\partial h_T}\\Bigr\\|",
  functions: ["gradientThroughTime", "growthPerStep", "spectralNorm"],
  parameters: {
    norm: { kind: "number", label: "‖W‖₂", min: 0.5, max: 1.5, default: 1.2, step: 0.05 },
    steps: { kind: "number", label: "time steps T", min: 5, max: 80, default: 40, integer: true },
    matrix: { kind: "choice", label: "W", options: ["orthogonal", "random"], default: "orthogonal" },
    activation: { kind: "choice", label: "activation", options: ["linear", "tanh"], default: "linear" },
    input: { kind: "number", label: "size of the inputs", min: 0, max: 1, default: 0.1, step: 0.05 },
    clip: { kind: "number", label: "clip the gradient's norm at", min: 0.1, max: 10, default: 1, scale: "log" },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ norm, steps, matrix, activation, input, clip, seed }) {
    manualSeed(seed);
    const inputs = Array.from({ length: steps }, () => randn([1, HIDDEN]).mul(input));
    // All singular values of an orthogonal matrix are equal, so after scaling, each of them equals the norm.
    const plain = matrix === "orthogonal" ? nn.init.orthogonal(zeros([HIDDEN, HIDDEN])) : randn([HIDDEN, HIDDEN]);
    const seedOfLoss = randn([1, HIDDEN]);
    const through = (step: Step): number[] =>
      gradientThroughTime(step, zeros([1, HIDDEN]), inputs, (h) => h.mul(seedOfLoss).sum());
    const recurrence =
      (w: Tensor, nonlinear: boolean): Step =>
      (h, x) => {
        const z = h.matmul(w.t()).add(x);
        return nonlinear ? z.tanh() : z;
      };
    const w = plain.mul(norm / spectralNorm(plain));
    const measured = through(recurrence(w, activation === "tanh"));
    const spectral = spectralNorm(w);
    const theory = measured.map((_, t) => measured.at(-1)! * spectral ** (steps - t));
    const gru = new nn.GRUCell(HIDDEN, HIDDEN);
    const gated = through((h, x) => gru.forward(x, h));
    const growth = growthPerStep(measured);
    const clipped = clippedNorm(w, inputs, activation === "tanh", clip);
    const points = (norms: readonly number[]): [number, number][] => norms.map((g, t) => [steps - t, g]);
    return {
      findings: [
        {
          text: "‖W‖₂ by Lanczos",
          measured: spectral,
          expected: { equals: norm, within: 1e-4 },
          theory: "W is scaled to this norm",
        },
        activation === "linear" && matrix === "orthogonal"
          ? {
              text: "growth of log ‖∂L/∂hₜ‖ per step back",
              measured: growth,
              expected: { equals: Math.log(norm), within: 1e-3 },
              theory: "log ‖W‖₂: without an activation, each step back multiplies by Wᵀ",
            }
          : {
              text: "growth of log ‖∂L/∂hₜ‖ per step back",
              measured: growth,
              expected: { atMost: Math.log(norm) + 1e-3 },
              theory: "at most log ‖W‖₂, because ‖Wᵀg‖ ≤ ‖W‖₂·‖g‖ and tanh′ ≤ 1",
            },
        {
          text: "norm of the weight's gradient after clipping",
          measured: clipped,
          expected: { atMost: clip * (1 + 1e-3) },
          theory: "clipping scales all gradients by clip/norm if that is below 1 (Pascanu et al. 2013)",
        },
        {
          text: "|growth| per step of a GRU of the same size",
          measured: Math.abs(growthPerStep(gated)),
          expected: { atMost: Math.log(2) + 0.05 },
          theory: "a gate mixes the old state with the new one: before training, about half of the old state passes",
        },
      ],
      plots: [
        {
          title: "The gradient T − t steps before the end",
          x: { label: "T − t" },
          y: { label: "‖∂L/∂hₜ‖", scale: "log" },
          series: [
            { name: activation, points: points(measured) },
            { name: "‖W‖₂^(T−t)", points: points(theory), style: "theory" },
            { name: "GRU", points: points(gated) },
          ],
        },
      ],
      tables: [
        {
          title: "The gradient at the beginning divided by the gradient at the end",
          columns: ["network", "‖∂L/∂h₀‖/‖∂L/∂h_T‖"],
          rows: [
            [`${activation}, ${matrix}, ‖W‖₂ = ${norm}`, measured[0]! / measured.at(-1)!],
            ["GRU", gated[0]! / gated.at(-1)!],
          ],
        },
      ],
    };
  },
});

/** The norm of the gradient with respect to the recurrent weight, after clipping. */
function clippedNorm(w: Tensor, inputs: readonly Tensor[], nonlinear: boolean, clip: number): number {
  const weight = w.detach().clone();
  weight.requiresGrad = true;
  return tidy(() => {
    const last = inputs.reduce(
      (h, x) => {
        const z = h.matmul(weight.t()).add(x);
        return nonlinear ? z.tanh() : z;
      },
      zeros([1, HIDDEN]),
    );
    last.sum().backward();
    optim.clipGradNorm([weight], clip);
    return weight.grad!.norm().item();
  });
}
